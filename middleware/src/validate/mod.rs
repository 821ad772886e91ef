//! Asks the operator's own service whether a version may be served (`ValidatorHook`).
//!
//! # What it does
//! Each request for info, mod or zip asks the `Validator` first, hits included, as in Athens: a version
//! that is withdrawn is refused from that moment on. Equal questions at the same time share one call; no
//! answer is kept. A query (a branch) is asked about as it is, and again by the version that it turns
//! out to name. List and latest are not asked about.
//!
//! # Where it sits
//! Below `filter`, which costs nothing; above everything that could answer.
//!
//! # Telemetry
//! Outcomes `deny_validator` and `validator_failed`.
//!
//! # Failure modes
//! `DeniedByValidator` (403) with the validator's reason; `ValidatorFailed` (503) where it gave none:
//! "could not find out" is never a yes.
//!
//! # Limits
//! One call takes `timeout` at most; a request waits no longer than its own deadline. [`CALLS_MAX`] calls
//! at once, whose requests may be gone; beyond it `Overloaded` (503).

mod layer;
mod service;
#[cfg(test)]
mod tests;

pub use layer::ValidateLayer;
pub use service::{CALLS_MAX, Validate};
