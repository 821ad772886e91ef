//! The storage call itself.
//!
//! # What it does
//! Carries a `StorageCall` to the configured backend. `StorageHandle` gives the layers above typed
//! methods over the whole storage stack.
//!
//! # Where it sits
//! The leaf of the storage stack. A near tier has a stack of its own above: this leaf alone, over a store that
//! calls the storage stack for what is not near ([`StorageIo::over_stacks`]).
//!
//! # Telemetry
//! `dipylon_storage_operations_total`, `dipylon_storage_operation_duration_seconds` by operation. A backend
//! that calls over HTTP finds the trace to hand on in `caller_trace`. Over stacks it counts nothing:
//! they do. The checks beside a walk are not counted.
//!
//! # Failure modes
//! The backend's errors, unchanged; `StorageUnavailable` where it does not answer in time.
//!
//! # Limits
//! [`ANSWER_MAX`], which begins anew when the backend calls [`note_progress`]; [`WALK_MAX`], with a check of the
//! backend each [`CHECK_EACH`]; nine tenths of the callers' patience where that is less ([`StorageIo::within`]).
//! A save has its backend's own limit. Below the breaker, so that it learns of a storage that hangs.

mod handle;
mod patience;
mod service;
#[cfg(test)]
mod tests;

pub use handle::StorageHandle;
pub use patience::{ANSWER_MAX, CHECK_EACH, WALK_MAX};
pub use service::{
    StorageIo, caller_context, caller_trace, note_progress, on_behalf_of_the_caller,
};
