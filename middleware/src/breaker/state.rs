//! Closed, open, half open. A pure machine: the caller brings the time.

use std::time::Duration;

/// Failures in a row that open the breaker of an upstream.
pub const UPSTREAM_FAILURES_TO_OPEN: u32 = 10;

/// Failures in a row that open the breaker of storage: fewer, because every request asks it more than
/// once, and each time waits.
pub const STORAGE_FAILURES_TO_OPEN: u32 = 5;

/// How long it stays open before one call is let through, and how long a caller waits before its next.
pub const OPEN_FOR: Duration = Duration::from_secs(5);

/// How far apart the calls of different callers are let through: where nobody is to be reached, each of them hangs
/// for as long as connecting may take.
pub const CALLERS_APART: Duration = Duration::from_secs(2);

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
        /// When a call may be let through.
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
    /// The call asked nobody: the next may come at once.
    pub fn give_back(&mut self) {
        *self = Self::default();
    }
}

impl Default for State {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

impl State {
    /// Whether a call of the caller whose turn this is may pass now.
    ///
    /// # Errors
    /// The time until the caller's next call is let through.
    pub fn admit(&mut self, turn: &mut Turn, now: Duration) -> Result<(), Duration> {
        if let Some(wait) = self.refused_for(*turn, now) {
            return Err(wait);
        }
        if let Self::Open { until } = self {
            *until = now + CALLERS_APART;
            turn.next = now + OPEN_FOR;
        }
        Ok(())
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
