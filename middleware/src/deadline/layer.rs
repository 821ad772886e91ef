use std::time::Duration;

use tower::Layer;

use super::service::Deadline;
use crate::error::ErrorKind;

/// Makes [`Deadline`]s.
#[derive(Clone, Copy, Debug)]
pub struct DeadlineLayer {
    limit: Duration,
    kind: ErrorKind,
    what: &'static str,
}

impl DeadlineLayer {
    /// A call of `what` may take `limit`; then it fails with `kind`.
    pub fn new(what: &'static str, limit: Duration, kind: ErrorKind) -> Self {
        Self { limit, kind, what }
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;

    fn layer(&self, inner: S) -> Deadline<S> {
        Deadline { inner, limit: self.limit, kind: self.kind, what: self.what }
    }
}
