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
//! The phase `lookup`; outcome `hit_storage`.
//!
//! # Failure modes
//! A storage error is an error, never a miss: a miss would fetch and overwrite what is only out of
//! reach.
//!
//! # Limits
//! Those of the storage stack.

mod layer;
mod service;
#[cfg(test)]
mod tests;

pub use layer::LookupLayer;
pub use service::Lookup;
