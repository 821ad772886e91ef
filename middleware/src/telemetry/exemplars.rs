//! A trace for each bucket of a histogram: from a number to a request that made it.

use std::time::SystemTime;

use super::trace::TraceId;
use parking_lot::Mutex;

/// A value that was observed, and the trace it was observed in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exemplar {
    /// The trace, which is kept.
    pub trace: TraceId,
    /// What was observed.
    pub value: f64,
    /// When.
    pub at: SystemTime,
}

/// The exemplars of one series, by bucket.
#[derive(Clone, Debug)]
pub struct Exemplified {
    /// Names and values of its labels.
    pub labels: Vec<(String, String)>,
    /// For each bound and for what is above the last, the newest.
    pub buckets: Vec<Option<Exemplar>>,
}

/// The newest exemplar of each bucket.
#[derive(Debug)]
pub(super) struct Slots(Box<[Mutex<Option<Exemplar>>]>);

impl Slots {
    pub(super) fn new(buckets: usize) -> Self {
        Self((0..buckets).map(|_| Mutex::default()).collect())
    }

    /// Nobody waits to leave one: where another is being left, that one is as good.
    pub(super) fn leave(&self, bucket: usize, trace: TraceId, value: f64) {
        if let Some(mut slot) = self.0[bucket].try_lock() {
            *slot = Some(Exemplar { trace, value, at: SystemTime::now() });
        }
    }

    pub(super) fn all(&self) -> Vec<Option<Exemplar>> {
        self.0.iter().map(|slot| *slot.lock()).collect()
    }
}
