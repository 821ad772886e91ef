use tower::Layer;

use super::service::Compression;

/// Makes [`Compression`]s.
#[derive(Clone, Copy, Debug)]
pub struct CompressionLayer;

impl<S> Layer<S> for CompressionLayer {
    type Service = Compression<S>;

    fn layer(&self, inner: S) -> Compression<S> {
        Compression { inner }
    }
}
