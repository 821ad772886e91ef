//! List, latest, and what a query stands for.
//!
//! # What it does
//! Answers list and latest from upstream and storage together, as the network mode says, and keeps
//! the answers for a while; the policy may say for a module that storage alone answers, and for how long
//! an answer holds. Lets files pass; a query (`master`, `v1`) whose version is known passes as that
//! version, fresh and stale for as long as a list is given. Writes down which paths do not exist at all,
//! for `negative`; an operator can have every "no" forgotten, and what queries stand for.
//!
//! # Where it sits
//! On top of the module stack's data path: below it there are only files.
//!
//! # Telemetry
//! Outcomes `hit_memory`, `hit_storage`, `stale_revalidate`, `stale_error`, `negative` and `miss_leader`,
//! `miss_follower`, `miss_degraded`.
//!
//! # Failure modes
//! Mode strict: an upstream that fails is an error, after an answer kept for `StaleIfError` at most;
//! one that says "does not exist" is overruled by stored releases; one that refuses (401, 403, 451) has answered, and
//! what it gave before is not given any more. Mode fallback: what is stored is
//! the answer. Mode offline: no upstream call of any kind. A storage that fails costs a list what is stored
//! only, but for what an answer kept for `StaleIfError` at most has of it (`miss_degraded`, not kept).
//! A query that cannot be resolved stands for what it stood for `StaleIfError` ago at most. One that is late fails
//! for who waits: after [`STALE_PATIENCE`], or half of the caller's time, the older answer is given, and the question
//! goes on behind it.
//!
//! # Limits
//! [`ANSWERS_BYTES_MAX`] of answers and [`QUERIES_BYTES_MAX`] of queries in memory, and twice
//! [`FAILURES_BYTES_MAX`] of what has just failed; one upstream call per question at a time.

mod answers;
mod layer;
mod lists;
mod merge;
mod queries;
mod service;
#[cfg(test)]
mod tests;
mod told;

pub use answers::{FAILURE_PAUSE, STALE_PATIENCE};
pub use layer::{
    ANSWERS_BYTES_MAX, FAILURES_BYTES_MAX, QUERIES_BYTES_MAX, VersionsConfig, VersionsLayer,
};
pub use service::Versions;

/// How far upstream is trusted to be there (`NetworkMode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkMode {
    /// Upstream and storage together; a failing upstream is an error.
    Strict,
    /// Upstream and storage together; storage alone where upstream fails.
    Fallback,
    /// Storage alone.
    Offline,
}
