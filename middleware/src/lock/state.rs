//! What a waiter and a holder do next: pure machines without a clock, which the simulation drives.
//!
//! Times are durations since any moment that a machine's caller keeps.

use std::time::Duration;

/// How locks behave. Names of keys are Athens's where it has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockLimits {
    /// How long a lock outlives its last renewal (`Lease`).
    pub lease: Duration,
    /// How often it is renewed (`Renewal`).
    pub renewal: Duration,
    /// The longest until who waits looks for itself (`PollMillis`); up to a quarter less, drawn for each wait.
    pub poll: Duration,
    /// The longest that a lock is renewed (`TTL`).
    pub ttl: Duration,
    /// How long a service may give no sign of life before the fetch goes on without it (`Timeout`).
    pub timeout: Duration,
    /// How often a service that failed is asked again, in a row (`MaxRetries`).
    pub max_retries: u32,
}

/// What a waiter does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Ask for the lock.
    Acquire,
    /// Look in storage.
    Look,
    /// Wait so long, or until a release is pushed.
    Wait(Duration),
    /// Fetch.
    Fetch(Footing),
    /// Answer with what is stored.
    Serve,
    /// Answer with what another found for good.
    Tell,
}

/// How a fetch stands towards the other replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Footing {
    /// The lock is ours.
    Locked,
    /// It is not.
    Unlocked(Why),
}

/// Why a fetch begins without the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The service counted as down before.
    Down,
    /// The service gave no sign of life for as long as it may.
    Silent,
    /// The service works, but another had the lock until our own deadline.
    Overdue,
}

impl Why {
    /// For spans and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Down => "lock service down",
            Self::Silent => "lock service silent",
            Self::Overdue => "held elsewhere for too long",
        }
    }
}

/// The part of a poll by which waits differ: so many replicas that began to wait at one moment do not ask at one
/// moment again and again.
const SPREAD: u32 = 4;

/// One wish for a lock, until the fetch begins or is not needed any more.
#[derive(Clone, Debug)]
pub struct Contest {
    limits: LockLimits,
    began: Duration,
    patience: Duration,
    /// When the service last gave a sign of life; the beginning counts as one.
    heard: Duration,
    /// Failures since then.
    failures: u32,
    /// What to do where the next look finds nothing.
    unless_stored: Next,
    spread: Spread,
}

impl Contest {
    /// A wish that may wait for `patience`, and what it begins with. Storage was looked at just before. Wishes
    /// of different seeds wait differently.
    pub fn begin(
        limits: LockLimits,
        now: Duration,
        patience: Duration,
        is_service_up: bool,
        seed: u64,
    ) -> (Self, Next) {
        let contest = Self {
            limits,
            began: now,
            patience,
            heard: now,
            failures: 0,
            unless_stored: Next::Acquire,
            spread: Spread(seed),
        };
        let first = match is_service_up {
            true => Next::Acquire,
            false => Next::Fetch(Footing::Unlocked(Why::Down)),
        };
        (contest, first)
    }

    /// The lock is ours: whoever had it before may have stored the version.
    pub fn granted(&mut self) -> Next {
        self.look_then(Next::Fetch(Footing::Locked))
    }

    /// Another has the lock, and it lapses in so long where the service says.
    pub fn held(&mut self, now: Duration, lapses_in: Option<Duration>) -> Next {
        self.heard = now;
        self.failures = 0;
        let left = self.left(now);
        if left.is_zero() {
            return self.give_up(Why::Overdue);
        }
        let pause = self.spread.shorten(self.limits.poll).min(left);
        // A lock that lapses sooner is asked for then, and not at once again.
        Next::Wait(lapses_in.map_or(pause, |lapses| pause.min(lapses + LAPSE_MARGIN)))
    }

    /// Who had the lock found for good that there is nothing to fetch. Storage was looked at just before.
    pub fn settled(&mut self) -> Next {
        Next::Tell
    }

    /// The service could not be asked.
    pub fn failed(&mut self, now: Duration) -> Next {
        self.failures = self.failures.saturating_add(1);
        let silent_for = self.limits.timeout.saturating_sub(now.saturating_sub(self.heard));
        let left = silent_for.min(self.left(now));
        if self.failures > self.limits.max_retries || left.is_zero() {
            return self.give_up(Why::Silent);
        }
        Next::Wait(self.spread.shorten(self.limits.poll).min(left))
    }

    /// Others found the service down meanwhile.
    pub fn service_down(&mut self) -> Next {
        self.give_up(Why::Down)
    }

    /// The wait is over: time passed, or a release was pushed.
    pub fn waited(&mut self) -> Next {
        self.look_then(Next::Acquire)
    }

    /// What the look in storage found. One that failed found nothing.
    pub fn looked(&mut self, is_stored: bool) -> Next {
        if is_stored { Next::Serve } else { self.unless_stored }
    }

    /// What is left of the patience.
    fn left(&self, now: Duration) -> Duration {
        self.patience.saturating_sub(now.saturating_sub(self.began))
    }

    fn give_up(&mut self, why: Why) -> Next {
        self.look_then(Next::Fetch(Footing::Unlocked(why)))
    }

    fn look_then(&mut self, next: Next) -> Next {
        self.unless_stored = next;
        Next::Look
    }
}

/// How waits differ: a small generator (SplitMix64), so that a schedule can be replayed.
#[derive(Clone, Debug)]
struct Spread(u64);

impl Spread {
    /// Up to a [`SPREAD`]th less, and never more: who polls sees a commit within `PollMillis`.
    fn shorten(&mut self, poll: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let most = u64::try_from((poll / SPREAD).as_nanos()).unwrap_or(u64::MAX - 1);
        poll - Duration::from_nanos(mixed % (most + 1))
    }
}

/// A lock is asked for so long after it should have lapsed, because services round.
const LAPSE_MARGIN: Duration = Duration::from_millis(2);

/// What a holder does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tend {
    /// Renew the lock at this time.
    RenewAt(Duration),
    /// Go on without it.
    Lost(Loss),
}

/// Why a lock is held no more although the work goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The service says that it is not ours.
    Gone,
    /// It could not be renewed for a whole lease.
    Silent,
    /// It was renewed for as long as it may be.
    Ttl,
}

/// A lock that is held.
#[derive(Clone, Debug)]
pub struct Hold {
    limits: LockLimits,
    granted: Duration,
    /// When the lease last began, as far as we can be sure: when we asked for it.
    renewed: Duration,
    next: Duration,
    gone: bool,
}

impl Hold {
    /// A lock that was asked for at `asked` and granted.
    pub fn new(limits: LockLimits, asked: Duration) -> Self {
        let next = asked + limits.renewal;
        Self { limits, granted: asked, renewed: asked, next, gone: false }
    }

    /// What to do, seen from `now`.
    pub fn tend(&self, now: Duration) -> Tend {
        if self.gone {
            return Tend::Lost(Loss::Gone);
        }
        if now.saturating_sub(self.granted) >= self.limits.ttl {
            return Tend::Lost(Loss::Ttl);
        }
        // Also after a stop of the whole process: others may have the lock by now.
        if now.saturating_sub(self.renewed) >= self.limits.lease {
            return Tend::Lost(Loss::Silent);
        }
        Tend::RenewAt(self.next.max(now).min(self.granted + self.limits.ttl))
    }

    /// It was renewed; `asked` is when the question was sent.
    pub fn renewed(&mut self, asked: Duration) {
        self.renewed = asked;
        self.next = asked + self.limits.renewal;
    }

    /// The service says that it is not ours any more.
    pub fn refused(&mut self) {
        self.gone = true;
    }

    /// The service could not be asked: soon again, while the lease lasts.
    pub fn failed(&mut self, now: Duration) {
        self.next = now + self.limits.renewal / 3;
    }

    /// How long it has been held.
    pub fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.granted)
    }
}
