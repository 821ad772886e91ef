//! Fetch, verify, save, index.
//!
//! # What it does
//! `.info` and `.mod` are fetched, checked and kept at once, before their zip. A zip streams: bytes go
//! to a spool, and from there to every waiter, while they are checked and hashed; the tail is held
//! back until the zip's structure, its hash and the checksum database agree. Then the whole version is
//! saved, create-if-absent, and entered in the index.
//!
//! # Where it sits
//! The leaf of the stash stack: it runs once per key, in a slot. A small file that a client and a zip on
//! its way in want at the same time is still fetched once.
//!
//! # Telemetry
//! `dipylon_stash_saves_total`, `dipylon_stash_verifications_total`, `dipylon_spool_bytes`,
//! `dipylon_upstream_received_bytes_total`; for `/-/explain`, what was stored and from which upstream it came.
//!
//! # Failure modes
//! What upstream or the checksum database refuse is an error before the first byte, else the body is
//! cut short. A zip that breaks off is asked for once more, and must repeat what was sent already.
//! A version with the wrong checksum, or whose zip breaks the rules, goes into quarantine and is refused
//! without being fetched until [`QUARANTINE_FOR`] or [`BAD_CONTENT_FOR`] has passed. A storage that
//! fails costs the copy, not the answer.
//!
//! # Limits
//! `HoldBackBytes` held back; `MaxSpoolBytes` in all spools; [`BODY_ATTEMPTS`] of a zip's body;
//! zips as `dipylon_protocol::zip` allows.

mod checks;
mod ingest;
mod service;
mod small;
#[cfg(test)]
mod tests;
mod told;

pub use ingest::BODY_ATTEMPTS;
pub use service::{BAD_CONTENT_FOR, QUARANTINE_FOR, Stash, StashPorts};
pub use told::Refusals;
