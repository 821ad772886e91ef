//! Sends plain requests to https (`ForceSSL`).
//!
//! # What it does
//! A request that came neither over TLS nor, by its `X-Forwarded-Proto: https`, over a proxy's TLS is
//! answered with 301 to `https://`, same host, same path and query. Health checks are served as they
//! are: a load balancer asks them over plain http and takes a redirect for a failure (Athens redirects
//! them too).
//!
//! # Where it sits
//! On the edge, directly above `auth`: nobody is asked for credentials over plain http.
//!
//! # Telemetry
//! Outcome `redirected`.
//!
//! # Failure modes
//! `BadRequest` (400) where the client names no host that could stand in a URL.
//!
//! # Limits
//! None: it looks at the head only.

mod layer;
mod service;
#[cfg(test)]
mod tests;

pub use layer::ForceSslLayer;
pub use service::ForceSsl;
