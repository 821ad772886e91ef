use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;
use tower::Layer;

use super::service::{Breaker, Shared};
use crate::telemetry::Telemetry;

/// Makes [`Breaker`]s that share one state.
#[derive(Clone, Debug)]
pub struct BreakerLayer {
    shared: Arc<Shared>,
}

impl BreakerLayer {
    /// Guards the upstream called `name`.
    pub fn new(name: Arc<str>, telemetry: &Telemetry) -> Self {
        let open = telemetry.metrics.breakers_open.get(()).clone();
        let state = Mutex::default();
        Self { shared: Arc::new(Shared { name, state, epoch: Instant::now(), open }) }
    }
}

impl<S> Layer<S> for BreakerLayer {
    type Service = Breaker<S>;

    fn layer(&self, inner: S) -> Breaker<S> {
        Breaker { inner, shared: Arc::clone(&self.shared) }
    }
}
