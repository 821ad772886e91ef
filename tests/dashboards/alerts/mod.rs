//! Each alert seen: what it watches is broken, it fires in a real Alertmanager; what was broken is mended, it is
//! resolved there.
//!
//! Rules, Prometheus, Alertmanager, gateways and what is broken under them are the real ones. Only time is
//! another: all durations of the rule files are divided by one number (`faster`), and Prometheus scrapes and
//! evaluates that much more often. Each scene is a gateway with a job of its own, which is what alerts are
//! summed by, so scenes play at once and none sees another's trouble.

mod alertmanager;
mod faster;
mod limits;
mod outages;
mod scene;
mod seen;
mod upstreams;
