use std::sync::Arc;

use tokio::sync::Semaphore;
use tower::Layer;

use super::service::{Pool, SMALL_PER_SLOT};

/// Makes [`Pool`]s that share one set of slots.
#[derive(Clone, Debug)]
pub struct PoolLayer {
    zips: Arc<Semaphore>,
    small: Arc<Semaphore>,
}

impl PoolLayer {
    /// `slots` zips at once, and [`SMALL_PER_SLOT`] times as many small files.
    pub fn new(slots: usize) -> Self {
        let semaphore =
            |slots: usize| Arc::new(Semaphore::new(slots.clamp(1, Semaphore::MAX_PERMITS)));
        Self { zips: semaphore(slots), small: semaphore(slots.saturating_mul(SMALL_PER_SLOT)) }
    }
}

impl<S> Layer<S> for PoolLayer {
    type Service = Pool<S>;

    fn layer(&self, inner: S) -> Pool<S> {
        Pool { inner, zips: Arc::clone(&self.zips), small: Arc::clone(&self.small) }
    }
}
