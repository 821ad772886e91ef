//! How many requests a second one client may send (`[Dipylon.RateLimit]`).
//!
//! # What it does
//! Each client has a bucket of `Burst` requests that fills again at `RequestsPerSecond`; a request that
//! finds it empty is refused. A client is an address, and of IPv6 its first [`IPV6_CLIENT_BITS`] bits: one
//! customer has all addresses below them. The address is the one that `request_context` found: that of
//! the other end, or what a trusted proxy says of it; what anybody else says is gone by then. All who have
//! none, because they come by a unix socket, are one client. Health checks and `/metrics` pass, unless they
//! bring credentials.
//!
//! # Where it sits
//! On the edge, above `auth`, so that guessing at credentials is slowed too; below `access_log`, so that a
//! refusal has its line in the log.
//!
//! # Telemetry
//! Outcome `limited`. Clients that are remembered, and requests that were counted together with others.
//! Addresses stand in the log only.
//!
//! # Failure modes
//! `RateLimited` (429) with `Retry-After`, after which one request will pass. It ends a `GOPROXY` list: a
//! client that is too fast is not sent elsewhere.
//!
//! # Limits
//! [`CLIENTS_MAX`] clients. One whose bucket is full again cannot be told from a new one, and is
//! forgotten within [`AGED_OUT_EVERY`] while requests come. Where there is still no room, those who come new
//! share one bucket of the same size with their like: the limit holds for them, they may be refused for one
//! another, and whoever is known keeps a bucket. Each gateway counts for itself.

mod buckets;
mod clock;
mod layer;
mod service;
mod state;
#[cfg(test)]
mod tests;

pub use buckets::{AGED_OUT_EVERY, CLIENTS_MAX};
pub use layer::RateLimitLayer;
pub use service::RateLimit;
pub use state::IPV6_CLIENT_BITS;
