use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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

/// How a limit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Slots in use.
    pub used: usize,
    /// Slots there are.
    pub slots: usize,
    /// Calls that wait for one.
    pub waiting: usize,
}

impl LimitLayer {
    /// How it stands.
    pub fn standing(&self) -> Standing {
        let Line { slots, waiting, waiting_max, .. } = &*self.line;
        let all = waiting_max / WAITING_PER_SLOT_MAX;
        let used = all.saturating_sub(slots.available_permits());
        Standing { used, slots: all, waiting: waiting.load(Ordering::Relaxed).min(*waiting_max) }
    }
}

impl<S> Layer<S> for LimitLayer {
    type Service = Limit<S>;

    fn layer(&self, inner: S) -> Limit<S> {
        Limit { inner, line: Arc::clone(&self.line) }
    }
}
