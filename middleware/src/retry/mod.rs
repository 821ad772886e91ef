//! Tries again what may succeed the next time.
//!
//! # What it does
//! Repeats a call of an upstream, or of storage, that failed in a way that may pass: a timeout, a 5xx, a
//! cut connection, a 429 that says when. Waits between attempts, longer each time, with jitter. One
//! level repeats: around a storage whose client does that itself this layer is left out.
//!
//! # Where it sits
//! Above the deadline and the slot of one attempt, below the breaker: a breaker that opens ends the attempts.
//!
//! # Telemetry
//! `dipylon_upstream_retries_total`, `dipylon_storage_retries_total`.
//!
//! # Failure modes
//! The last error, when the attempts, the time or the budget are used up.
//!
//! # Limits
//! `UpstreamAttempts` attempts, or those the storage stack is built with; a budget shared by all calls of
//! one upstream, or of storage: retries stay below [`state::RETRIES_PER_CALL`] of all calls, so what is dead
//! is not asked three times as often. Of what upstream asks for (`Retry-After`) no more is waited than for a turn
//! ([`FetchRequest::turn_patience`]): who waits may hold a worker. Storage is asked again only within 5 s,
//! and within the first half of the
//! caller's time: what hung is not waited for twice.
//!
//! [`FetchRequest::turn_patience`]: crate::request::FetchRequest::turn_patience

mod layer;
mod service;
pub mod state;
#[cfg(test)]
mod tests;

pub use layer::RetryLayer;
pub use service::Retry;
