use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tower::util::ServiceExt as _;

use super::state::{OPEN_FOR, State, Turn};
use crate::attempt::{Attempt, Verdict};
use crate::error::{Error, ErrorKind};
use crate::ports::{Fetched, StorageReply};
use crate::request::{FetchRequest, StorageRequest};
use crate::stack::{Stage, stage};
use crate::telemetry::IntGauge;

/// What counts as a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judge {
    /// That there is no good answer.
    Answers,
    /// That there is nobody to give one. Who is reached and answers badly, or falls silent, has failed in one of
    /// the things that it does.
    Reach,
}

impl Judge {
    fn verdict<Request: Attempt>(self, error: &Error) -> Verdict {
        match (self, Request::verdict(error)) {
            (Self::Reach, Verdict::Failing) if error.is_unreachable() => Verdict::Failing,
            // A silence may be that of a connection from before.
            (Self::Reach, Verdict::Failing) if error.kind() == ErrorKind::UpstreamTimeout => {
                Verdict::Silent
            }
            (Self::Reach, Verdict::Failing) => Verdict::Answered,
            (_, verdict) => verdict,
        }
    }
}

/// What all calls of one upstream host, of one upstream there, or of storage, share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) name: Arc<str>,
    /// What a refused call fails with.
    pub(super) refusal: ErrorKind,
    /// What is counted.
    pub(super) judge: Judge,
    /// Failures in a row that open it.
    pub(super) failures_to_open: u32,
    pub(super) state: Mutex<State>,
    /// One for each call that may go through while it is half open.
    pub(super) trials: Arc<Semaphore>,
    /// What it failed with last, without a name of what was asked for.
    pub(super) cause: Mutex<Option<Arc<str>>>,
    pub(super) epoch: Instant,
    pub(super) open: IntGauge,
}

impl Shared {
    /// Changes the state because of `error`, if it is one, and keeps the gauge true.
    fn change(&self, change: impl FnOnce(&mut State), error: Option<&Error>) {
        let mut state = self.state.lock();
        let before = state.is_open();
        change(&mut state);
        match (before, state.is_open()) {
            (false, true) => {
                self.open.inc();
                let error = error.map(Error::message);
                tracing::warn!(who = %self.name, error, "left alone for a while: it keeps failing");
            }
            (true, false) => {
                self.open.dec();
                tracing::info!(who = %self.name, "asked again: it answers");
            }
            _ => {}
        }
    }

    fn failed(&self, error: &Error) {
        self.cause.lock().clone_from(&error.cause().cloned());
        let (now, most) = (self.epoch.elapsed(), self.failures_to_open);
        self.change(|state| state.failed(now, most), Some(error));
    }

    /// For how long a call of the caller whose turn it is would be refused that came now, if it would.
    pub(super) fn refused_for(&self, turn: Turn) -> Option<Duration> {
        let state = *self.state.lock();
        let is_full = || state.is_open() && self.trials.available_permits() == 0;
        state.refused_for(turn, self.epoch.elapsed()).or_else(|| is_full().then_some(OPEN_FOR))
    }

    /// Lets a call of the caller whose turn it is pass: as a trial where it is half open.
    ///
    /// # Errors
    /// The time until a call may be let through.
    fn admit(&self, turn: &Mutex<Turn>) -> Result<Option<Trial>, Duration> {
        let (state, mut turn) = (*self.state.lock(), turn.lock());
        let now = self.epoch.elapsed();
        if let Some(wait) = state.refused_for(*turn, now) {
            return Err(wait);
        }
        if !state.is_open() {
            return Ok(None);
        }
        let place = Arc::clone(&self.trials).try_acquire_owned().map_err(|_| OPEN_FOR)?;
        Ok(Some(Trial { taken: turn.take(now), _place: place }))
    }

    /// The refusal of a call. What it failed with may name what somebody else asked for: that is for the
    /// log alone; the cause names nothing of the kind.
    fn refuse<Request: Attempt>(&self, request: &Request, wait: Duration) -> Error {
        let cannot = request.name().map(|name| format!(" cannot {name}: it")).unwrap_or_default();
        let cause = self.cause.lock().clone();
        let why = cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default();
        let text =
            format!("{}{cannot} keeps failing and is left alone for a while{why}", self.name);
        let error = Error::new(self.refusal, text).with_retry_after(wait);
        cause.into_iter().fold(error, |error, cause| error.with_cause(cause))
    }
}

/// What nobody can ask any more, because a reload took it away, is not left alone any more either.
impl Drop for Shared {
    fn drop(&mut self) {
        if self.state.get_mut().is_open() {
            self.open.dec();
        }
    }
}

/// A call under way through what is half open, until it ends or its caller goes away.
#[derive(Debug)]
struct Trial {
    taken: Turn,
    _place: OwnedSemaphorePermit,
}

/// Calls `S` unless it has failed too often.
#[derive(Clone, Debug)]
pub struct Breaker<S> {
    pub(super) inner: S,
    pub(super) shared: Arc<Shared>,
    pub(super) turn: Arc<Mutex<Turn>>,
}

impl<S> Breaker<S> {
    async fn handle<Request>(self, request: Request) -> Result<S::Reply, Error>
    where
        S: Stage<Request>,
        Request: Attempt,
    {
        let Self { inner, shared, turn } = self;
        let trial = match request.is_probe() {
            true => None,
            false => shared.admit(&turn).map_err(|wait| shared.refuse(&request, wait))?,
        };
        let result = inner.oneshot(request).await;
        match &result {
            Ok(_) => shared.change(State::succeeded, None),
            Err(error) => {
                match shared.judge.verdict::<Request>(error) {
                    Verdict::Failing => shared.failed(error),
                    Verdict::Answered => shared.change(State::succeeded, None),
                    Verdict::Silent => {}
                }
                // Not what the judge says: who has hung was asked.
                if let Some(trial) = trial.filter(|_| Request::verdict(error) == Verdict::Silent) {
                    turn.lock().give_back(trial.taken);
                }
            }
        }
        result
    }
}

// For each by name: through layers that serve any request the compiler takes ages to find the reply.
stage!(Breaker<S>: FetchRequest => Fetched, over FetchRequest => Fetched);
stage!(Breaker<S>: StorageRequest => StorageReply, over StorageRequest => StorageReply);
