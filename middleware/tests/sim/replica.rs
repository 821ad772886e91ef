//! One replica: a wish for the version, and the lock while it has it.

use std::time::Duration;

use dipylon_middleware::lock::{Contest, Footing, Hold, Next};

use crate::plan::{Millis, Plan};

/// How a wish ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Another had stored the version.
    Served,
    /// Another had found for good that there is nothing to fetch.
    Told,
    /// It was fetched and saved.
    Saved,
    /// The fetch or the save failed.
    Failed,
    /// Upstream said, for good, that there is nothing.
    Refused,
}

/// A replica and what it does.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) is_dead: bool,
    pub(crate) stalled_until: Millis,
    pub(crate) cut_off_until: Millis,
    /// Found the service down, and has not found it up since.
    pub(crate) is_down: bool,
    /// How fast its clock runs, in thousandths.
    rate: u64,
    pub(crate) contest: Option<Contest>,
    /// Counts waits, so that one that was cut short does not end the next.
    pub(crate) waits: u64,
    pub(crate) is_waiting: bool,
    /// When it was first told that another has the lock, by the service's clock.
    pub(crate) since: Option<Millis>,
    pub(crate) began: Millis,
    /// How it stood when the fetch began.
    pub(crate) fetching: Option<Footing>,
    pub(crate) wait_ended: Option<Millis>,
    pub(crate) hold: Option<(Hold, Millis)>,
    /// When the question was sent whose answer is awaited.
    pub(crate) asked: Millis,
    pub(crate) is_renewing: bool,
    pub(crate) end: Option<End>,
}

impl Replica {
    pub(crate) fn new(rate: u64) -> Self {
        Self {
            is_dead: false,
            stalled_until: 0,
            cut_off_until: 0,
            is_down: false,
            rate,
            contest: None,
            waits: 0,
            is_waiting: false,
            since: None,
            began: 0,
            fetching: None,
            wait_ended: None,
            hold: None,
            asked: 0,
            is_renewing: false,
            end: None,
        }
    }

    /// Begins the wish.
    pub(crate) fn begin(&mut self, now: Millis, plan: &Plan, seed: u64) -> Next {
        self.began = now;
        let patience = Duration::from_millis(plan.patience);
        let (contest, next) =
            Contest::begin(plan.limits, self.local(now), patience, !self.is_down, seed);
        self.contest = Some(contest);
        next
    }

    /// What its own clock shows.
    pub(crate) fn local(&self, now: Millis) -> Duration {
        Duration::from_millis(now * self.rate / 1_000)
    }

    /// How long it really takes until its own clock has moved so far.
    pub(crate) fn real(&self, local: Duration) -> Millis {
        let millis = u64::try_from(local.as_millis()).unwrap_or(u64::MAX);
        (millis * 1_000).div_ceil(self.rate)
    }

    /// Whether it believes to have the lock.
    pub(crate) fn believes(&self) -> bool {
        !self.is_dead && self.hold.is_some() && self.end.is_none()
    }
}
