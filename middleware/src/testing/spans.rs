//! Finished spans, as a test reads them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::telemetry::trace::{
    FinishedSpan, FinishedTrace, KeepRules, Parent, SpanRef, SpanSink, TraceId,
};
use crate::telemetry::{Outcome, SpanName, Telemetry, Trace, Tracer};

/// What was handed on, in order.
#[derive(Default)]
pub(crate) struct Spans(Mutex<Vec<FinishedTrace>>);

impl SpanSink for Spans {
    fn take(&self, finished: FinishedTrace) {
        self.0.lock().push(finished);
    }
}

/// Every trace is kept.
pub(crate) const ALL: KeepRules = KeepRules { fraction: 1.0, ..NOTABLE };
/// Only what is worth looking at is kept; an answer is slow after a second.
pub(crate) const NOTABLE: KeepRules = KeepRules {
    fraction: 0.0,
    follows_parents: true,
    keeps_notable: true,
    slow: Some(super::SECOND),
};

/// Metrics of its own, and traces that are kept by these rules.
pub(crate) fn traced(rules: KeepRules) -> (Telemetry, Arc<Spans>) {
    let spans = Arc::<Spans>::default();
    let tracer = Tracer::new(rules, Arc::clone(&spans) as _);
    (super::telemetry().traced(tracer), spans)
}

/// A trace that nobody but the test knows.
pub(crate) fn root(telemetry: &Telemetry) -> Trace {
    telemetry.tracer.request(None, Instant::now())
}

/// The span of another program, by its trace id.
pub(crate) fn parent(trace: &str, is_sampled: bool) -> Parent {
    let trace = TraceId::from_hex(trace).expect("a trace id");
    let span = SpanRef::parse(&format!("{trace}-00f067aa0ba902b7")).expect("ids");
    Parent { span, is_sampled, state: None }
}

impl Spans {
    /// What was handed on, in order.
    pub(crate) fn batches(&self) -> Vec<FinishedTrace> {
        self.0.lock().clone()
    }

    /// Every span.
    pub(crate) fn all(&self) -> Vec<FinishedSpan> {
        self.batches().into_iter().flat_map(|finished| finished.spans).collect()
    }

    /// The names of the spans, in the order in which they were handed on.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.all().iter().map(|span| span.name.as_str()).collect()
    }

    /// The one span of this name.
    pub(crate) fn one(&self, name: impl Into<SpanName>) -> FinishedSpan {
        let name = name.into();
        let mut found: Vec<_> = self.all().into_iter().filter(|span| span.name == name).collect();
        assert_eq!(found.len(), 1, "spans {name} among {:?}", self.names());
        found.remove(0)
    }

    /// Spans that are linked to a trace.
    pub(crate) fn linked_to(&self, trace: TraceId) -> Vec<FinishedSpan> {
        let links = |span: &FinishedSpan| span.links.iter().any(|link| link.trace == trace);
        self.all().into_iter().filter(links).collect()
    }
}

impl FinishedSpan {
    /// An attribute as text; empty where there is none.
    pub(crate) fn said(&self, name: crate::telemetry::SpanAttribute) -> String {
        let found = self.attributes.iter().find(|(attribute, _)| *attribute == name);
        found.map(|(_, value)| value.to_string()).unwrap_or_default()
    }
}

/// Ends a span below `trace` at once, as `observe` does.
pub(crate) fn pass(trace: &Trace, name: impl Into<SpanName>, outcome: Outcome) {
    if let Some(entered) = trace.clone().enter() {
        entered.end(name.into(), (Instant::now(), Duration::ZERO), outcome, None);
    }
}
