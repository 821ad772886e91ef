//! At most so many calls at once, and at most so many waiting.
//!
//! # What it does
//! Gives each call a slot; without a free one the call waits in a bounded line, for a bounded time.
//!
//! # Where it sits
//! Below `lookup` as the miss limit, so a miss never slows a hit; above storage and each upstream.
//!
//! # Telemetry
//! What `observe` adds; the time in line is the phase `queue`.
//!
//! # Failure modes
//! `Overloaded` with `Retry-After` when the line is full or the wait too long. A caller that goes
//! away leaves the line at once.
//!
//! # Limits
//! Slots and wait by configuration; the line holds [`WAITING_PER_SLOT_MAX`] calls a slot.

mod layer;
mod service;
#[cfg(test)]
mod tests;

pub use layer::{LimitLayer, Standing};
pub use service::{Limit, WAITING_PER_SLOT_MAX};
