//! A panic is one request's 500, not the process's end.
//!
//! # What it does
//! Turns a panic of the layers below into an `Internal` error.
//!
//! # Where it sits
//! Directly below `access_log`, so that the request is still logged with its ids.
//!
//! # Telemetry
//! Outcome `internal`; the panic message goes to the log, never to the client.
//!
//! # Failure modes
//! None of its own. Work on tasks of its own (stashes) has the same guard in `single_flight`.
//!
//! # Limits
//! None.

mod layer;
mod service;
#[cfg(test)]
mod tests;

pub use layer::CatchPanicLayer;
pub use service::CatchPanic;
