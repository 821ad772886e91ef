use std::sync::Arc;

use tokio::sync::Semaphore;
use tower::Layer;

use super::service::Admission;

/// Makes [`Admission`]s that share one limit.
#[derive(Clone, Debug)]
pub struct AdmissionLayer {
    places: Arc<Semaphore>,
}

impl AdmissionLayer {
    /// At most `requests_max` requests at once.
    pub fn new(requests_max: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(requests_max.clamp(1, Semaphore::MAX_PERMITS))) }
    }
}

impl<S> Layer<S> for AdmissionLayer {
    type Service = Admission<S>;

    fn layer(&self, inner: S) -> Admission<S> {
        Admission { inner, places: Arc::clone(&self.places) }
    }
}
