//! Leaves a failing upstream, or a failing storage, alone for a while.
//!
//! # What it does
//! After [`state::UPSTREAM_FAILURES_TO_OPEN`] or [`state::STORAGE_FAILURES_TO_OPEN`] failures in a row that
//! may pass, calls fail at once for [`state::OPEN_FOR`]; then one call is let through, and its end
//! decides. A call that only asks whether the other side works (`/readyz`) is always let through.
//!
//! # Where it sits
//! Around one upstream host, outermost, where nobody to be reached is the failure; below it around each upstream
//! there, where any is: of two repositories on one server one may fail alone. Around storage, directly below the
//! deadline. What it refuses costs neither a retry nor a connection.
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
//! One state for each upstream host, one for each upstream, and one for storage.

mod layer;
mod service;
pub mod state;
#[cfg(test)]
mod tests;

pub use layer::{BreakerLayer, Standing};
pub use service::Breaker;
