use tower::Layer;

use super::service::Lookup;
use crate::storage_io::StorageHandle;

/// Makes [`Lookup`]s.
#[derive(Clone, Debug)]
pub struct LookupLayer {
    storage: StorageHandle,
}

impl LookupLayer {
    /// Looks in `storage`.
    pub fn new(storage: StorageHandle) -> Self {
        Self { storage }
    }
}

impl<S> Layer<S> for LookupLayer {
    type Service = Lookup<S>;

    fn layer(&self, inner: S) -> Lookup<S> {
        Lookup { inner, storage: self.storage.clone() }
    }
}
