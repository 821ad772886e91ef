//! Counts and times every layer alike.
//!
//! # What it does
//! Adds calls by outcome, seconds and calls in flight to the layer below it, and a record of the call to the
//! trace, which becomes a span if the trace is kept. A layer therefore declares only what is special to it.
//!
//! # Where it sits
//! Around every layer and leaf: `Stack::push` puts it there.
//!
//! # Telemetry
//! `dipylon_layer_calls_total`, `dipylon_layer_duration_seconds`, `dipylon_layer_active_calls`; a span
//! named after the layer with `dipylon.outcome`.
//!
//! # Failure modes
//! None of its own. A call whose caller goes away is counted as `dropped`: the outcome starts as
//! that and is overwritten on completion.
//!
//! # Limits
//! Two clock readings, which the record shares, and one boxed future per call; neither reading nor count where
//! nobody can read the metrics and no trace is recorded. What stands below is behind one reference: a call
//! clones each layer once or twice, and never the stack below it.

mod layer;
mod service;
#[cfg(test)]
mod tests;

pub use layer::ObserveLayer;
pub use service::Observe;
