use std::fmt;
use std::sync::Arc;

use tower::Layer;

use super::service::DownloadMode;
use crate::ports::Policy;

/// Makes [`DownloadMode`]s.
#[derive(Clone)]
pub struct DownloadModeLayer {
    policy: Arc<dyn Policy>,
}

impl DownloadModeLayer {
    /// Plans by `policy`.
    pub fn new(policy: Arc<dyn Policy>) -> Self {
        Self { policy }
    }
}

impl fmt::Debug for DownloadModeLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DownloadModeLayer")
    }
}

impl<S> Layer<S> for DownloadModeLayer {
    type Service = DownloadMode<S>;

    fn layer(&self, inner: S) -> DownloadMode<S> {
        DownloadMode { inner, policy: Arc::clone(&self.policy) }
    }
}
