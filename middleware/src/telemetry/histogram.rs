//! Histograms of the `prometheus` crate that keep an exemplar for each bucket, which it does not know.

use std::collections::HashMap;
use std::sync::Arc;

use super::trace::TraceId;
use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{HistogramOpts, HistogramVec};

use super::exemplars::{Exemplified, Slots};

/// Buckets, a sum and a count; and for each bucket a trace that fell into it.
#[derive(Clone, Debug)]
pub struct Histogram {
    buckets: prometheus::Histogram,
    slots: Arc<Slots>,
    is_read: bool,
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
        self.buckets.observe(value);
        if let Some(trace) = trace {
            self.slots.leave(trace, value);
        }
    }

    /// How many values were counted.
    pub fn get_sample_count(&self) -> u64 {
        self.buckets.get_sample_count()
    }

    /// Their sum.
    pub fn get_sample_sum(&self) -> f64 {
        self.buckets.get_sample_sum()
    }
}

/// All histograms of one name.
#[derive(Clone)]
pub struct HistogramVector {
    vector: HistogramVec,
    names: Arc<[String]>,
    bounds: Arc<[f64]>,
    slots: Arc<Mutex<HashMap<Vec<String>, Arc<Slots>>>>,
}

impl HistogramVector {
    pub(super) fn new(
        name: &str,
        help: &str,
        labels: &[&str],
        bounds: &[f64],
    ) -> prometheus::Result<Self> {
        let options = HistogramOpts::new(name, help).buckets(bounds.to_vec());
        let vector = HistogramVec::new(options, labels)?;
        let names = labels.iter().map(ToString::to_string).collect();
        Ok(Self { vector, names, bounds: bounds.into(), slots: Arc::default() })
    }

    pub(super) fn child(&self, values: &[&str], is_read: bool) -> Histogram {
        let labels = values.iter().map(ToString::to_string).collect();
        let mut slots = self.slots.lock();
        let slots = slots.entry(labels).or_insert_with(|| Arc::new(Slots::new(&self.bounds)));
        let buckets = self.vector.with_label_values(values);
        Histogram { buckets, slots: Arc::clone(slots), is_read }
    }

    pub(super) fn exemplified(&self) -> Vec<Exemplified> {
        let slots = self.slots.lock();
        let one = |(labels, slots): (&Vec<String>, &Arc<Slots>)| Exemplified {
            labels: self.names.iter().cloned().zip(labels.iter().cloned()).collect(),
            buckets: slots.all(),
        };
        slots.iter().map(one).collect()
    }
}

impl Collector for HistogramVector {
    fn desc(&self) -> Vec<&Desc> {
        self.vector.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.vector.collect()
    }
}
