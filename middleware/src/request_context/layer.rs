use std::sync::Arc;
use std::time::Duration;

use tower::Layer;

use super::forwarded::TrustedProxies;
use super::service::RequestContextService;
use crate::telemetry::{Telemetry, Tracer};

/// Makes [`RequestContextService`]s.
#[derive(Clone, Debug)]
pub struct RequestContextLayer {
    prefix: Arc<str>,
    patience: Duration,
    trusted: Option<TrustedProxies>,
    tracer: Tracer,
}

impl RequestContextLayer {
    /// `prefix` is the configured path prefix without a trailing slash, or empty; a request's
    /// deadline starts as `patience` from now.
    pub fn new(prefix: &str, patience: Duration, telemetry: &Telemetry) -> Self {
        let (prefix, tracer) = (prefix.trim_end_matches('/').into(), telemetry.tracer.clone());
        Self { prefix, patience, trusted: None, tracer }
    }

    /// Believes `X-Forwarded-*` of these peers only. Without it anybody is believed, as in Athens.
    #[must_use]
    pub fn trusting(mut self, trusted: Option<TrustedProxies>) -> Self {
        self.trusted = trusted;
        self
    }
}

impl<S> Layer<S> for RequestContextLayer {
    type Service = RequestContextService<S>;

    fn layer(&self, inner: S) -> RequestContextService<S> {
        RequestContextService {
            inner,
            prefix: Arc::clone(&self.prefix),
            patience: self.patience,
            trusted: self.trusted.clone(),
            tracer: self.tracer.clone(),
        }
    }
}
