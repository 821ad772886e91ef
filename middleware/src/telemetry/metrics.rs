//! Metric families with typed labels over the `prometheus` registry.
//!
//! A child is resolved once, on first use, and kept in a dense table indexed by its labels: the hot
//! path neither hashes nor locks, and a combination that never occurs costs no series.

use std::marker::PhantomData;
use std::sync::OnceLock;

use prometheus::core::{
    AtomicF64, AtomicI64, AtomicU64, Collector, GenericCounterVec, GenericGaugeVec,
};
use prometheus::{IntGaugeVec, Opts, Registry};

use super::exemplars::Exemplified;
use super::histogram::{Histogram, HistogramVector};
use super::instruments::{ActiveGauge, Counter, IntCounter, IntGauge};
use super::labels::{LabelInfo, LabelSet};
use super::shards::Shards;

/// What kind of metric a family holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricType {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Buckets, a sum and a count.
    Histogram,
}

impl MetricType {
    /// The word of the exposition format.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One line of the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct MetricInfo {
    /// Full name, beginning `dipylon_`.
    pub name: &'static str,
    /// Help text.
    pub help: &'static str,
    /// Counter, gauge or histogram.
    pub kind: MetricType,
    /// Label names.
    pub labels: &'static [&'static str],
    /// The labels with their values, in the same order.
    pub label_infos: &'static [LabelInfo],
    /// The most series (label combinations) the metric can have.
    pub combinations: usize,
    /// The upper bounds of a histogram's buckets, the last of which is unbounded and not among them.
    pub bounds: &'static [f64],
}

impl MetricInfo {
    /// The most lines that it can have in a scrape: a histogram has one for each bucket, and sum and count.
    pub fn series_max(&self) -> usize {
        match self.kind {
            MetricType::Histogram => self.combinations * (self.bounds.len() + 3),
            MetricType::Counter | MetricType::Gauge => self.combinations,
        }
    }
}

/// A `prometheus` metric that a [`Family`] can hold.
pub trait Instrument: Clone + Send + Sync + 'static {
    /// Its type in the catalogue.
    const TYPE: MetricType;
    /// The vector its children come from.
    type Vector: Collector + Clone + 'static;
    /// Makes the vector.
    ///
    /// # Errors
    /// When the name or a label is malformed.
    fn vector(
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> prometheus::Result<Self::Vector>;
    /// One child of the vector, which does nothing where it is not `read`.
    fn child(vector: &Self::Vector, values: &[&str], is_read: bool) -> Self;
    /// The exemplars of its children; none but histograms have any.
    fn exemplified(_: &Self::Vector) -> Vec<Exemplified> {
        Vec::new()
    }
}

impl Instrument for IntCounter {
    const TYPE: MetricType = MetricType::Counter;
    type Vector = GenericCounterVec<Shards<AtomicU64>>;
    fn vector(n: &str, help: &str, labels: &[&str], _: &[f64]) -> prometheus::Result<Self::Vector> {
        Self::Vector::new(Opts::new(n, help), labels)
    }
    fn child(vector: &Self::Vector, values: &[&str], is_read: bool) -> Self {
        Self::new(vector.with_label_values(values), is_read)
    }
}

impl Instrument for IntGauge {
    const TYPE: MetricType = MetricType::Gauge;
    type Vector = IntGaugeVec;
    fn vector(n: &str, help: &str, labels: &[&str], _: &[f64]) -> prometheus::Result<IntGaugeVec> {
        IntGaugeVec::new(Opts::new(n, help), labels)
    }
    fn child(vector: &IntGaugeVec, values: &[&str], is_read: bool) -> Self {
        Self::new(vector.with_label_values(values), is_read)
    }
}

impl Instrument for ActiveGauge {
    const TYPE: MetricType = MetricType::Gauge;
    type Vector = GenericGaugeVec<Shards<AtomicI64>>;
    fn vector(n: &str, help: &str, labels: &[&str], _: &[f64]) -> prometheus::Result<Self::Vector> {
        Self::Vector::new(Opts::new(n, help), labels)
    }
    fn child(vector: &Self::Vector, values: &[&str], is_read: bool) -> Self {
        Self::new(vector.with_label_values(values), is_read)
    }
}

impl Instrument for Counter {
    const TYPE: MetricType = MetricType::Counter;
    type Vector = GenericCounterVec<Shards<AtomicF64>>;
    fn vector(n: &str, help: &str, labels: &[&str], _: &[f64]) -> prometheus::Result<Self::Vector> {
        Self::Vector::new(Opts::new(n, help), labels)
    }
    fn child(vector: &Self::Vector, values: &[&str], is_read: bool) -> Self {
        Self::new(vector.with_label_values(values), is_read)
    }
}

impl Instrument for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
    type Vector = HistogramVector;
    fn vector(
        n: &str,
        help: &str,
        labels: &[&str],
        at: &[f64],
    ) -> prometheus::Result<HistogramVector> {
        HistogramVector::new(n, help, labels, at)
    }
    fn child(vector: &HistogramVector, values: &[&str], is_read: bool) -> Self {
        vector.child(values, is_read)
    }
    fn exemplified(vector: &HistogramVector) -> Vec<Exemplified> {
        vector.exemplified()
    }
}

/// A metric with typed labels.
pub struct Family<M: Instrument, L: LabelSet> {
    vector: M::Vector,
    children: Box<[OnceLock<M>]>,
    is_read: bool,
    labels: PhantomData<fn(L)>,
}

impl<M: Instrument, L: LabelSet> Family<M, L> {
    /// Makes the family and registers it, where there is a registry; else nobody can read it, and it counts nothing.
    ///
    /// # Errors
    /// When the name is malformed or registered already.
    pub fn register(
        registry: Option<&Registry>,
        name: &str,
        help: &str,
        buckets: &[f64],
    ) -> prometheus::Result<Self> {
        let vector = M::vector(name, help, L::NAMES, buckets)?;
        if let Some(registry) = registry {
            registry.register(Box::new(vector.clone()))?;
        }
        let is_read = registry.is_some();
        let children = (0..L::COUNT).map(|_| OnceLock::new()).collect();
        Ok(Self { vector, children, is_read, labels: PhantomData })
    }

    /// Whether somebody can read it.
    pub fn is_read(&self) -> bool {
        self.is_read
    }

    /// The exemplars of all children.
    pub fn exemplified(&self) -> Vec<Exemplified> {
        M::exemplified(&self.vector)
    }

    /// The child for these labels; resolved on first use.
    pub fn get(&self, labels: L) -> &M {
        self.children[labels.index()]
            .get_or_init(|| M::child(&self.vector, &labels.values(), self.is_read))
    }
}

/// Counts something as in progress until it is dropped, however it ends.
#[derive(Debug)]
pub struct InFlight(ActiveGauge);

impl InFlight {
    /// Adds one to `gauge` now and takes it away on drop.
    pub fn enter(gauge: &ActiveGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
