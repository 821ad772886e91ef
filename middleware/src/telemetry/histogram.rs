//! Histograms for the `prometheus` crate's registry: each bucket has an exemplar, which that crate does not know, and
//! threads do not wait for each other to count.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::proto;

use super::exemplars::{Exemplified, Slots};
use super::shards::Buckets;
use super::trace::TraceId;

/// Buckets and a sum; and for each bucket a trace that fell into it.
#[derive(Clone, Debug)]
pub struct Histogram {
    core: Arc<Core>,
    is_read: bool,
}

#[derive(Debug)]
struct Core {
    bounds: Arc<[f64]>,
    /// One for each bound, and one for what is above the last.
    buckets: Buckets,
    slots: Slots,
}

impl Histogram {
    /// Counts a value.
    pub fn observe(&self, value: f64) {
        self.observe_in(value, None);
    }

    /// Counts a value that came about in this trace, where there is one that is kept.
    pub fn observe_in(&self, value: f64, trace: Option<TraceId>) {
        if !self.is_read {
            return;
        }
        let Core { bounds, buckets, slots } = &*self.core;
        // The first bounds have nearly all there is.
        let bucket = bounds.iter().position(|bound| value <= *bound).unwrap_or(bounds.len());
        buckets.add(bucket, value);
        if let Some(trace) = trace {
            slots.leave(bucket, trace, value);
        }
    }

    /// How many values were counted.
    pub fn get_sample_count(&self) -> u64 {
        self.core.buckets.counts().sum()
    }

    /// Their sum.
    pub fn get_sample_sum(&self) -> f64 {
        self.core.buckets.sum()
    }
}

impl Core {
    fn new(bounds: &Arc<[f64]>) -> Self {
        let buckets = bounds.len() + 1;
        let (buckets, slots) = (Buckets::new(buckets), Slots::new(buckets));
        Self { bounds: Arc::clone(bounds), buckets, slots }
    }

    fn collect(&self) -> proto::Histogram {
        let mut cumulative = 0;
        let counts = self.buckets.counts().map(|count| {
            cumulative += count;
            cumulative
        });
        let counts: Vec<u64> = counts.collect();
        let of_bound = |(bound, count): (&f64, &u64)| {
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(*count);
            bucket
        };
        let mut histogram = proto::Histogram::default();
        histogram.set_bucket(self.bounds.iter().zip(&counts).map(of_bound).collect());
        histogram.set_sample_count(cumulative);
        histogram.set_sample_sum(self.buckets.sum());
        histogram
    }
}

/// All histograms of one name.
#[derive(Clone)]
pub struct HistogramVector(Arc<Vector>);

struct Vector {
    description: Desc,
    bounds: Arc<[f64]>,
    /// By the values of its labels.
    cores: Mutex<HashMap<Vec<String>, Arc<Core>>>,
}

impl HistogramVector {
    pub(super) fn new(
        name: &str,
        help: &str,
        labels: &[&str],
        bounds: &[f64],
    ) -> prometheus::Result<Self> {
        let names = labels.iter().map(ToString::to_string).collect();
        let description = Desc::new(name.to_owned(), help.to_owned(), names, HashMap::new())?;
        Ok(Self(Arc::new(Vector { description, bounds: bounds.into(), cores: Mutex::default() })))
    }

    pub(super) fn child(&self, values: &[&str], is_read: bool) -> Histogram {
        let labels = values.iter().map(ToString::to_string).collect();
        let mut cores = self.0.cores.lock();
        let core = cores.entry(labels).or_insert_with(|| Arc::new(Core::new(&self.0.bounds)));
        Histogram { core: Arc::clone(core), is_read }
    }

    pub(super) fn exemplified(&self) -> Vec<Exemplified> {
        let one = |(values, core): (&Vec<String>, &Arc<Core>)| Exemplified {
            labels: self.labels(values).collect(),
            buckets: core.slots.all(),
        };
        self.0.cores.lock().iter().map(one).collect()
    }

    fn labels(&self, values: &[String]) -> impl Iterator<Item = (String, String)> {
        self.0.description.variable_labels.iter().cloned().zip(values.iter().cloned())
    }
}

impl Collector for HistogramVector {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.0.description]
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let label = |(name, value)| {
            let mut label = proto::LabelPair::default();
            label.set_name(name);
            label.set_value(value);
            label
        };
        let one = |(values, core): (&Vec<String>, &Arc<Core>)| {
            let mut labels: Vec<_> = self.labels(values).map(label).collect();
            // As of every other metric of the registry.
            labels.sort();
            let mut metric = proto::Metric::from_label(labels);
            metric.set_histogram(core.collect());
            metric
        };
        let mut family = proto::MetricFamily::default();
        family.set_name(self.0.description.fq_name.clone());
        family.set_help(self.0.description.help.clone());
        family.set_field_type(proto::MetricType::HISTOGRAM);
        family.set_metric(self.0.cores.lock().iter().map(one).collect());
        vec![family]
    }
}
