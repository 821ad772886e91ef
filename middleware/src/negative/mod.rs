//! Remembers what does not exist.
//!
//! # What it does
//! A miss that ended with a lasting "no" (not found, a checksum mismatch, a private path) is answered
//! with the same "no" for a while, without asking upstream again. The `go` command repeats every 4xx
//! over https, so half of all of them end here.
//! A version whose module path has, as `versions` has learned, neither list nor latest is "no" without being
//! asked for once. An operator can have all of it forgotten.
//!
//! # Where it sits
//! Below `lookup`, so that a version that was stored in the meantime is a hit; above the mode and the
//! fetch it saves.
//!
//! # Telemetry
//! Outcome `negative`.
//!
//! # Failure modes
//! Failures that may pass (timeouts, 5xx) are never remembered: "could not find out" is not "no".
//!
//! # Limits
//! [`BYTES_MAX`] of answers, each by its reason, on a monotonic clock: a version for `NegativeVersionTTL`; a
//! version whose path has no list for `NegativePathTTL`; both for what the policy says for the module instead.

mod layer;
mod service;
#[cfg(test)]
mod tests;

pub use layer::{BYTES_MAX, NegativeLayer};
pub use service::Negative;
