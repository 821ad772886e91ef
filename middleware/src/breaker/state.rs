//! Closed, open, half open. A pure machine: the caller brings the time.

use std::time::Duration;

/// Failures in a row that open the breaker of an upstream.
pub const UPSTREAM_FAILURES_TO_OPEN: u32 = 10;

/// Failures in a row that open the breaker of storage: fewer, because every request asks it more than
/// once, and each time waits.
pub const STORAGE_FAILURES_TO_OPEN: u32 = 5;

/// How long it stays open before one call is let through.
pub const OPEN_FOR: Duration = Duration::from_secs(5);

/// The state of one upstream, or of storage. `now` is the time since any fixed point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Calls pass; this many have failed in a row.
    Closed {
        /// Failures in a row.
        failures: u32,
    },
    /// Calls are refused until then.
    Open {
        /// When one call is let through.
        until: Duration,
    },
    /// One call is under way; the others are refused, until then at most: the call may vanish.
    HalfOpen {
        /// When another call is let through.
        until: Duration,
    },
}

impl Default for State {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

impl State {
    /// Whether a call may pass now; else how long to wait.
    ///
    /// # Errors
    /// The time until the next call is let through.
    pub fn admit(&mut self, now: Duration) -> Result<(), Duration> {
        match *self {
            Self::Closed { .. } => Ok(()),
            Self::Open { until } | Self::HalfOpen { until } if now < until => Err(until - now),
            Self::Open { .. } | Self::HalfOpen { .. } => {
                *self = Self::HalfOpen { until: now + OPEN_FOR };
                Ok(())
            }
        }
    }

    /// A call ended well.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// A call failed; `failures_to_open` in a row open it.
    pub fn failed(&mut self, now: Duration, failures_to_open: u32) {
        *self = match *self {
            Self::Closed { failures } if failures + 1 < failures_to_open => {
                Self::Closed { failures: failures + 1 }
            }
            _ => Self::Open { until: now + OPEN_FOR },
        };
    }

    /// For how long a call would be refused that came now, if it would; nothing is changed.
    pub fn refused_for(&self, now: Duration) -> Option<Duration> {
        match *self {
            Self::Closed { .. } => None,
            Self::Open { until } | Self::HalfOpen { until } => {
                until.checked_sub(now).filter(|left| !left.is_zero())
            }
        }
    }

    /// Failures in a row, while calls pass.
    pub fn failures(&self) -> u32 {
        match *self {
            Self::Closed { failures } => failures,
            Self::Open { .. } | Self::HalfOpen { .. } => 0,
        }
    }

    /// Whether calls are refused.
    pub fn is_open(&self) -> bool {
        !matches!(self, Self::Closed { .. })
    }
}
