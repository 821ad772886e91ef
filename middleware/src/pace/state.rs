//! For how long a host wants to be left alone. Pure: the caller brings the time.

use std::time::Duration;

/// The longest that a host is left alone because of one answer.
pub const PAUSE_MAX: Duration = Duration::from_secs(600);

/// The pause of one host. `now` is the time since any fixed point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pause {
    until: Option<Duration>,
}

impl Pause {
    /// The host asks to be left alone for so long; says whether a pause begins. It never becomes shorter: of
    /// two answers the later is not always the newer.
    pub fn begin(&mut self, now: Duration, asked: Duration) -> bool {
        if asked.is_zero() {
            return false;
        }
        let until = now + asked.min(PAUSE_MAX);
        let begins = self.until.is_none();
        self.until = self.until.max(Some(until));
        begins
    }

    /// How much of the pause is left.
    pub fn left(&self, now: Duration) -> Option<Duration> {
        self.until?.checked_sub(now).filter(|left| !left.is_zero())
    }

    /// Ends the pause, if its time is over; else says how much is left.
    ///
    /// # Errors
    /// The time that is left.
    pub fn end(&mut self, now: Duration) -> Result<(), Duration> {
        match self.left(now) {
            Some(left) => Err(left),
            None => {
                self.until = None;
                Ok(())
            }
        }
    }

    /// Whether a pause has begun and not been ended.
    pub fn is_begun(&self) -> bool {
        self.until.is_some()
    }
}
