use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tower::Layer;

use super::service::{Breaker, Caller, Judge, Shared};
use super::state::{STORAGE_FAILURES_TO_OPEN, TRIALS_MAX, UPSTREAM_FAILURES_TO_OPEN};
use crate::error::{Error, ErrorKind};
use crate::telemetry::{BreakerScope, IntGauge, Telemetry};

/// Makes [`Breaker`]s that share one state, and are one caller.
#[derive(Clone, Debug)]
pub struct BreakerLayer {
    shared: Arc<Shared>,
    caller: Arc<Caller>,
}

impl BreakerLayer {
    /// Guards the upstream host called `name`, which fails where it cannot be reached.
    pub fn host(name: Arc<str>, telemetry: &Telemetry) -> Self {
        let open = telemetry.metrics.breakers_open.get((BreakerScope::Host,)).clone();
        let failures = (Judge::Reach, UPSTREAM_FAILURES_TO_OPEN);
        Self::new(name, ErrorKind::UpstreamUnavailable, failures, open)
    }

    /// Guards what is asked of a host below one URL called `name`, which fails in whatever way.
    pub fn upstream(name: Arc<str>, telemetry: &Telemetry) -> Self {
        let open = telemetry.metrics.breakers_open.get((BreakerScope::Upstream,)).clone();
        let failures = (Judge::Answers, UPSTREAM_FAILURES_TO_OPEN);
        Self::new(name, ErrorKind::UpstreamUnavailable, failures, open)
    }

    /// Guards the storage of this kind, a `StorageType`.
    pub fn storage(kind: &str, telemetry: &Telemetry) -> Self {
        let open = telemetry.metrics.storage_breaker_open.get(()).clone();
        let name = format!("{kind} storage").into();
        let failures = (Judge::Answers, STORAGE_FAILURES_TO_OPEN);
        Self::new(name, ErrorKind::StorageUnavailable, failures, open)
    }

    /// The same breaker for another caller: what one asks may hang where it comes back, and it is what another
    /// asks that shows it.
    #[must_use]
    pub fn for_another(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), caller: Arc::default() }
    }

    /// How it stands, for this caller.
    pub fn standing(&self) -> Standing {
        let refused_for = self.shared.refused_for(&self.caller);
        let state = *self.shared.state.lock();
        let cause = self.shared.cause.lock().clone().filter(|_| state.is_open());
        Standing { is_open: state.is_open(), refused_for, failures: state.failures(), cause }
    }

    /// What a call of this caller would be refused with that came now, if it would.
    pub fn refusal(&self) -> Option<Error> {
        let wait = self.shared.refused_for(&self.caller)?;
        Some(self.shared.refuse(None, wait))
    }

    fn new(
        name: Arc<str>,
        refusal: ErrorKind,
        (judge, failures_to_open): (Judge, u32),
        open: IntGauge,
    ) -> Self {
        let (state, cause, epoch) = (Mutex::default(), Mutex::default(), Instant::now());
        let trials = Arc::new(Semaphore::new(TRIALS_MAX));
        let shared =
            Shared { name, refusal, judge, failures_to_open, state, trials, cause, epoch, open };
        Self { shared: Arc::new(shared), caller: Arc::default() }
    }
}

/// How a breaker stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether it refuses calls, but for one now and then.
    pub is_open: bool,
    /// For how long a call would be refused that came now, if it would.
    pub refused_for: Option<Duration>,
    /// Failures in a row, while it is closed.
    pub failures: u32,
    /// Why it is open, without a name of what was asked for.
    pub cause: Option<Arc<str>>,
}

impl<S> Layer<S> for BreakerLayer {
    type Service = Breaker<S>;

    fn layer(&self, inner: S) -> Breaker<S> {
        Breaker { inner, shared: Arc::clone(&self.shared), caller: Arc::clone(&self.caller) }
    }
}
