use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

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
    /// Places of calls through what is half open, for callers that have one under way already.
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

    /// For how long a call of this caller would be refused that came now, if it would.
    pub(super) fn refused_for(&self, caller: &Caller) -> Option<Duration> {
        // One lock after the other, here and below: no two are ever held together.
        let state = *self.state.lock();
        let turn = *caller.turn.lock();
        let is_full = || state.is_open() && self.places(caller).all(|p| p.available_permits() == 0);
        state.refused_for(turn, self.epoch.elapsed()).or_else(|| is_full().then_some(OPEN_FOR))
    }

    /// Lets a call of this caller pass: as a trial where it is half open.
    ///
    /// # Errors
    /// The time until a call may be let through.
    fn admit(&self, caller: &Caller) -> Result<Option<Trial>, Duration> {
        let state = *self.state.lock();
        if !state.is_open() {
            return Ok(None);
        }
        let (mut turn, now) = (caller.turn.lock(), self.epoch.elapsed());
        if let Some(wait) = state.refused_for(*turn, now) {
            return Err(wait);
        }
        let place =
            self.places(caller).find_map(|places| Arc::clone(places).try_acquire_owned().ok());
        let place = place.ok_or(OPEN_FOR)?;
        Ok(Some(Trial { taken: turn.take(now), _place: place }))
    }

    /// Its own first: nobody else's calls can keep a caller out.
    fn places<'a>(&'a self, caller: &'a Caller) -> impl Iterator<Item = &'a Arc<Semaphore>> {
        [&caller.first, &self.trials].into_iter()
    }

    /// The refusal of a call, which has a name where that of the other side does not say all. What it failed with may
    /// name what somebody else asked for: that is for the log alone; the cause names nothing of the kind.
    pub(super) fn refuse(&self, call: Option<&str>, wait: Duration) -> Error {
        let cannot = call.map(|name| format!(" cannot {name}: it")).unwrap_or_default();
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

/// Whose calls pass a breaker.
#[derive(Debug)]
pub(super) struct Caller {
    turn: Mutex<Turn>,
    /// Its first call through what is half open needs no place among those of all callers.
    first: Arc<Semaphore>,
}

impl Default for Caller {
    fn default() -> Self {
        Self { turn: Mutex::default(), first: Arc::new(Semaphore::new(1)) }
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
    pub(super) caller: Arc<Caller>,
}

impl<S> Breaker<S> {
    async fn handle<Request>(&self, request: Request) -> Result<S::Reply, Error>
    where
        S: Stage<Request>,
        Request: Attempt,
    {
        let Self { inner, shared, caller } = self;
        let trial = match request.is_probe() {
            true => None,
            false => shared.admit(caller).map_err(|wait| shared.refuse(request.name(), wait))?,
        };
        let result = inner.run(request).await;
        match &result {
            Ok(_) => shared.change(State::succeeded, None),
            Err(error) => {
                match shared.judge.verdict::<Request>(error) {
                    Verdict::Failing => shared.failed(error),
                    Verdict::Answered => shared.change(State::succeeded, None),
                    Verdict::Silent => {}
                }
                if let Some(trial) = trial.filter(|_| asked_nobody::<Request>(error)) {
                    caller.turn.lock().give_back(trial.taken);
                }
            }
        }
        result
    }
}

/// Not what the judge says: who has hung was asked. Whose caller's time ended first may have been.
fn asked_nobody<Request: Attempt>(error: &Error) -> bool {
    Request::verdict(error) == Verdict::Silent && error.kind() != ErrorKind::DeadlineExceeded
}

// For each by name: through layers that serve any request the compiler takes ages to find the reply.
stage!(Breaker<S>: FetchRequest => Fetched, over FetchRequest => Fetched);
stage!(Breaker<S>: StorageRequest => StorageReply, over StorageRequest => StorageReply);
