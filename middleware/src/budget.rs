//! So many requests a second, and whose turn is when. What is shared, an upstream host or a rate class, has one
//! [`Budget`]; who would have to wait too long is told at once, and who goes away gives its turn back.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use parking_lot::Mutex;
use tokio::time::Instant;

/// The highest rate that can be asked for.
pub const RATE_MAX: u32 = 10_000;

/// The most requests at once that can be asked for.
pub const BURST_MAX: u32 = 10_000;

/// How many requests may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In the long run, for each second.
    pub per_second: NonZeroU32,
    /// At once, after a pause.
    pub burst: NonZeroU32,
}

impl Rate {
    /// As governor has it.
    pub(crate) fn quota(self) -> Quota {
        Quota::per_second(self.per_second).allow_burst(self.burst)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} a second, {} at once", self.per_second, self.burst)
    }
}

/// Modules that share one budget, whichever upstream is asked for them.
#[derive(Debug)]
pub struct RateClass {
    /// Its name, as the operator wrote it.
    pub name: Arc<str>,
    /// The budget.
    pub budget: Arc<Budget>,
}

impl RateClass {
    /// A class whose budget is full.
    pub fn new(name: impl Into<Arc<str>>, rate: Rate) -> Self {
        Self { name: name.into(), budget: Arc::new(Budget::new(rate)) }
    }
}

/// The turns within one rate. Who has had its turn may stand in line for something else before it leaves, and then
/// leave together with all whose turn has come meanwhile: so turns are promised, and what leaves is held to the same
/// rate once more.
pub struct Budget {
    rate: Rate,
    promised: Arc<Line>,
    leaving: Arc<Line>,
}

impl Budget {
    /// A full one.
    pub fn new(rate: Rate) -> Self {
        let epoch = Instant::now();
        let line = || Arc::new(Line { epoch, turns: Mutex::new(Turns::new(rate)) });
        Self { rate, promised: line(), leaving: line() }
    }

    /// What it holds to.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// The next turn from now on, if it comes by `latest`.
    ///
    /// # Errors
    /// How long it would be until then.
    pub fn turn(&self, latest: Instant) -> Result<Turn, Duration> {
        self.promised.turn(latest)
    }

    /// When a request whose turn has come, and that nothing else holds back, leaves, if that is by `latest`.
    ///
    /// # Errors
    /// How long it would be until then.
    pub fn leave(&self, latest: Instant) -> Result<Turn, Duration> {
        self.leaving.turn(latest)
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Budget({})", self.rate)
    }
}

struct Line {
    epoch: Instant,
    turns: Mutex<Turns>,
}

impl Line {
    fn turn(self: &Arc<Self>, latest: Instant) -> Result<Turn, Duration> {
        let (now, latest) = (self.epoch.elapsed(), latest.duration_since(self.epoch));
        let at = self.turns.lock().take(now, latest).map_err(|at| at.saturating_sub(now))?;
        Ok(Turn { line: Arc::clone(self), at, is_used: false })
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Line")
    }
}

/// A turn of one request; given back where it is dropped unused.
#[derive(Debug)]
pub struct Turn {
    line: Arc<Line>,
    at: Duration,
    is_used: bool,
}

impl Turn {
    /// When the request may go.
    pub fn at(&self) -> Instant {
        self.line.epoch + self.at
    }

    /// The request goes.
    pub fn spend(mut self) {
        self.is_used = true;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.is_used {
            self.line.turns.lock().give_back(self.at);
        }
    }
}

/// Which turns are taken. The rule (GCRA) is governor's; the time is told by the caller, so that a turn that
/// has yet to come can be taken too: governor is asked as if it had come.
struct Turns {
    limiter: RateLimiter<NotKeyed, InMemoryState, Told, NoOpMiddleware<Duration>>,
    told: Told,
    /// Turns that were taken, and that nobody wants any more.
    given_back: BinaryHeap<Reverse<Duration>>,
}

impl Turns {
    fn new(rate: Rate) -> Self {
        let told = Told::default();
        let limiter = RateLimiter::direct_with_clock(rate.quota(), told.clone());
        Self { limiter, told, given_back: BinaryHeap::new() }
    }

    /// Takes the next turn; the error is when it would be, beyond `latest`.
    fn take(&mut self, now: Duration, latest: Duration) -> Result<Duration, Duration> {
        while self.given_back.peek().is_some_and(|Reverse(turn)| *turn < now) {
            self.given_back.pop();
        }
        // Whatever is new comes after all that were ever taken.
        if let Some(Reverse(turn)) = self.given_back.peek() {
            let turn = *turn;
            if turn > latest {
                return Err(turn);
            }
            self.given_back.pop();
            return Ok(turn);
        }
        let mut turn = now;
        loop {
            self.told.tell(turn);
            match self.limiter.check() {
                Ok(()) => return Ok(turn),
                Err(not_until) => turn = not_until.earliest_possible(),
            }
            if turn > latest {
                return Err(turn);
            }
        }
    }

    fn give_back(&mut self, turn: Duration) {
        self.given_back.push(Reverse(turn));
    }
}

/// A clock that shows what it was told: nanoseconds since the budget was made.
#[derive(Clone, Debug, Default)]
struct Told(Arc<AtomicU64>);

impl Told {
    fn tell(&self, now: Duration) {
        self.0.store(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Clock for Told {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn turns(per_second: u32, burst: u32) -> Turns {
        let number = |number| NonZeroU32::new(number).expect("not zero");
        Turns::new(Rate { per_second: number(per_second), burst: number(burst) })
    }

    #[test]
    fn after_the_burst_turns_come_at_the_rate() {
        let mut turns = turns(2, 3);
        let taken: Vec<_> = (0..6).map(|_| turns.take(SECOND, 60 * SECOND)).collect();
        let [half, one] = [SECOND / 2, SECOND];
        assert_eq!(taken, [one, one, one, one + half, 2 * one, 2 * one + half].map(Ok));
        // After a pause the burst is there again, and no more than that.
        let taken: Vec<_> = (0..4).map(|_| turns.take(60 * SECOND, 99 * SECOND)).collect();
        assert_eq!(taken, [60 * one, 60 * one, 60 * one, 60 * one + half].map(Ok));
    }

    #[test]
    fn a_turn_that_comes_too_late_is_not_taken_and_its_time_is_told() {
        let mut turns = turns(1, 1);
        assert_eq!(turns.take(Duration::ZERO, SECOND), Ok(Duration::ZERO));
        assert_eq!(turns.take(Duration::ZERO, SECOND), Ok(SECOND));
        for _ in 0..3 {
            assert_eq!(turns.take(Duration::ZERO, SECOND), Err(2 * SECOND));
        }
        assert_eq!(turns.take(Duration::ZERO, 2 * SECOND), Ok(2 * SECOND), "nobody has taken it");
    }

    #[test]
    fn a_turn_that_was_given_back_is_the_next_and_each_is_taken_once() {
        let mut turns = turns(1, 1);
        let taken: Vec<_> = (0..4).map(|_| turns.take(Duration::ZERO, 9 * SECOND)).collect();
        assert_eq!(taken, [0, 1, 2, 3].map(|at| Ok(at * SECOND)));
        turns.give_back(2 * SECOND);
        turns.give_back(SECOND);
        assert_eq!(turns.take(Duration::ZERO, SECOND / 2), Err(SECOND));
        let taken: Vec<_> = (0..3).map(|_| turns.take(Duration::ZERO, 9 * SECOND)).collect();
        assert_eq!(taken, [1, 2, 4].map(|at| Ok(at * SECOND)));
        // One whose time is over is nobody's.
        turns.give_back(3 * SECOND);
        assert_eq!(turns.take(4 * SECOND, 9 * SECOND), Ok(5 * SECOND));
        assert!(turns.given_back.is_empty());
    }

    #[test]
    fn in_any_second_no_more_go_than_the_rate_and_the_burst() {
        for (per_second, burst) in [(1, 1), (5, 5), (7, 2), (10_000, 1)] {
            let mut turns = turns(per_second, burst);
            let mut gone: Vec<Duration> = Vec::new();
            for step in 0..4000_u32 {
                let now = SECOND / 1000 * step;
                let latest = now + SECOND * (step % 3);
                let taken: Vec<_> = (0..3).filter_map(|_| turns.take(now, latest).ok()).collect();
                for (number, turn) in taken.into_iter().enumerate() {
                    // Every third that has to wait goes away.
                    if turn > now && (step + number as u32).is_multiple_of(3) {
                        turns.give_back(turn);
                    } else {
                        gone.push(turn);
                    }
                }
            }
            gone.sort_unstable();
            let most = (per_second + burst) as usize;
            for (index, turn) in gone.iter().enumerate() {
                let within = gone[index..].iter().take_while(|other| **other < *turn + SECOND);
                assert!(within.count() <= most, "{per_second}/{burst} at {turn:?}");
            }
            assert!(gone.len() > per_second.min(1000) as usize);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_is_dropped_is_given_back_and_one_that_is_spent_is_not() {
        let rate = Rate { per_second: NonZeroU32::MIN, burst: NonZeroU32::MIN };
        let budget = Budget::new(rate);
        let latest = Instant::now() + 5 * SECOND;
        budget.turn(latest).expect("the first").spend();
        let second = budget.turn(latest).expect("the second");
        let at = second.at();
        assert_eq!(at, Instant::now() + SECOND);
        drop(second);
        let again = budget.turn(latest).expect("the same");
        assert_eq!(again.at(), at);
        again.spend();
        assert_eq!(budget.turn(Instant::now()).map(drop), Err(2 * SECOND));
    }
}
