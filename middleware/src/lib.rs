//! How a request is handled: typed requests, ports, telemetry, and every layer, one folder each.
//!
//! Layers import the vocabulary of this crate and never one another. They are put together in the
//! program's `app.rs`.

pub mod allowance;
pub mod attempt;
pub mod blob;
pub mod body;
pub mod budget;
pub mod error;
pub mod events;
pub mod explain;
pub mod flight;
pub mod forward;
pub mod missing_paths;
pub mod ports;
pub mod purge;
pub mod redact;
pub mod remember;
pub mod render;
pub mod request;
pub mod response;
pub mod spool;
pub mod stack;
pub mod telemetry;

// Every stack.
pub mod deadline;
pub mod limit;
pub mod observe;

// Edge, outside in.
pub mod access_log;
pub mod admission;
pub mod auth;
pub mod catch_panic;
pub mod compression;
pub mod force_ssl;
pub mod rate_limit;
pub mod request_context;
pub mod route;

// Module.
pub mod dispatch;
pub mod download_mode;
pub mod filter;
pub mod hot_cache;
pub mod lookup;
pub mod negative;
pub mod validate;
pub mod versions;

// Stash.
pub mod lock;
pub mod pool;
pub mod single_flight;
pub mod stash;

// Leaves, and what stands around them.
pub mod breaker;
pub mod hedge;
pub mod pace;
pub mod retry;
pub mod storage_io;
pub mod upstream;

#[cfg(test)]
mod testing;

pub use error::{Error, ErrorKind};
