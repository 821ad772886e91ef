//! Closed, open, half open. A pure machine: the caller brings the time.

use std::time::Duration;

/// Failures in a row that open the breaker of an upstream.
pub const UPSTREAM_FAILURES_TO_OPEN: u32 = 10;

/// Failures in a row that open the breaker of storage: fewer, because every request asks it more than
/// once, and each time waits.
pub const STORAGE_FAILURES_TO_OPEN: u32 = 5;

/// How long it stays open before each caller lets one call through, and how long a caller waits before its next.
pub const OPEN_FOR: Duration = Duration::from_secs(5);

/// Calls under way at a time through what is half open, beside the first of each caller: where packets are swallowed,
/// each hangs for as long as connecting may take, with all its attempts.
pub const TRIALS_MAX: usize = 8;

/// The state of one upstream host, of one upstream, or of storage. `now` is the time since any fixed point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Calls pass; this many have failed in a row.
    Closed {
        /// Failures in a row.
        failures: u32,
    },
    /// Calls are refused until then; from then on it is half open, and each caller's [`Turn`] says who may call.
    Open {
        /// When it is half open.
        until: Duration,
    },
}

/// One caller's way through a half-open state. Each caller has its own, because the call of one may hang where that of
/// another is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// When the next call is let through: the one under way may vanish.
    next: Duration,
}

impl Turn {
    /// A call goes through what is half open; what comes back names the turn that it has taken.
    #[must_use]
    pub fn take(&mut self, now: Duration) -> Self {
        self.next = now + OPEN_FOR;
        *self
    }

    /// The call that has `taken` it asked nobody: the next may come at once.
    pub fn give_back(&mut self, taken: Self) {
        if *self == taken {
            *self = Self::default();
        }
    }
}

impl Default for State {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

impl State {
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
            // A call from before it opened says nothing new.
            Self::Open { until } if now < until => Self::Open { until },
            _ => Self::Open { until: now + OPEN_FOR },
        };
    }

    /// For how long a call of that caller would be refused that came now, if it would; nothing is changed.
    pub fn refused_for(&self, turn: Turn, now: Duration) -> Option<Duration> {
        match *self {
            Self::Closed { .. } => None,
            Self::Open { until } => {
                until.max(turn.next).checked_sub(now).filter(|left| !left.is_zero())
            }
        }
    }

    /// Failures in a row, while calls pass.
    pub fn failures(&self) -> u32 {
        match *self {
            Self::Closed { failures } => failures,
            Self::Open { .. } => 0,
        }
    }

    /// Whether calls are refused.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Open { .. })
    }
}
