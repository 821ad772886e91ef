use std::sync::Arc;

use tokio::sync::Semaphore;
use tower::Layer;

use super::service::{BEHIND_PER_SLOT, Pool, SMALL_PER_SLOT};

/// Makes [`Pool`]s that share one set of slots.
#[derive(Clone, Debug)]
pub struct PoolLayer {
    zips: Arc<Semaphore>,
    small: Arc<Semaphore>,
    behind: Arc<Semaphore>,
}

impl PoolLayer {
    /// `slots` zips at once, [`SMALL_PER_SLOT`] times as many small files, and
    /// [`BEHIND_PER_SLOT`] times as many zips that are received.
    pub fn new(slots: usize) -> Self {
        let semaphore =
            |slots: usize| Arc::new(Semaphore::new(slots.clamp(1, Semaphore::MAX_PERMITS)));
        let per_slot = |count| semaphore(slots.saturating_mul(count));
        let (small, behind) = (per_slot(SMALL_PER_SLOT), per_slot(BEHIND_PER_SLOT));
        Self { zips: semaphore(slots), small, behind }
    }
}

impl<S> Layer<S> for PoolLayer {
    type Service = Pool<S>;

    fn layer(&self, inner: S) -> Pool<S> {
        let Self { zips, small, behind } = self.clone();
        Pool { inner, zips, small, behind }
    }
}
