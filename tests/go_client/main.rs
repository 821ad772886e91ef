//! The whole program under the real `go` command: what a person types, and what comes of it.
//!
//! The hermetic files use the fakes on loopback with the checksum database on; `network` compares
//! real modules through the gateway with what `go` gets without it. Every test has its own gateway,
//! module cache and build cache.

mod builds;
mod direct;
mod fallthrough;
mod network;
mod offline;
mod private;
mod refusals;
mod versions;
mod world;
