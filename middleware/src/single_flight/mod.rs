//! One stash per key in this process, however many clients ask.
//!
//! # What it does
//! The first request for a key leads: its stash runs on a task of its own. Requests that come before
//! the stash has ended follow: they get the leader's answer, and stream the same spool.
//!
//! # Where it sits
//! On top of the stash stack: everything below runs once per key.
//!
//! # Telemetry
//! `dipylon_single_flight_active`; outcomes `miss_leader` and `miss_follower`. A follower's span links to
//! the leader's, whose trace holds the fetch.
//!
//! # Failure modes
//! A leader that goes away does not end the stash. A stash that panics is an `Internal` error for
//! all that wait, and the key is free again. A caller whose deadline passes gets `DeadlineExceeded`;
//! the stash goes on. Errors are shared with those who wait and never kept.
//!
//! # Limits
//! As many keys as the miss limit and the background limit allow; a stash may take `StashTimeout`.

mod layer;
mod service;
#[cfg(test)]
mod tests;

pub use layer::SingleFlightLayer;
pub use service::SingleFlight;
