//! Ids, the trace, and the headers that every answer carries.
//!
//! # What it does
//! Makes an `EdgeRequest` of an HTTP request: a request id (the client's `Athens-Request-ID` or
//! `X-Request-Id`, else a new one), a trace, which is the client's where it sends a `traceparent`, and
//! the path below the configured prefix. Says who the client is: the other end of the connection, or, where that is a
//! trusted proxy, the last of `X-Forwarded-For` that is none. Puts `X-Request-Id`, `Athens-Request-ID`,
//! `traceparent`, `Cache-Status` and `Server-Timing` on every answer.
//!
//! # Where it sits
//! Outermost: everything below has a context.
//!
//! # Telemetry
//! Begins the trace; `access_log`, which sees the last byte, ends it.
//!
//! # Failure modes
//! A request id that is too long or not printable is replaced; a malformed `traceparent` begins a new trace. With
//! trusted proxies configured, what anybody else says in `X-Forwarded-*` is removed.
//!
//! # Limits
//! Request ids of [`ID_BYTES_MAX`] bytes; [`HOPS_MAX`] hops of `X-Forwarded-For` are looked at.

mod forwarded;
mod ids;
mod layer;
mod service;
#[cfg(test)]
mod tests;

pub use forwarded::{HOPS_MAX, TrustedProxies};
pub use ids::ID_BYTES_MAX;
pub use layer::RequestContextLayer;
pub use service::{Arrival, Connection, RequestContextService};
