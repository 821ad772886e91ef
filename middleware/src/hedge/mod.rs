//! A second request for a small file that is late in coming.
//!
//! # What it does
//! Where an attempt at list, latest, `.info` or `.mod` has no answer after `HedgeAfter`, the same is asked of the
//! same upstream once more. The first answer counts, be it a "no", and the other request is dropped. A failure of
//! the second is no answer while the first may bring one; one of the first ends both. Zips are never asked for twice.
//!
//! # Where it sits
//! Below the pace and the slots, so that its clock runs from when the first request leaves: the wait for a turn or a
//! slot is no slow upstream. The second request goes the whole way from the pace on, so it waits for a turn and a
//! slot of its own and has a deadline like the first. Below the retry layer, so that the two are one attempt. Not
//! around `direct`: a clone is no small file.
//!
//! # Telemetry
//! `dipylon_upstream_hedges_total`, by what came of the second request.
//!
//! # Failure modes
//! Those of the first request, at once: its slot is free again, and the retries decide. A caller that goes away
//! ends both.
//!
//! # Limits
//! One second request for each attempt; a budget shared by all calls of one upstream:
//! [`state::HEDGES_PER_CALL`] of all calls for small files, and [`state::HEDGES_SAVED_MAX`] that are saved up. An
//! upstream that is slow as a whole is not asked twice as often.

mod layer;
mod service;
pub mod state;
#[cfg(test)]
mod tests;

pub use layer::HedgeLayer;
pub use service::Hedge;
