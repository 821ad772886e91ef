use tower::Layer;

use super::service::ForceSsl;

/// Makes [`ForceSsl`]s.
#[derive(Clone, Copy, Debug)]
pub struct ForceSslLayer {
    prefixed: bool,
}

impl ForceSslLayer {
    /// `prefixed` says whether there is a path prefix, which makes the bare `/` a health check.
    pub fn new(prefixed: bool) -> Self {
        Self { prefixed }
    }
}

impl<S> Layer<S> for ForceSslLayer {
    type Service = ForceSsl<S>;

    fn layer(&self, inner: S) -> ForceSsl<S> {
        ForceSsl { inner, prefixed: self.prefixed }
    }
}
