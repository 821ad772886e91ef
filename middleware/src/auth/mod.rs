//! Basic authentication with one user and password (`BasicAuthUser`, `BasicAuthPass`).
//!
//! # What it does
//! Lets a request pass that carries the credentials, or that is a health check: `/healthz` and `/readyz`
//! below the path prefix, and with a prefix the bare `/` (load balancers have no credentials; in Athens
//! the exemptions broke with a prefix). `/metrics` needs them too, as in Athens.
//!
//! # Where it sits
//! The last layer before `route`: nothing that means anything is reached without it, a path that does not
//! exist included. Below `force_ssl`, so that credentials are asked for over https only.
//!
//! # Telemetry
//! Outcome `deny_auth`. Neither user nor password ever stands in a log, a span or a `Debug` text.
//!
//! # Failure modes
//! `Unauthorized` (401) with `WWW-Authenticate`.
//!
//! # Limits
//! One SHA-256 of the credentials for each request; digests are compared in constant time, so neither
//! the content nor the length of the password shows in the time taken.

mod layer;
mod service;
#[cfg(test)]
mod tests;

pub use layer::{AuthLayer, Credentials};
pub use service::Auth;
