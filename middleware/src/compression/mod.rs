//! Sends the pages of operators compressed (`tower-http`).
//!
//! # What it does
//! `/metrics`, `/catalog`, `/index` and their like are gzip for a client that takes it: Prometheus asks for
//! it, and the text shrinks to a tenth. Answers about modules pass as they are: a zip is compressed
//! already, and the rest is too small to be worth the time of a hit.
//!
//! # Where it sits
//! On the edge, directly above `route`, where a page comes to be: what the layers above say is never
//! compressed.
//!
//! # Telemetry
//! None of its own. The log counts the bytes that were sent.
//!
//! # Failure modes
//! None: a client that takes no gzip gets plain text.
//!
//! # Limits
//! Nothing below [`COMPRESSED_BYTES_MIN`] is compressed; what is, passes in chunks.

mod layer;
mod service;
#[cfg(test)]
mod tests;

pub use layer::CompressionLayer;
pub use service::{COMPRESSED_BYTES_MIN, Compression};
