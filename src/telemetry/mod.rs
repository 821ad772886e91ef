//! Where telemetry goes: log lines to standard output, traces to a collector.

mod lines;
pub mod logs;
pub mod reference;
mod repeats;
pub mod traces;
