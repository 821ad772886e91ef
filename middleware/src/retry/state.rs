//! How often, and after which wait. Pure: no clock, no randomness of its own.

use std::time::Duration;

use crate::allowance::Allowance;

/// Retries allowed per call, over time.
pub const RETRIES_PER_CALL: f64 = 0.2;

/// Retries that may be saved up, and that are there at the start.
pub const RETRIES_SAVED_MAX: i64 = 20;

/// The wait before the first retry; each further one waits twice as long.
pub const FIRST_WAIT: Duration = Duration::from_millis(100);

/// The longest wait before a retry.
pub const WAIT_MAX: Duration = Duration::from_secs(5);

/// What all calls of one upstream, or of storage, may spend on retries together.
pub fn allowance() -> Allowance {
    Allowance::new(RETRIES_PER_CALL, RETRIES_SAVED_MAX)
}

/// The wait before retry number `retry` (from 1): exponential, half of it jittered by `jitter` in
/// 0..=255; or what the other side asked for, if that is longer.
pub fn wait(retry: u32, jitter: u8, asked: Option<Duration>) -> Duration {
    let full = FIRST_WAIT.saturating_mul(1 << (retry - 1).min(16)).min(WAIT_MAX);
    let jittered = full / 2 + full.mul_f64(f64::from(jitter) / 510.0);
    jittered.max(asked.unwrap_or_default())
}
