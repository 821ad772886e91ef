//! A lock while it is held: renewed on a task of its own, given back when the work has ended.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use dipylon_protocol::path::ModulePath;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::TaskTracker;

use super::health::Service;
use super::roll::Entry;
use super::state::{Hold, LockLimits, Loss, Tend};
use crate::ports::{LockClaim, Verdict};
use crate::purge::{Era, Purges};
use crate::response::Finished;
use crate::telemetry::trace::current;
use crate::telemetry::{InFlight, LockLoss, Telemetry};

/// Attempts to give a lock back. One that stays lapses with its lease.
pub(super) const RELEASE_ATTEMPTS: u32 = 3;
/// Between them: members of a service that choose a leader refuse at once, and soon no more.
pub(super) const RELEASE_PAUSE: Duration = Duration::from_secs(1);

/// A lock that is held. Dropped, it is given back.
pub(super) struct Holding {
    end: oneshot::Sender<Work>,
}

/// What the work under a lock came to.
enum Work {
    /// An answer, behind which it goes on.
    Until(Finished),
    /// Nothing, for good.
    Settled(Verdict),
}

impl Holding {
    /// Renews the lock from now on, on a task that `tasks` counts.
    pub(super) fn begin(keeper: Keeper, tasks: &TaskTracker) -> Self {
        let (end, ended) = oneshot::channel();
        tasks.spawn(current::inherited(keeper.keep(ended)));
        Self { end }
    }

    /// Holds it until all work has ended.
    pub(super) fn until(self, finished: Finished) {
        // The keeper is gone where the lock is lost: then there is nothing to give back.
        let _ = self.end.send(Work::Until(finished));
    }

    /// Gives it back with what was found, for those who wait.
    pub(super) fn settle(self, verdict: Verdict) {
        // As above: whoever has the lock now finds out for itself.
        let _ = self.end.send(Work::Settled(verdict));
    }
}

/// Renews one lock and gives it back.
pub(super) struct Keeper {
    pub(super) service: Arc<Service>,
    pub(super) telemetry: Telemetry,
    pub(super) module: ModulePath,
    pub(super) purges: Purges,
    /// When the work began.
    pub(super) era: Era,
    pub(super) claim: LockClaim,
    pub(super) fencing: u64,
    pub(super) limits: LockLimits,
    /// When the lock was asked for.
    pub(super) asked: Instant,
    /// Its place on the roll, until it is given back.
    pub(super) _entry: Entry,
}

impl Keeper {
    async fn keep(self, ended: oneshot::Receiver<Work>) {
        let held = InFlight::enter(self.telemetry.metrics.locks_held.get(()));
        let mut end = pin!(async {
            match ended.await {
                Ok(Work::Until(finished)) => finished.refusal().await.and_then(Verdict::of),
                Ok(Work::Settled(verdict)) => Some(verdict),
                Err(_) => None,
            }
        });
        let (verdict, loss) = tokio::select! {
            biased;
            verdict = &mut end => (verdict, None),
            loss = self.renew_until_lost() => (None, Some(loss)),
        };
        let seconds = self.asked.elapsed().as_secs_f64();
        self.telemetry.metrics.lock_hold_seconds.get(()).observe(seconds);
        drop(held);
        match loss {
            // What was asked before a purge says nothing of the time after it.
            None if !self.purges.is_still(&self.module, self.era) => self.release(None).await,
            None => self.release(verdict.as_ref()).await,
            Some(Loss::Ttl) => {
                self.lost(LockLoss::Ttl);
                self.release(None).await;
            }
            Some(Loss::Gone) => self.lost(LockLoss::Gone),
            Some(Loss::Silent) => self.lost(LockLoss::Silent),
        }
    }

    async fn renew_until_lost(&self) -> Loss {
        let mut hold = Hold::new(self.limits, Duration::ZERO);
        loop {
            let now = self.asked.elapsed();
            match hold.tend(now) {
                Tend::Lost(loss) => return loss,
                // Asked again after the sleep: the whole process may have been stopped meanwhile.
                Tend::RenewAt(at) if at > now => sleep_until(self.asked + at).await,
                Tend::RenewAt(_) => match self.service.renew(&self.claim).await {
                    Ok(true) => hold.renewed(now),
                    Ok(false) => hold.refused(),
                    Err(error) => {
                        tracing::warn!(key = %self.claim.key, fencing = self.fencing, %error,
                            "a lock could not be renewed: tried again while it lasts");
                        hold.failed(self.asked.elapsed());
                    }
                },
            }
        }
    }

    fn lost(&self, loss: LockLoss) {
        self.telemetry.metrics.locks_lost.get((loss,)).inc();
        let reason = loss.as_str();
        tracing::warn!(key = %self.claim.key, fencing = self.fencing, reason,
            "a lock was lost: the fetch goes on without it");
    }

    async fn release(&self, verdict: Option<&Verdict>) {
        let mut was_unanswered = false;
        for attempt in 1..=RELEASE_ATTEMPTS {
            if attempt > 1 {
                tokio::time::sleep(RELEASE_PAUSE).await;
            }
            // What stands in the way of a verdict shall not keep the lock: it is tried with it once.
            let given_back = match verdict.filter(|_| attempt == 1) {
                Some(verdict) => self.service.settle(&self.claim, verdict).await,
                None => self.service.release(&self.claim).await,
            };
            match given_back {
                Ok(true) => return,
                // The attempt before did it, and its answer was lost.
                Ok(false) if was_unanswered => return,
                // It lapsed, or another took it, and we had not noticed.
                Ok(false) => return self.lost(LockLoss::Gone),
                Err(error) => {
                    was_unanswered = true;
                    tracing::debug!(key = %self.claim.key, attempt, %error,
                        "a lock could not be given back: it lapses");
                }
            }
        }
    }
}
