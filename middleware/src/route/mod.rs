//! Parses; typed requests begin.
//!
//! # What it does
//! Turns a path into a `ModuleRequest` or a `SumDbRequest` and sends it into that stack, or hands it to
//! the admin pages; renders what comes back. HTTP ends here.
//!
//! # Where it sits
//! The leaf of the edge stack.
//!
//! # Telemetry
//! Route, module and version of each request, for the log, the metrics and the span.
//!
//! # Failure modes
//! A path that cannot name a module is a 404 with a reason, and touches neither storage nor upstream;
//! so is a module path that is too short for its forge. Another method than GET and HEAD is 405.
//!
//! # Limits
//! Those of `dipylon_protocol::route` on lengths.

mod service;
#[cfg(test)]
mod tests;

pub use service::{AdminPages, Route};
