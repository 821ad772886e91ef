//! Leaves a failing upstream alone for a while.
//!
//! # What it does
//! After [`state::FAILURES_TO_OPEN`] failures in a row that may pass, calls fail at once for
//! [`state::OPEN_FOR`]; then one call is let through, and its end decides.
//!
//! # Where it sits
//! Outermost around one upstream: what it refuses costs neither a retry nor a connection.
//!
//! # Telemetry
//! `dipylon_upstream_breakers_open`; outcome `upstream_unavailable`.
//!
//! # Failure modes
//! `UpstreamUnavailable` with `Retry-After`, naming the upstream and nothing of other requests. "Does
//! not exist" and refusals are
//! answers, not failures.
//!
//! # Limits
//! One state per upstream.

mod layer;
mod service;
pub mod state;
#[cfg(test)]
mod tests;

pub use layer::BreakerLayer;
pub use service::Breaker;
