//! Fetch, verify, save, index.
//!
//! # What it does
//! `.info` and `.mod` are fetched and checked, and kept before their zip, behind the answer. A zip streams: bytes go
//! to a spool, and from there to every waiter, while they are checked and hashed; the tail is held
//! back until the zip's structure, its hash and the checksum database agree. Then the whole version is
//! saved, create-if-absent, and entered in the index.
//!
//! Where no checksum is to be compared with, the tail of a zip that is longer than what is held back waits only for a
//! look at its directory and its `go.mod`: names, types, sizes, places. Its content is inflated and checked behind the
//! answer, by threads to which everybody else comes first, and stored only when it is sound; `go` checks what it got
//! as it always does. What the look cannot tell is checked first.
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
//! `HoldBackBytes` held back; `MaxSpoolBytes` in all spools; [`BODY_ATTEMPTS`] of a zip's body; [`CHECKS_BEHIND_MAX`]
//! checks behind answers, [`EARLY_AT_ONCE_MAX`] small files kept at a time and [`EARLY_WAITING_MAX`] in line; no check
//! behind an answer while the spools are half full; zips as `dipylon_protocol::zip` allows.

mod behind;
mod checker;
mod checks;
mod ingest;
mod service;
mod small;
#[cfg(test)]
mod tests;
mod told;

pub use behind::CHECKS_BEHIND_MAX;
pub use ingest::BODY_ATTEMPTS;
pub use service::{BAD_CONTENT_FOR, QUARANTINE_FOR, Stash, StashPorts};
pub use small::{EARLY_AT_ONCE_MAX, EARLY_WAITING_MAX};
pub use told::Refusals;
