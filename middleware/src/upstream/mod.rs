//! The upstream call itself.
//!
//! # What it does
//! Carries a `FetchRequest` to one `Fetcher`: a module proxy, the `go` command, or the walk over the
//! GOPROXY list. It goes out by its permit as that stands now: a policy that came while the request stood in
//! line above, or waited for its next attempt, holds.
//!
//! # Where it sits
//! The leaf of an upstream stack; there is one stack for each entry of the GOPROXY list, and the
//! list itself is the fetcher that the stash stack calls.
//!
//! # Telemetry
//! `dipylon_upstream_requests_total`, `dipylon_upstream_request_duration_seconds` by what was asked.
//!
//! # Failure modes
//! The fetcher's errors, unchanged. `PolicyChanged` for what is permitted no more, and nobody was
//! asked.
//!
//! # Limits
//! Those of the layers around it, and the fetcher's own on sizes.

mod service;
#[cfg(test)]
mod tests;

pub use service::Upstream;
