//! Nobody waits for ever.
//!
//! # What it does
//! Narrows the request's deadline to at most a fixed time from now and ends the call when it passes.
//!
//! # Where it sits
//! On the edge for the whole request, and around each storage and upstream call.
//!
//! # Telemetry
//! Only what `observe` adds; the error kind it is built with decides the outcome.
//!
//! # Failure modes
//! A call that takes too long fails with that kind and a text that says what took longer, and than how
//! many seconds. Where the request's own deadline came first, the kind is `DeadlineExceeded`: what was
//! called is not to blame. The call's future is dropped; work on tasks of its own (a stash) goes on.
//!
//! # Limits
//! Covers a call until its answer begins; bodies have idle timeouts of their own.

mod layer;
mod service;
#[cfg(test)]
mod tests;

pub use layer::DeadlineLayer;
pub use service::Deadline;
