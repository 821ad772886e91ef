//! Does what the plan says.
//!
//! # What it does
//! Runs a stash and answers with it; or has one run in the background and answers 404 or a redirect; or
//! only answers. Owns the background stashes: a queue in which each version stands once, first come, first
//! served; an operator may bring versions into it ahead of clients ([`Background::ahead`]). With a
//! [`QueueStore`](crate::ports::QueueStore) an entry is kept there before its client has an answer, and goes on
//! after a restart.
//!
//! # Where it sits
//! The leaf of the module stack, over the border to the stash stack.
//!
//! # Telemetry
//! `dipylon_dispatch_background_queued`, `…_active`, `…_refused_total`, `…_events_total`; the phase `stash`. A
//! background stash begins a trace of its own, linked to its cause.
//!
//! # Failure modes
//! A background stash is over when its version is stored whole. One that fails in a way that may pass is
//! tried again after a pause; any other failure, and the last attempt's, is logged, and the entry goes.
//! When the queue is full the newest is left out, counted and logged, and the client's answer stays the
//! same: it will ask again. A store that does not take an entry costs its safety, not the entry. A panic is a
//! failure like others. What fails during a drain stays in the store. What policy forbids when its turn comes
//! leaves the queue, and stays in the store until policy allows it: a policy that changes gives it back.
//!
//! # Limits
//! `QueueMaxEntries` entries, `workers_max` of them running, [`ATTEMPTS_MAX`] attempts with pauses from
//! [`PAUSE_MIN`] to [`PAUSE_MAX`], longer by up to the [`SPREAD_PART`]th part; a turn in which no
//! upstream was asked, or our own store or limits failed, is no attempt, and there are [`TURNS_MAX`]. As many
//! are put by because policy forbids them as the queue has entries. [`STORE_PATIENCE`] for a write of the store;
//! one log line in [`REFUSALS_LOGGED_EVERY`] about refusals, and one about what policy forbids. A drain waits for
//! what runs, and for what is due and not kept; never for a pause.

mod background;
mod service;
mod state;
#[cfg(test)]
mod tests;

pub use background::{
    Ahead, Background, BackgroundConfig, BackgroundPorts, Left, MayFetch, STORE_PATIENCE,
};
pub use service::Dispatch;
pub use state::{
    ATTEMPTS_MAX, Listed, PAUSE_MAX, PAUSE_MIN, REFUSALS_LOGGED_EVERY, SPREAD_PART, Snapshot,
    Standing, TURNS_MAX,
};
