use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::IntGauge;
use tokio::time::Instant;
use tower::Layer;

use super::service::{Breaker, Shared};
use super::state::{STORAGE_FAILURES_TO_OPEN, UPSTREAM_FAILURES_TO_OPEN};
use crate::error::ErrorKind;
use crate::telemetry::Telemetry;

/// Makes [`Breaker`]s that share one state.
#[derive(Clone, Debug)]
pub struct BreakerLayer {
    shared: Arc<Shared>,
}

impl BreakerLayer {
    /// Guards the upstream called `name`.
    pub fn upstream(name: Arc<str>, telemetry: &Telemetry) -> Self {
        let open = telemetry.metrics.breakers_open.get(()).clone();
        Self::new(name, ErrorKind::UpstreamUnavailable, UPSTREAM_FAILURES_TO_OPEN, open)
    }

    /// Guards the storage of this kind, a `StorageType`.
    pub fn storage(kind: &str, telemetry: &Telemetry) -> Self {
        let open = telemetry.metrics.storage_breaker_open.get(()).clone();
        let name = format!("{kind} storage").into();
        Self::new(name, ErrorKind::StorageUnavailable, STORAGE_FAILURES_TO_OPEN, open)
    }

    fn new(name: Arc<str>, refusal: ErrorKind, failures_to_open: u32, open: IntGauge) -> Self {
        let (state, cause, epoch) = (Mutex::default(), Mutex::default(), Instant::now());
        let shared = Shared { name, refusal, failures_to_open, state, cause, epoch, open };
        Self { shared: Arc::new(shared) }
    }
}

impl<S> Layer<S> for BreakerLayer {
    type Service = Breaker<S>;

    fn layer(&self, inner: S) -> Breaker<S> {
        Breaker { inner, shared: Arc::clone(&self.shared) }
    }
}
