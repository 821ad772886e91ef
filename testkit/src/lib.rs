//! What the tests of dipylon stand on. Nothing here is in the product.
//!
//! - [`module`]: module versions made up in memory, with their info, mod, zip and hashes.
//! - [`storage_suite`], [`lock_suite`]: the cases that every storage backend, and every lock, must pass.
//! - [`services`]: real servers, started for a test.
//! - [`upstream`]: a GOPROXY server on loopback that records requests and breaks on demand.
//! - [`checksum_db`]: a checksum database that can lie, fork and go down.
//! - [`git`]: local repositories that the real `go` takes for `https://` ones.
//! - [`go`]: the real `go` command in an environment of its own.
//! - [`client`]: an HTTP client that sees how an answer ended, not only what it said.
//! - [`gateway`] and [`metrics`]: the real program as a process, and its `/metrics` read and asked.
//! - [`measure`]: what benches measure with: clients, other servers, CPU time, the modules of a real program.
//! - [`plot`]: charts, as SVG.
//! - [`traces`]: a collector that keeps the spans it receives.
//! - [`athens`]: where Athens has the files of a version.
//! - [`load`]: the modules of a load, made up.
//! - [`bless`]: pages that are made from the program, held to it or written anew.
//! - [`storage_program`]: what that process must do over every kind of store.
//!
//! Everything talks to 127.0.0.1 only, has bounds by name, and panics with a sentence when a test
//! asks for what cannot be.

pub mod athens;
pub mod bless;
pub mod checksum_db;
pub mod client;
pub mod gateway;
pub mod git;
pub mod go;
pub mod load;
pub mod lock_suite;
pub mod measure;
pub mod metrics;
pub mod module;
pub mod plot;
pub mod services;
pub mod storage_program;
pub mod storage_suite;
pub mod traces;
pub mod upstream;

mod process;
mod server;
