//! Where telemetry goes: log lines to standard output, traces to a collector.

mod digits;
mod lines;
pub mod logs;
pub mod reference;
mod repeats;
pub mod traces;
