//! Does what the plan says.
//!
//! # What it does
//! Runs a stash and answers with it; or starts one in the background and answers 404 or a redirect;
//! or only answers. Owns the background stashes.
//!
//! # Where it sits
//! The leaf of the module stack, over the border to the stash stack.
//!
//! # Telemetry
//! `dipylon_dispatch_background_active`, `dipylon_dispatch_background_refused_total`; the phase
//! `stash`. A background stash begins a trace of its own, linked to its cause.
//!
//! # Failure modes
//! A background stash that fails is logged; one beyond the limit is refused, counted and logged, and
//! the client's answer stays the same: it will ask again.
//!
//! # Limits
//! [`BACKGROUND_MAX`] background stashes; they run in the fetch pool like all others. A drain waits
//! for them.

mod service;
#[cfg(test)]
mod tests;

pub use service::{BACKGROUND_MAX, Dispatch};
