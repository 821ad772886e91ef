//! The lock service as the layer sees it: every question timed and counted, and whether it works.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::ports::{Acquired, Lock, LockClaim, LockError, Moment, Verdict};
use crate::telemetry::{LockAnswer, LockOperation, LockWait, Telemetry};

/// How long the service may take to answer one question.
pub const OPERATION_TIMEOUT: Duration = Duration::from_secs(2);

/// The pause between two looks at whether a service that is down works again.
const CHECK_PAUSE: Duration = Duration::from_secs(1);

/// A lock service with what is known of it.
pub(super) struct Service {
    lock: Arc<dyn Lock>,
    telemetry: Telemetry,
    /// Whether it counts as down.
    down: watch::Sender<bool>,
    /// Why it does.
    why: Mutex<Option<LockError>>,
    /// Looks whether it works again; there is one such task at most.
    check: Mutex<Option<AbortHandle>>,
}

impl Service {
    /// A service counts as up until it proves otherwise.
    pub(super) fn new(lock: Arc<dyn Lock>, telemetry: &Telemetry) -> Arc<Self> {
        // The series are there from the start: an alert can be written before the first outage, and the
        // first lock is an increase of what Prometheus has seen before.
        telemetry.metrics.lock_degraded.get(()).set(0);
        telemetry.metrics.lock_hold_seconds.get(());
        use LockWait::{Degraded, Granted, Settled, Stored};
        for result in [Granted, Stored, Settled, Degraded] {
            telemetry.metrics.lock_wait_seconds.get((result,));
        }
        let (down, why, check) = (watch::Sender::new(false), Mutex::new(None), Mutex::new(None));
        Arc::new(Self { lock, telemetry: telemetry.clone(), down, why, check })
    }

    pub(super) fn is_up(&self) -> bool {
        !*self.down.borrow()
    }

    /// Why it counts as down, if it does.
    fn trouble(&self) -> Option<LockError> {
        self.why.lock().clone()
    }

    /// Resolves once the service counts as down.
    pub(super) async fn downfall(&self) {
        // The sender lives as long as `self`, so the wait cannot fail.
        let _ = self.down.subscribe().wait_for(|down| *down).await;
    }

    /// `since` is when the claim was first told that another has the lock.
    pub(super) async fn acquire(
        &self,
        claim: &LockClaim,
        since: Option<Moment>,
    ) -> Result<Acquired, LockError> {
        let answer = |acquired: &Acquired| match acquired {
            Acquired::Granted { .. } => LockAnswer::Done,
            Acquired::Held(_) => LockAnswer::Held,
            Acquired::Settled(_) => LockAnswer::Settled,
        };
        let question = match since {
            Some(since) => self.lock.ask_again(claim, since),
            None => self.lock.acquire(claim),
        };
        self.ask(LockOperation::Acquire, question, answer).await
    }

    pub(super) async fn renew(&self, claim: &LockClaim) -> Result<bool, LockError> {
        self.ask(LockOperation::Renew, self.lock.renew(claim), |held| done_or_gone(*held)).await
    }

    pub(super) async fn release(&self, claim: &LockClaim) -> Result<bool, LockError> {
        self.ask(LockOperation::Release, self.lock.release(claim), |held| done_or_gone(*held)).await
    }

    pub(super) async fn settle(
        &self,
        claim: &LockClaim,
        verdict: &Verdict,
    ) -> Result<bool, LockError> {
        let question = self.lock.settle(claim, verdict);
        self.ask(LockOperation::Release, question, |held| done_or_gone(*held)).await
    }

    async fn ask<T>(
        &self,
        operation: LockOperation,
        question: impl Future<Output = Result<T, LockError>>,
        answer: impl Fn(&T) -> LockAnswer,
    ) -> Result<T, LockError> {
        let metrics = &self.telemetry.metrics;
        let started = Instant::now();
        let result = timeout(OPERATION_TIMEOUT, question).await.unwrap_or_else(|_| {
            let seconds = OPERATION_TIMEOUT.as_secs();
            Err(LockError::new(format!("no answer within {seconds} s")))
        });
        metrics.lock_call_seconds.get((operation,)).observe(started.elapsed().as_secs_f64());
        let answer = result.as_ref().map_or(LockAnswer::Failed, answer);
        metrics.lock_calls.get((operation, answer)).inc();
        result
    }

    /// From now on misses go on without a lock, until the service is found to work again.
    pub(super) fn mark_down(self: &Arc<Self>, error: &LockError) {
        let mut check = self.check.lock();
        if self.down.send_replace(true) {
            return;
        }
        *self.why.lock() = Some(error.clone());
        self.telemetry.metrics.lock_degraded.get(()).set(1);
        tracing::warn!(kind = self.lock.kind(), %error,
            "the lock service is down: each replica fetches for itself until it works again");
        let service = Arc::downgrade(self);
        let task = tokio::spawn(async move {
            loop {
                sleep(CHECK_PAUSE).await;
                let Some(service) = service.upgrade() else { return };
                let works =
                    service.ask(LockOperation::Check, service.lock.check(), |()| LockAnswer::Done);
                match works.await {
                    Ok(()) => return service.mark_up(),
                    // It may be down for another reason by now.
                    Err(error) => *service.why.lock() = Some(error),
                }
            }
        });
        *check = Some(task.abort_handle());
    }

    fn mark_up(&self) {
        let mut check = self.check.lock();
        self.telemetry.metrics.lock_degraded.get(()).set(0);
        tracing::info!(kind = self.lock.kind(), "the lock service works again");
        self.down.send_replace(false);
        *self.why.lock() = None;
        *check = None;
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(check) = self.check.get_mut().take() {
            check.abort();
        }
    }
}

/// Whether the lock service works, for who asks from outside: `/readyz`.
#[derive(Clone)]
pub struct LockHealth(pub(super) Arc<Service>);

impl LockHealth {
    /// Whether locks are used now. Asks nobody: the service is asked by the layer, while it is down too.
    ///
    /// # Errors
    /// What the service said last, where misses go on without a lock.
    pub fn check(&self) -> Result<(), LockError> {
        self.0.trouble().map_or(Ok(()), Err)
    }
}

fn done_or_gone(held: bool) -> LockAnswer {
    if held { LockAnswer::Done } else { LockAnswer::Gone }
}
