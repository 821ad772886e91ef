//! Small immutable files in memory.
//!
//! # What it does
//! Keeps `.info`, `.mod` and small zips of canonical versions as they were answered, and answers them again.
//!
//! # Where it sits
//! Above `lookup`: a hit here touches no disk. Below the policies, which are asked every time.
//!
//! # Telemetry
//! Outcome `hit_memory`.
//!
//! # Failure modes
//! None: what it does not have, the layer below answers.
//!
//! # Limits
//! `HotCacheBytes` in all; files up to [`FILE_BYTES_MAX`]. 0 switches it off.

mod layer;
mod service;
#[cfg(test)]
mod tests;

pub use layer::HotCacheLayer;
pub use service::{FILE_BYTES_MAX, HotCache};
