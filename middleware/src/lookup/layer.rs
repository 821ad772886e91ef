use tower::Layer;

use super::service::Lookup;
use crate::storage_io::StorageHandle;
use crate::telemetry::Telemetry;

/// Makes [`Lookup`]s.
#[derive(Clone, Debug)]
pub struct LookupLayer {
    storage: StorageHandle,
    telemetry: Telemetry,
}

impl LookupLayer {
    /// Looks in `storage`.
    pub fn new(storage: StorageHandle, telemetry: &Telemetry) -> Self {
        Self { storage, telemetry: telemetry.clone() }
    }
}

impl<S> Layer<S> for LookupLayer {
    type Service = Lookup<S>;

    fn layer(&self, inner: S) -> Lookup<S> {
        Lookup { inner, storage: self.storage.clone(), telemetry: self.telemetry.clone() }
    }
}
