//! Telemetry: one catalogue, typed metrics, traces.

pub mod athens;
pub mod catalogue;
pub mod exemplars;
pub mod histogram;
mod instruments;
pub mod labels;
pub mod metrics;
pub mod openmetrics;
pub mod request_line;
mod runtime;
mod shards;
pub mod timings;
pub mod trace;

use std::sync::Arc;

use prometheus::Registry;

use crate::events::Events;

pub use athens::AthensMetrics;
pub use catalogue::{
    Answered, BackgroundEvent, BreakerScope, FetchKind, FlightEnd, FlightRole, Found, Hedged, Kept,
    LayerName, LockAnswer, LockLoss, LockOperation, LockWait, LogFate, Metrics, NearFill, NearRead,
    Outcome, OutcomeClass, PaceReason, Paced, PolicyReload, Presigned, RouteName, Saved, Source,
    SpanAttribute, SpanEvent, SpanFate, SpanName, StorageOperation, Tier, UpstreamClass,
    Verification, Work,
};
pub use histogram::Histogram;
pub use instruments::{ActiveGauge, Counter, IntCounter, IntGauge};
pub use labels::LabelInfo;
pub use metrics::{Family, InFlight, MetricInfo, MetricType};
pub use request_line::{AsEvents, RequestLine, RequestLog};
pub use timings::{InPhase, Phase, Spent, Timings};
pub use trace::{Trace, Tracer};

/// What a layer is built with: metric handles and the registry they live in. Layers are cloned for each call,
/// so a clone is one reference.
#[derive(Clone)]
pub struct Telemetry(Arc<Parts>);

/// What a [`Telemetry`] is made of.
#[derive(Clone)]
pub struct Parts {
    /// Handles to every metric.
    pub metrics: Arc<Metrics>,
    /// Where `/metrics` gathers from.
    pub registry: Registry,
    /// Athens's own, where they are exposed beside ours.
    pub athens: Option<Arc<AthensMetrics>>,
    /// Begins traces.
    pub tracer: Tracer,
    /// How the latest requests ended.
    pub events: Events,
    /// Where the lines of requests go.
    pub request_log: Arc<dyn RequestLog>,
}

impl std::ops::Deref for Telemetry {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Telemetry")
    }
}

impl Telemetry {
    /// A fresh registry with the whole catalogue; no traces are recorded.
    ///
    /// # Errors
    /// When the catalogue names one metric twice.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let metrics = Metrics::register(Some(&registry))?;
        Ok(Self::with(metrics, registry))
    }

    /// Nothing is counted, because nobody can read it.
    ///
    /// # Errors
    /// As [`Telemetry::new`].
    pub fn silent() -> prometheus::Result<Self> {
        Ok(Self::with(Metrics::register(None)?, Registry::new()))
    }

    /// Whether somebody can read what is counted.
    pub fn is_read(&self) -> bool {
        self.metrics.requests_active.is_read()
    }

    fn with(metrics: Metrics, registry: Registry) -> Self {
        let (metrics, tracer, events) = (Arc::new(metrics), Tracer::default(), Events::default());
        let (athens, request_log) = (None, Arc::new(AsEvents));
        Self(Arc::new(Parts { metrics, registry, athens, tracer, events, request_log }))
    }

    /// With traces begun by `tracer`.
    #[must_use]
    pub fn traced(self, tracer: Tracer) -> Self {
        Self(Arc::new(Parts { tracer, ..Parts::clone(&self) }))
    }

    /// With the lines of requests written to `log`, and no longer as events of `tracing`.
    #[must_use]
    pub fn logging_to(self, log: Arc<dyn RequestLog>) -> Self {
        Self(Arc::new(Parts { request_log: log, ..Parts::clone(&self) }))
    }

    /// With Athens's own metrics beside ours.
    ///
    /// # Errors
    /// When they are there already.
    pub fn with_athens(self) -> prometheus::Result<Self> {
        let athens = Some(Arc::new(AthensMetrics::register(&self.registry)?));
        Ok(Self(Arc::new(Parts { athens, ..Parts::clone(&self) })))
    }

    /// With what is collected of the process and its runtime, which must be running.
    ///
    /// # Errors
    /// When it is there already.
    pub fn with_process(self) -> prometheus::Result<Self> {
        runtime::register(&self.registry)?;
        Ok(self)
    }

    /// What there is now, as OpenMetrics text with exemplars.
    pub fn openmetrics(&self) -> String {
        openmetrics::encode(&self.registry.gather(), &self.metrics.exemplars())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_registers_and_stays_bounded() {
        Telemetry::new().expect("no metric is named twice");
        assert!(catalogue::series_max() < 5_000, "{} series", catalogue::series_max());
    }

    #[test]
    fn what_nobody_can_read_is_not_counted() {
        let telemetry = Telemetry::silent().expect("nothing is registered");
        let metrics = &telemetry.metrics;
        metrics.requests.get((RouteName::Zip, Outcome::Ok)).inc();
        let seconds = metrics.request_seconds.get((RouteName::Zip, OutcomeClass::Hit));
        seconds.observe(1.0);
        metrics.phase_seconds.get((RouteName::Zip, Phase::Send)).inc_by(1.0);
        let active = InFlight::enter(metrics.requests_active.get(()));
        assert_eq!(metrics.requests.get((RouteName::Zip, Outcome::Ok)).get(), 0);
        assert_eq!(seconds.get_sample_count(), 0);
        assert_eq!(metrics.phase_seconds.get((RouteName::Zip, Phase::Send)).get(), 0.0);
        assert_eq!(metrics.requests_active.get(()).get(), 0);
        drop(active);
        assert!(telemetry.registry.gather().is_empty());
    }

    #[test]
    fn every_metric_has_our_prefix_and_a_help_text() {
        for metric in catalogue::METRICS {
            let is_known = ["dipylon_", "process_"].iter().any(|at| metric.name.starts_with(at));
            assert!(is_known, "{}", metric.name);
            assert!(metric.help.trim().ends_with('.'), "{}: {:?}", metric.name, metric.help);
        }
    }
}
