use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio::sync::Semaphore;
use tower::Layer;

use super::service::{Limit, Line, WAITING_PER_SLOT_MAX};

/// Makes [`Limit`]s that share one set of slots.
#[derive(Clone, Debug)]
pub struct LimitLayer {
    line: Arc<Line>,
}

impl LimitLayer {
    /// `slots` calls of `what` at once; a call waits at most `wait_max` for one.
    pub fn new(what: &'static str, slots: usize, wait_max: Duration) -> Self {
        let slots = slots.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            line: Arc::new(Line {
                what,
                slots: Arc::new(Semaphore::new(slots)),
                waiting: AtomicUsize::new(0),
                waiting_max: slots.saturating_mul(WAITING_PER_SLOT_MAX),
                wait_max,
            }),
        }
    }
}

impl<S> Layer<S> for LimitLayer {
    type Service = Limit<S>;

    fn layer(&self, inner: S) -> Limit<S> {
        Limit { inner, line: Arc::clone(&self.line) }
    }
}
