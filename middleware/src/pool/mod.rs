//! A bounded number of fetches under way.
//!
//! # What it does
//! Each stash takes a slot and keeps it until all its work has ended, the commit included.
//!
//! # Where it sits
//! Below `single_flight`, so that only leaders take slots; above `stash`, whose work they bound.
//!
//! # Telemetry
//! What `observe` adds; the time in line is the phase `queue`.
//!
//! # Failure modes
//! `Overloaded` when no slot becomes free before the stash's deadline.
//!
//! # Limits
//! `GoGetWorkers` slots for zips and whole versions; [`SMALL_PER_SLOT`] times as many for `.info` and
//! `.mod`, which never wait for a zip.

mod layer;
mod service;
#[cfg(test)]
mod tests;

pub use layer::PoolLayer;
pub use service::{Pool, SMALL_PER_SLOT};
