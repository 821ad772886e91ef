use std::sync::Arc;

use tower::Layer;

use super::service::Admission;
use super::state::Places;

/// Makes [`Admission`]s that share one limit.
#[derive(Clone, Debug)]
pub struct AdmissionLayer {
    places: Arc<Places>,
}

impl AdmissionLayer {
    /// At most `requests_max` requests at once.
    pub fn new(requests_max: usize) -> Self {
        Self { places: Arc::new(Places::new(requests_max.max(1))) }
    }

    /// Requests in hand, until the last byte of each answer has gone, and how many there may be.
    pub fn in_hand(&self) -> (usize, usize) {
        self.places.taken()
    }
}

impl<S> Layer<S> for AdmissionLayer {
    type Service = Admission<S>;

    fn layer(&self, inner: S) -> Admission<S> {
        Admission { inner, places: Arc::clone(&self.places) }
    }
}
