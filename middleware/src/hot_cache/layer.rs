use std::future::ready;
use std::sync::Arc;

use dipylon_protocol::route::FileKind;
use quick_cache::sync::Cache;
use serde_json::json;
use tower::Layer;

use super::service::{Files, HotCache, WeighBytes, key};
use crate::explain::{Ending, Facts, Foretold, Subject, Tells, file_of};
use crate::ports::BoxFuture;
use crate::request::{FileRequest, ModuleRequest};
use crate::telemetry::{Outcome, Telemetry};

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

impl HotCacheLayer {
    /// The bytes that are kept of a file. A look from outside makes none of them fresher.
    fn peek(&self, request: &FileRequest) -> Option<usize> {
        let files = self.files.as_ref()?;
        files.peek(&key(request)?).map(|bytes| bytes.len())
    }
}

impl Tells for HotCacheLayer {
    fn tell<'a>(&'a self, about: &'a Subject) -> BoxFuture<'a, Facts> {
        let Subject { context, module, version } = about;
        let Some(version) = version else { return Box::pin(ready(Facts::Null)) };
        let bytes = |kind| {
            let (context, module) = (context.clone(), module.clone());
            self.peek(&FileRequest { context, module, version: version.clone(), kind })
        };
        let [info, go_mod, zip] = FileKind::ALL.map(bytes);
        let told = json!({ "info_bytes": info, "mod_bytes": go_mod, "zip_bytes": zip });
        Box::pin(ready(told))
    }

    fn foretell<'a>(&'a self, request: &'a ModuleRequest) -> BoxFuture<'a, Foretold> {
        let kept = file_of(request).and_then(|file| self.peek(&file));
        Box::pin(ready(kept.map_or(Foretold::Passes, |_| {
            Foretold::Ends(Ending::new(Outcome::HitMemory, "it is in memory"))
        })))
    }
}

impl<S> Layer<S> for HotCacheLayer {
    type Service = HotCache<S>;

    fn layer(&self, inner: S) -> HotCache<S> {
        HotCache { inner, files: self.files.clone(), telemetry: self.telemetry.clone() }
    }
}
