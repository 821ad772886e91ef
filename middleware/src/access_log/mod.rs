//! One event per request, when its answer's body ends.
//!
//! # What it does
//! Times the request to the last byte, counts the bytes, writes one wide log event, and ends the trace. An error
//! from below becomes an answer here, so that it is logged like any other.
//!
//! # Where it sits
//! Directly below `request_context`; all other layers are inside the time it measures.
//!
//! # Telemetry
//! `dipylon_http_server_request_duration_seconds`, `…_requests_total`, `…_active_requests`,
//! `…_response_body_bytes_total`; the log event `request`; the root span, by the semantic conventions for HTTP
//! servers. Whether the trace is kept is decided here, when all is known of it.
//!
//! # Failure modes
//! A body that is cut, or a client that goes away, is logged with what was sent; outcome `dropped`
//! where no answer had begun.
//!
//! # Limits
//! None: the event holds a bounded number of fields, and the path is cut at [`PATH_BYTES_MAX`].

mod body;
mod layer;
mod service;
#[cfg(test)]
mod tests;

pub use layer::AccessLogLayer;
pub use service::{AccessLog, PATH_BYTES_MAX};
