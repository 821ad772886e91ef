//! Answers that are given again: how old one may be, and when upstream is asked instead. The one rule for list,
//! latest and what queries stand for.

use std::future::Future;
use std::hash::Hash;
use std::pin::pin;
use std::time::Duration;

use dipylon_protocol::path::ModulePath;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use crate::error::{Error, ErrorKind};
use crate::flight::{Flights, Landing, NoLanding, Role};
use crate::purge::{Era, Purges};
use crate::remember::{Remember, Weigh};
use crate::telemetry::trace::current;

/// How long upstream is left alone after it has failed on a question that an older answer exists for:
/// who asks meanwhile gets that one without waiting for the next failure.
pub const FAILURE_PAUSE: Duration = Duration::from_secs(5);

/// How long who asks waits for a new answer where an older one may stand in for it. The question goes on behind
/// the older answer.
pub const STALE_PATIENCE: Duration = Duration::from_secs(2);

/// An answer, or a "no".
pub(super) type Kept<V> = Result<V, Error>;

/// How long answers to a question are given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// Without asking again.
    pub(super) fresh_for: Duration,
    /// The same for a "no".
    pub(super) negative_for: Duration,
    /// After that, while a newer one is fetched.
    pub(super) stale_while_revalidate: Duration,
    /// Because upstream fails.
    pub(super) stale_if_error: Duration,
}

/// What to do about a question, by what is kept of it and how old that is.
#[derive(Debug)]
pub(super) enum Look<V> {
    /// The kept answer is given.
    Fresh(Kept<V>, Duration),
    /// The kept answer is given at once, and a newer one is fetched for who asks next.
    Revalidate(V, Duration),
    /// Upstream has failed on it a moment ago, or is late: the kept answer is given.
    Failing(V, Duration),
    /// Upstream is asked.
    Ask,
}

/// A question about a module.
pub(super) trait OfModule {
    fn module(&self) -> &ModulePath;
}

impl<What> OfModule for (ModulePath, What) {
    fn module(&self) -> &ModulePath {
        &self.0
    }
}

/// The answers of one kind, and the questions under way. What lands, to those who wait for it, may say more than what
/// is kept.
pub(super) struct Answers<K, V, Landed = V> {
    kept: Remember<K, Kept<V>>,
    /// Questions that upstream failed on, for a moment.
    failed: Remember<K, ()>,
    /// By when they were asked: none is joined after a purge that it began before.
    flights: Flights<(K, Era), Kept<Landed>>,
    purges: Purges,
    tasks: TaskTracker,
}

impl<K, V, Landed> Answers<K, V, Landed>
where
    K: OfModule + Eq + Hash + Clone + Weigh + Send + Sync + 'static,
    V: Clone + Weigh + Send + Sync + 'static,
    Landed: Clone + Send + Sync + 'static,
{
    /// Answers that take `bytes_max` together, and for what failed `failures_bytes_max`. `tasks` counts
    /// questions under way, which `purges` end.
    pub(super) fn new(
        bytes_max: u64,
        failures_bytes_max: u64,
        tasks: TaskTracker,
        purges: Purges,
    ) -> Self {
        Self {
            kept: Remember::new(bytes_max),
            failed: Remember::new(failures_bytes_max),
            flights: Flights::new(tasks.clone()),
            purges,
            tasks,
        }
    }

    pub(super) fn look(&self, key: &K, times: &Times) -> Look<V> {
        let Some((kept, age)) = self.kept.get(key, Duration::MAX) else { return Look::Ask };
        let answer = match kept {
            Err(_) if age > times.negative_for => return Look::Ask,
            Err(error) => return Look::Fresh(Err(error), age),
            Ok(answer) => answer,
        };
        if age <= times.fresh_for {
            Look::Fresh(Ok(answer), age)
        } else if age <= times.fresh_for + times.stale_while_revalidate {
            Look::Revalidate(answer, age)
        } else if age <= times.stale_if_error && self.is_left_alone(key) {
            Look::Failing(answer, age)
        } else {
            Look::Ask
        }
    }

    /// Has a newer answer fetched behind this one, once for all who ask meanwhile, unless upstream has just
    /// failed on it.
    pub(super) fn revalidate<F>(&self, key: &K, refresh: F)
    where
        F: Future + Send + 'static,
        F::Output: Send,
    {
        if !self.is_under_way(key) && !self.has_just_failed(key) {
            let refresh = current::inherited(refresh);
            self.tasks.spawn(async move { drop(refresh.await) });
        }
    }

    /// Asks once for all who ask at the same time.
    pub(super) async fn ask<W, F>(
        &self,
        key: K,
        deadline: Instant,
        work: W,
    ) -> Result<(Kept<Landed>, Role), NoLanding>
    where
        W: FnOnce(Landing<(K, Era), Kept<Landed>>) -> F,
        F: Future<Output = ()> + Send + 'static,
    {
        let era = self.purges.era(key.module());
        self.flights.join((key, era), deadline, work).await
    }

    pub(super) fn is_under_way(&self, key: &K) -> bool {
        self.flights.is_under_way(&(key.clone(), self.purges.era(key.module())))
    }

    /// The answer to `call`, who asks; `None` where that takes longer than its patience, and an older answer is
    /// there to stand in for it: then `goes_on` asks behind it, once for all, and until that is over, and for a
    /// moment at least, nobody else waits.
    pub(super) async fn unless_late<R, F>(
        &self,
        key: &K,
        within: Within,
        call: impl Future<Output = R>,
        goes_on: impl FnOnce() -> F,
    ) -> Result<R, (V, Duration)>
    where
        F: Future + Send + 'static,
        F::Output: Send,
    {
        let mut call = pin!(call);
        if self.older(key, within.stale_if_error).is_none() {
            return Ok(call.await);
        }
        if let Ok(answer) = timeout(patience(within.deadline), &mut call).await {
            return Ok(answer);
        }
        // It may have been taken back meanwhile.
        let Some(older) = self.older(key, within.stale_if_error) else { return Ok(call.await) };
        self.revalidate(key, goes_on());
        self.failed.put(key.clone(), ());
        Err(older)
    }

    pub(super) fn keep(&self, key: K, kept: Kept<V>) {
        self.failed.remove(&key);
        self.kept.put(key, kept);
    }

    /// Nothing is known of it any more.
    pub(super) fn drop_one(&self, key: &K) {
        self.kept.remove(key);
    }

    /// Forgets each that `is_meant` says; how many there were.
    pub(super) fn forget(&self, is_meant: impl Fn(&K, &Kept<V>) -> bool) -> usize {
        self.kept.forget(is_meant)
    }

    /// The answer that is kept, where it is not too old to stand in for one that cannot be had now.
    pub(super) fn older(&self, key: &K, age_max: Duration) -> Option<(V, Duration)> {
        let (kept, age) = self.kept.get(key, age_max)?;
        Some((kept.ok()?, age))
    }

    /// Upstream has failed on it: the answer that stands in, if any.
    pub(super) fn failed(&self, key: &K, age_max: Duration) -> Option<(V, Duration)> {
        self.failed.put(key.clone(), ());
        self.older(key, age_max)
    }

    /// Whether nobody who has an older answer waits for it: it has failed, or was late, a moment ago, or has not
    /// been answered since and is asked right now.
    fn is_left_alone(&self, key: &K) -> bool {
        let failed = self.failed.get(key, Duration::MAX);
        failed.is_some_and(|((), age)| age <= FAILURE_PAUSE || self.is_under_way(key))
    }

    pub(super) fn has_just_failed(&self, key: &K) -> bool {
        self.failed.get(key, FAILURE_PAUSE).is_some()
    }
}

/// For how long an answer may be waited for, and how old one may be that stands in for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Within {
    pub(super) deadline: Instant,
    pub(super) stale_if_error: Duration,
}

/// A caller without much time has less patience, so that there is some left to give it the older answer.
fn patience(deadline: Instant) -> Duration {
    STALE_PATIENCE.min(deadline.saturating_duration_since(Instant::now()) / 2)
}

/// Whether an error says only that nothing could be found out, so that an older answer may stand in for it: not
/// a "no", and not what policy wants, ours or upstream's: one that refuses (401, 403, 451) is well, and has answered.
pub(super) fn is_failure(error: &Error) -> bool {
    let kind = error.kind();
    let is_answer = matches!(
        kind,
        ErrorKind::NotStored | ErrorKind::AsyncAccepted | ErrorKind::UpstreamRefused
    );
    !kind.is_permanent() && !is_answer
}
