use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::IntGauge;
use tokio::time::Instant;
use tower::util::ServiceExt as _;

use super::state::State;
use crate::error::{Error, ErrorKind};
use crate::ports::Fetched;
use crate::request::FetchRequest;
use crate::stack::{Stage, stage};

/// What all calls of one upstream share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) name: Arc<str>,
    pub(super) state: Mutex<State>,
    pub(super) epoch: Instant,
    pub(super) open: IntGauge,
}

impl Shared {
    /// Changes the state because of `error`, if it is one, and keeps the gauge true.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T, error: Option<&Error>) -> T {
        let mut state = self.state.lock();
        let before = state.is_open();
        let result = change(&mut state);
        match (before, state.is_open()) {
            (false, true) => {
                self.open.inc();
                let error = error.map(Error::message);
                tracing::warn!(upstream = %self.name, error, "left alone for a while: it keeps failing");
            }
            (true, false) => {
                self.open.dec();
                tracing::info!(upstream = %self.name, "asked again: it answers");
            }
            _ => {}
        }
        result
    }
}

/// Calls `S` unless it has failed too often.
#[derive(Clone, Debug)]
pub struct Breaker<S> {
    pub(super) inner: S,
    pub(super) shared: Arc<Shared>,
}

impl<S: Stage<FetchRequest, Reply = Fetched>> Breaker<S> {
    async fn handle(self, request: FetchRequest) -> Result<Fetched, Error> {
        let Self { inner, shared } = self;
        let admitted = shared.change(|state| state.admit(shared.epoch.elapsed()), None);
        admitted.map_err(|wait| {
            // What it failed with names the module of whoever asked: that is for the log alone.
            let text = format!("{} keeps failing and is left alone for a while", shared.name);
            Error::new(ErrorKind::UpstreamUnavailable, text).with_retry_after(wait)
        })?;
        let result = inner.oneshot(request).await;
        match &result {
            Err(error) if error.kind().is_transient() => {
                shared.change(|state| state.failed(shared.epoch.elapsed()), Some(error));
            }
            Err(error) if !is_answer(error.kind()) => {}
            _ => shared.change(State::succeeded, None),
        }
        result
    }
}

/// Whether upstream itself said so. A refusal of our own below (a full line, say) tells nothing of it:
/// taken for an answer, it would keep the breaker of a hanging upstream closed.
fn is_answer(kind: ErrorKind) -> bool {
    use ErrorKind::{BadContent, NotFound, UpstreamRefused, UpstreamRejected};
    matches!(kind, NotFound | UpstreamRefused | UpstreamRejected | BadContent)
}

stage!(Breaker<S>: FetchRequest => Fetched, over FetchRequest => Fetched);
