use std::sync::Arc;

use tokio::sync::Semaphore;
use tower::Layer;

use super::service::Pool;

/// Makes [`Pool`]s that share one set of slots.
#[derive(Clone, Debug)]
pub struct PoolLayer {
    slots: Arc<Semaphore>,
}

impl PoolLayer {
    /// `slots` stashes at once.
    pub fn new(slots: usize) -> Self {
        Self { slots: Arc::new(Semaphore::new(slots.clamp(1, Semaphore::MAX_PERMITS))) }
    }
}

impl<S> Layer<S> for PoolLayer {
    type Service = Pool<S>;

    fn layer(&self, inner: S) -> Pool<S> {
        Pool { inner, slots: Arc::clone(&self.slots) }
    }
}
