//! Hit, or missed.
//!
//! # What it does
//! Answers from storage: a whole version first, else a `.info` or `.mod` of ours that was stored
//! before its zip. What storage does not have goes down as a `Missed`.
//!
//! # Where it sits
//! Above every limit for misses, so a slow upstream cannot slow a hit; below `hot_cache`.
//!
//! # Telemetry
//! The phase `lookup`; outcomes `hit_storage`, `miss_degraded`.
//!
//! # Failure modes
//! While storage fails, upstream answers in its place: what it sends is checked as ever, and the first
//! save of a version stays, so nothing is overwritten. The outcome is `miss_degraded`. What upstream
//! says "no" to may be stored all the same: then storage's own error is the answer, never a 404.
//!
//! # Limits
//! Those of the storage stack.

mod layer;
mod service;
#[cfg(test)]
mod tests;

pub use layer::LookupLayer;
pub use service::Lookup;
