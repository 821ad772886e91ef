//! What may be asked for twice, and how often. Pure: no clock, no randomness of its own.

use crate::allowance::Allowance;
use crate::request::FetchAsk;

/// Second requests allowed per call, over time.
pub const HEDGES_PER_CALL: f64 = 0.02;

/// Second requests that may be saved up, and that are there at the start.
pub const HEDGES_SAVED_MAX: i64 = 5;

/// What all calls of one upstream may spend on second requests together.
pub fn allowance() -> Allowance {
    Allowance::new(HEDGES_PER_CALL, HEDGES_SAVED_MAX)
}

/// Whether a second request costs next to nothing: whatever has an end that is near.
pub fn is_small(ask: &FetchAsk) -> bool {
    match ask {
        FetchAsk::List | FetchAsk::Latest | FetchAsk::Info(_) | FetchAsk::Mod(_) => true,
        FetchAsk::Zip(_) => false,
    }
}
