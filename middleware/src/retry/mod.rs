//! Tries again what may succeed the next time.
//!
//! # What it does
//! Repeats an upstream call that failed in a way that may pass: a timeout, a 5xx, a cut connection,
//! a 429 that says when. Waits between attempts, longer each time, with jitter.
//!
//! # Where it sits
//! Above the deadline of one attempt, below the breaker: a breaker that opens ends the attempts.
//!
//! # Telemetry
//! `dipylon_upstream_retries_total`.
//!
//! # Failure modes
//! The last error, when the attempts, the time or the budget are used up.
//!
//! # Limits
//! `UpstreamAttempts` attempts; a budget shared by all calls of one upstream: retries stay below
//! [`state::RETRIES_PER_CALL`] of all calls, so a dead upstream is not asked three times as often.

mod layer;
mod service;
pub mod state;
#[cfg(test)]
mod tests;

pub use layer::RetryLayer;
pub use service::Retry;
