use std::sync::Arc;

use tower::Layer;

use super::service::Lookup;
use crate::storage_io::StorageHandle;
use crate::telemetry::{Metrics, Telemetry};

/// Makes [`Lookup`]s.
#[derive(Clone, Debug)]
pub struct LookupLayer {
    storage: StorageHandle,
    metrics: Arc<Metrics>,
}

impl LookupLayer {
    /// Looks in `storage`.
    pub fn new(storage: StorageHandle, telemetry: &Telemetry) -> Self {
        Self { storage, metrics: Arc::clone(&telemetry.metrics) }
    }
}

impl<S> Layer<S> for LookupLayer {
    type Service = Lookup<S>;

    fn layer(&self, inner: S) -> Lookup<S> {
        Lookup { inner, storage: self.storage.clone(), metrics: Arc::clone(&self.metrics) }
    }
}
