use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::error::{Error, ErrorKind};
use crate::request::{HasContext, RequestContext};
use crate::stack::{Stage, stage};
use crate::telemetry::Phase;

/// Calls that may wait for each slot.
pub const WAITING_PER_SLOT_MAX: usize = 100;

/// What a refused client is told to wait.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The slots and the line before them.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) what: &'static str,
    pub(super) slots: Arc<Semaphore>,
    pub(super) waiting: AtomicUsize,
    pub(super) waiting_max: usize,
    pub(super) wait_max: Duration,
}

impl Line {
    async fn slot(&self, context: &RequestContext) -> Result<OwnedSemaphorePermit, Error> {
        if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            return Ok(slot);
        }
        let _waits = context.timings.enter(Phase::Queue);
        let _place = Place::take(self).ok_or_else(|| self.refusal("too many are waiting"))?;
        let deadline = context.deadline.min(Instant::now() + self.wait_max);
        let waited = timeout_at(deadline, Arc::clone(&self.slots).acquire_owned()).await;
        match waited {
            Ok(Ok(slot)) => Ok(slot),
            _ => Err(self.refusal("none became free in time")),
        }
    }

    fn refusal(&self, why: &str) -> Error {
        let text = format!("the gateway is at its limit of {}: {why}; ask again", self.what);
        Error::new(ErrorKind::Overloaded, text).with_retry_after(RETRY_AFTER)
    }
}

/// A place in the line; given back however the wait ends.
struct Place<'a>(&'a Line);

impl<'a> Place<'a> {
    fn take(line: &'a Line) -> Option<Self> {
        let place = Self(line);
        let before = line.waiting.fetch_add(1, Ordering::Relaxed);
        (before < line.waiting_max).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Calls `S` when a slot is free.
#[derive(Clone, Debug)]
pub struct Limit<S> {
    pub(super) inner: S,
    pub(super) line: Arc<Line>,
}

impl<S> Limit<S> {
    async fn handle<Request>(&self, request: Request) -> Result<S::Reply, Error>
    where
        S: Stage<Request>,
        Request: HasContext + Send + 'static,
    {
        let context = request.context().clone();
        let _slot = self.line.slot(&context).await?;
        self.inner.run(request).await
    }
}

stage!(Limit<S>: any Request);
