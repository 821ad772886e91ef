//! The storage call itself.
//!
//! # What it does
//! Carries a `StorageCall` to the configured backend. `StorageHandle` gives the layers above typed
//! methods over the whole storage stack.
//!
//! # Where it sits
//! The leaf of the storage stack.
//!
//! # Telemetry
//! `dipylon_storage_operations_total`, `dipylon_storage_operation_duration_seconds` by operation. A backend
//! that calls over HTTP finds the `traceparent` to send in `caller_traceparent`.
//!
//! # Failure modes
//! The backend's errors, unchanged.
//!
//! # Limits
//! Those of the layers around it.

mod handle;
mod service;
#[cfg(test)]
mod tests;

pub use handle::StorageHandle;
pub use service::{StorageIo, caller_traceparent};
