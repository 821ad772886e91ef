//! Leaves a failing upstream, or a failing storage, alone for a while.
//!
//! # What it does
//! After [`state::UPSTREAM_FAILURES_TO_OPEN`] or [`state::STORAGE_FAILURES_TO_OPEN`] failures in a row that
//! may pass, calls fail at once for [`state::OPEN_FOR`]; then each caller lets one call through, and its end decides.
//! A call that only asks whether the other side works (`/readyz`) is always let through.
//!
//! # Where it sits
//! Around each upstream, outermost, where any failure counts; below it around the upstream's host, which all upstreams
//! there share, and where nobody to be reached is the failure: of two repositories on one server one may fail alone.
//! In this order because what the host's refuses says nothing of the upstream ([`Verdict::Silent`]), and what the
//! upstream's refuses does not come to the host's at all. Each upstream is a caller of its own there: a host that
//! comes back with one upstream hanging is found by the others. Around storage, directly below the deadline. What it
//! refuses costs neither a retry nor a connection.
//!
//! [`Verdict::Silent`]: crate::attempt::Verdict::Silent
//!
//! # Telemetry
//! `dipylon_upstream_breakers_open`, `dipylon_storage_breaker_open`; outcomes `upstream_unavailable`,
//! `storage_unavailable`.
//!
//! # Failure modes
//! `UpstreamUnavailable` or `StorageUnavailable` with `Retry-After`, naming who is left alone and, where it
//! is known, the cause; nothing of other requests. "Does not exist" and refusals are answers, not
//! failures.
//!
//! # Limits
//! One state for each upstream host, one for each upstream, and one for storage; of each caller one call
//! under way through what is half open, and [`state::TRIALS_MAX`] more of all of them.

mod layer;
mod service;
pub mod state;
#[cfg(test)]
mod tests;

pub use layer::{BreakerLayer, Standing};
pub use service::Breaker;
