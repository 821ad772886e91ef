use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;
use tower::util::ServiceExt as _;

use super::state::{State, Turn};
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

    /// The refusal of a call. What it failed with may name what somebody else asked for: that is for the
    /// log alone; the cause names nothing of the kind.
    fn refuse<Request: Attempt>(&self, request: &Request, wait: std::time::Duration) -> Error {
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
        if !request.is_probe() {
            let now = shared.epoch.elapsed();
            let admitted = shared.state.lock().admit(&mut turn.lock(), now);
            admitted.map_err(|wait| shared.refuse(&request, wait))?;
        }
        let result = inner.oneshot(request).await;
        match &result {
            Ok(_) => shared.change(State::succeeded, None),
            Err(error) => match shared.judge.verdict::<Request>(error) {
                Verdict::Failing => shared.failed(error),
                Verdict::Answered => shared.change(State::succeeded, None),
                Verdict::Silent => turn.lock().give_back(),
            },
        }
        result
    }
}

// For each by name: through layers that serve any request the compiler takes ages to find the reply.
stage!(Breaker<S>: FetchRequest => Fetched, over FetchRequest => Fetched);
stage!(Breaker<S>: StorageRequest => StorageReply, over StorageRequest => StorageReply);
