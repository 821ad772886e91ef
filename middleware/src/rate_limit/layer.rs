use std::sync::Arc;

use tower::Layer;

use super::buckets::Buckets;
use super::service::RateLimit;
use crate::budget::Rate;
use crate::telemetry::Telemetry;

/// Makes [`RateLimit`]s that share their buckets.
#[derive(Clone, Debug)]
pub struct RateLimitLayer {
    rate: Rate,
    prefixed: bool,
    buckets: Arc<Buckets>,
}

impl RateLimitLayer {
    /// Holds each client to `rate`; `prefixed` says whether there is a path prefix.
    pub fn new(rate: Rate, prefixed: bool, telemetry: &Telemetry) -> Self {
        let quota = rate.quota();
        let metrics = &telemetry.metrics;
        let clients = metrics.rate_limit_clients.get(()).clone();
        let together = metrics.rate_limit_together.get(()).clone();
        Self { rate, prefixed, buckets: Arc::new(Buckets::new(quota, clients, together)) }
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimit<S>;

    fn layer(&self, inner: S) -> RateLimit<S> {
        let Self { rate, prefixed, buckets } = self;
        RateLimit { inner, rate: *rate, prefixed: *prefixed, buckets: Arc::clone(buckets) }
    }
}
