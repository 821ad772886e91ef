use std::sync::Arc;

use quick_cache::sync::Cache;
use tower::Layer;

use super::service::{Files, HotCache, WeighBytes};
use crate::telemetry::Telemetry;

/// Average bytes of a file and its key, to size the table.
const FILE_BYTES_EXPECTED: u64 = 1024;

/// Makes [`HotCache`]s that share one memory.
#[derive(Clone)]
pub struct HotCacheLayer {
    files: Option<Arc<Files>>,
    telemetry: Telemetry,
}

impl HotCacheLayer {
    /// Room for `bytes_max`.
    pub fn new(bytes_max: u64, telemetry: &Telemetry) -> Self {
        let items = usize::try_from(bytes_max / FILE_BYTES_EXPECTED).unwrap_or(usize::MAX).max(1);
        let files =
            (bytes_max > 0).then(|| Arc::new(Cache::with_weighter(items, bytes_max, WeighBytes)));
        Self { files, telemetry: telemetry.clone() }
    }
}

impl<S> Layer<S> for HotCacheLayer {
    type Service = HotCache<S>;

    fn layer(&self, inner: S) -> HotCache<S> {
        HotCache { inner, files: self.files.clone(), telemetry: self.telemetry.clone() }
    }
}
