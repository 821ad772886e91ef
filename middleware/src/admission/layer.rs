use std::sync::Arc;

use tokio::sync::Semaphore;
use tower::Layer;

use super::service::Admission;

/// Makes [`Admission`]s that share one limit.
#[derive(Clone, Debug)]
pub struct AdmissionLayer {
    places: Arc<Semaphore>,
    requests_max: usize,
}

impl AdmissionLayer {
    /// At most `requests_max` requests at once.
    pub fn new(requests_max: usize) -> Self {
        let requests_max = requests_max.clamp(1, Semaphore::MAX_PERMITS);
        Self { places: Arc::new(Semaphore::new(requests_max)), requests_max }
    }

    /// Requests in hand, until the last byte of each answer has gone, and how many there may be.
    pub fn in_hand(&self) -> (usize, usize) {
        let free = self.places.available_permits();
        (self.requests_max.saturating_sub(free), self.requests_max)
    }
}

impl<S> Layer<S> for AdmissionLayer {
    type Service = Admission<S>;

    fn layer(&self, inner: S) -> Admission<S> {
        Admission { inner, places: Arc::clone(&self.places) }
    }
}
