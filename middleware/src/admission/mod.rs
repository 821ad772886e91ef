//! The edge's own limit: what is beyond it is refused at once.
//!
//! # What it does
//! Counts requests from their head to the end of their answer's body, and refuses those above the
//! limit without letting them wait.
//!
//! # Where it sits
//! On the edge, before any work: the accept loop bounds connections, this bounds what they carry
//! (HTTP/2 carries many).
//!
//! # Telemetry
//! Outcome `shed`.
//!
//! # Failure modes
//! `Overloaded` (503) with `Retry-After`.
//!
//! # Limits
//! `MaxConnections` requests.

mod layer;
mod service;
mod state;
#[cfg(test)]
mod tests;

pub use layer::AdmissionLayer;
pub use service::Admission;
