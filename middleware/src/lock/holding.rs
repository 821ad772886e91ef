//! A lock while it is held: renewed on a task of its own, given back when the work has ended.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::TaskTracker;

use super::health::Service;
use super::state::{Hold, LockLimits, Loss, Tend};
use crate::ports::LockClaim;
use crate::response::Finished;
use crate::telemetry::{InFlight, LockLoss, Telemetry};

/// Attempts to give a lock back. One that stays lapses with its lease.
const RELEASE_ATTEMPTS: u32 = 3;
/// Between them: members of a service that choose a leader refuse at once, and soon no more.
const RELEASE_PAUSE: Duration = Duration::from_secs(1);

/// A lock that is held. Dropped, it is given back.
pub(super) struct Holding {
    end: oneshot::Sender<Finished>,
}

impl Holding {
    /// Renews the lock from now on, on a task that `tasks` counts.
    pub(super) fn begin(keeper: Keeper, tasks: &TaskTracker) -> Self {
        let (end, ended) = oneshot::channel();
        tasks.spawn(keeper.keep(ended));
        Self { end }
    }

    /// Holds it until all work has ended.
    pub(super) fn until(self, finished: Finished) {
        // The keeper is gone where the lock is lost: then there is nothing to give back.
        let _ = self.end.send(finished);
    }
}

/// Renews one lock and gives it back.
pub(super) struct Keeper {
    pub(super) service: Arc<Service>,
    pub(super) telemetry: Telemetry,
    pub(super) claim: LockClaim,
    pub(super) fencing: u64,
    pub(super) limits: LockLimits,
    /// When the lock was asked for.
    pub(super) asked: Instant,
}

impl Keeper {
    async fn keep(self, ended: oneshot::Receiver<Finished>) {
        let held = InFlight::enter(self.telemetry.metrics.locks_held.get(()));
        let mut end = pin!(async {
            if let Ok(finished) = ended.await {
                finished.wait().await;
            }
        });
        let loss = tokio::select! {
            biased;
            () = &mut end => None,
            loss = self.renew_until_lost() => Some(loss),
        };
        let seconds = self.asked.elapsed().as_secs_f64();
        self.telemetry.metrics.lock_hold_seconds.get(()).observe(seconds);
        drop(held);
        match loss {
            None => self.release().await,
            Some(Loss::Ttl) => {
                self.lost(LockLoss::Ttl);
                self.release().await;
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

    async fn release(&self) {
        for attempt in 1..=RELEASE_ATTEMPTS {
            if attempt > 1 {
                tokio::time::sleep(RELEASE_PAUSE).await;
            }
            match self.service.release(&self.claim).await {
                Ok(true) => return,
                // It lapsed, or another took it, and we had not noticed.
                Ok(false) => return self.lost(LockLoss::Gone),
                Err(error) => tracing::debug!(key = %self.claim.key, attempt, %error,
                    "a lock could not be given back: it lapses"),
            }
        }
    }
}
