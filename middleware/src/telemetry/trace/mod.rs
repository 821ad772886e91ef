//! Traces, recorded by ourselves: what a request costs is known when it ends, so whether its trace is kept
//! is decided then.
//!
//! A [`Trace`] travels in every request's context and says whose span is calling. `observe` hands in what it
//! has measured anyway, one small record for each layer; a trace that is not kept is never more than that. A
//! kept one becomes [`FinishedSpan`]s, which a [`SpanSink`] takes: when its root ends, with the last byte of
//! the answer, and once more, for what outlived the root, when nobody holds the trace any more.
//!
//! Nothing but [`SpanName`](super::SpanName)s, [`SpanEvent`]s and [`SpanAttribute`]s can be written.

mod context;
pub mod current;
mod ids;
mod keep;
mod recorder;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

pub use context::{Onward, Parent, TRACESTATE_BYTES_MAX};
pub use ids::{Hex, SpanId, SpanRef, TraceId};
pub use keep::KeepRules;
pub use recorder::{NOTES_PER_TRACE_MAX, RootEnd, SPANS_PER_TRACE_MAX};
use recorder::{ROOT, Recording};

use super::catalogue::{Kept, Outcome, SpanAttribute, SpanEvent, SpanName, Work};

/// What an attribute holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(Box<str>),
    /// A number.
    Number(i64),
    /// Yes or no.
    Flag(bool),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => number.fmt(f),
            Self::Flag(flag) => flag.fmt(f),
        }
    }
}

/// Attributes of one span or event.
pub type Attributes = Vec<(SpanAttribute, Value)>;

/// Something that happened within a span.
#[derive(Clone, Debug)]
pub struct FinishedEvent {
    /// What.
    pub name: SpanEvent,
    /// When.
    pub at: SystemTime,
    /// More about it.
    pub attributes: Attributes,
}

/// A span of a trace that is kept.
#[derive(Clone, Debug)]
pub struct FinishedSpan {
    /// Its trace.
    pub trace: TraceId,
    /// Its id.
    pub id: SpanId,
    /// The span it is a part of.
    pub parent: Option<SpanId>,
    /// Whether that is another program's.
    pub parent_is_remote: bool,
    /// The `tracestate` that came with the trace.
    pub state: Option<Arc<str>>,
    /// Its name.
    pub name: SpanName,
    /// When it began.
    pub started: SystemTime,
    /// When it ended.
    pub ended: SystemTime,
    /// How it ended.
    pub outcome: Outcome,
    /// What went wrong.
    pub error: Option<Box<str>>,
    /// All but the outcome.
    pub attributes: Attributes,
    /// What happened within it.
    pub events: Vec<FinishedEvent>,
    /// Spans of other traces that it has to do with.
    pub links: Vec<SpanRef>,
}

/// Spans of one trace that ended since the last were handed on.
#[derive(Clone, Debug)]
pub struct FinishedTrace {
    /// Why the trace is kept.
    pub kept: Kept,
    /// Whether the root is among the spans; it is once in the life of a trace.
    pub has_root: bool,
    /// Spans that were left out since the last time because there were more than [`SPANS_PER_TRACE_MAX`].
    pub over: u32,
    /// The spans.
    pub spans: Vec<FinishedSpan>,
}

/// Where spans go that are kept. Called on the threads of requests, so it never waits.
pub trait SpanSink: Send + Sync + 'static {
    /// Takes them, or counts them as lost.
    fn take(&self, finished: FinishedTrace);
}

/// Begins traces. The default one records nothing: ids travel in and out all the same.
#[derive(Clone, Default)]
pub struct Tracer(Option<Arc<(KeepRules, Arc<dyn SpanSink>)>>);

impl Tracer {
    /// Records, and hands to `sink` what `rules` keep.
    pub fn new(rules: KeepRules, sink: Arc<dyn SpanSink>) -> Self {
        Self(Some(Arc::new((rules, sink))))
    }

    /// Whether traces are recorded.
    pub fn records(&self) -> bool {
        self.0.is_some()
    }

    fn rules(&self) -> Option<&KeepRules> {
        self.0.as_deref().map(|(rules, _)| rules)
    }

    fn sink(&self) -> Option<&Arc<dyn SpanSink>> {
        self.0.as_deref().map(|(_, sink)| sink)
    }

    /// The trace of a request, or its part of a client's.
    pub fn request(&self, parent: Option<Parent>, started: Instant) -> Trace {
        let name = SpanName::Request(super::RouteName::Unknown);
        Trace::at_root(Recording::begin(self, name, parent, started))
    }

    /// A trace of work that no request waits for, linked to what caused it.
    pub fn work(&self, work: Work, cause: Option<SpanRef>) -> Trace {
        let recording = Recording::begin(self, work.into(), None, Instant::now());
        let trace = Trace::at_root(recording);
        if let Some(cause) = cause {
            trace.link(cause);
        }
        trace
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tracer({:?})", self.rules())
    }
}

/// A trace, and the span in it that is calling. The default one is outside any trace.
#[derive(Clone, Default)]
pub struct Trace(Option<(Arc<Recording>, u16)>);

impl Trace {
    fn at_root(recording: Recording) -> Self {
        Self(Some((Arc::new(recording), ROOT)))
    }

    /// The span that is calling, for others to link to.
    pub fn span(&self) -> Option<SpanRef> {
        self.0.as_ref().map(|(recording, index)| recording.span(*index))
    }

    /// The trace's own id, in every line of the log about it.
    pub fn id(&self) -> Option<TraceId> {
        self.span().map(|span| span.trace)
    }

    /// Whether it is sure that the trace is kept.
    pub fn is_kept(&self) -> bool {
        self.0.as_ref().is_some_and(|(recording, _)| recording.is_kept())
    }

    /// The trace, where it is sure that it is kept: what an exemplar leads to.
    pub fn exemplar(&self) -> Option<TraceId> {
        self.is_kept().then(|| self.id()).flatten()
    }

    /// From here on the trace is worth keeping, whatever comes of it.
    pub fn keep(&self, why: Kept) {
        if let Some((recording, _)) = &self.0 {
            recording.keep(why);
        }
    }

    /// Enters a span below this one, which this one becomes; `None` where nothing is recorded.
    pub fn enter(&mut self) -> Option<Entered> {
        let (recording, here) = self.0.as_mut()?;
        let index = recording.open()?;
        let parent = std::mem::replace(here, index);
        Some(Entered { recording: Arc::clone(recording), index, parent })
    }

    /// Notes on the span that something happened.
    pub fn event(&self, event: SpanEvent, attributes: Attributes) {
        if let Some((recording, index)) = &self.0 {
            recording.event(*index, event, attributes);
        }
    }

    /// Notes on the span that another has to do with it.
    pub fn link(&self, to: SpanRef) {
        if let Some((recording, index)) = &self.0 {
            recording.link(*index, to);
        }
    }

    /// Notes an attribute of the span.
    pub fn attribute(&self, attribute: SpanAttribute, value: impl Into<Value>) {
        if let Some((recording, index)) = &self.0 {
            recording.attribute(*index, attribute, value.into());
        }
    }

    /// The root ends. The attributes are asked for only where they may be needed.
    pub fn end(&self, end: &RootEnd<'_>, attributes: impl FnOnce(&mut Attributes)) {
        if let Some((recording, _)) = &self.0 {
            recording.end(end, Arc::strong_count(recording) == 1, attributes);
        }
    }

    /// The W3C `traceparent` of the span; sampled where it is sure that the trace is kept.
    pub fn traceparent(&self) -> Option<String> {
        Some(context::traceparent(self.span()?, self.is_kept()))
    }

    /// The trace as it goes on to another program.
    pub fn onward(&self) -> Option<Onward> {
        let (recording, _) = self.0.as_ref()?;
        Some(Onward { traceparent: self.traceparent()?, tracestate: recording.state().cloned() })
    }

    /// The trace for a third party: nothing unless it is kept. Without an exporter none is, and then a
    /// client's own ids are nobody else's business.
    pub fn onward_if_kept(&self) -> Option<Onward> {
        self.is_kept().then(|| self.onward()).flatten()
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.span() {
            Some(span) => write!(f, "Trace({span})"),
            None => f.write_str("Trace(none)"),
        }
    }
}

/// A span that is open.
pub struct Entered {
    recording: Arc<Recording>,
    index: u16,
    parent: u16,
}

impl Entered {
    /// The trace, where it is sure that it is kept: what an exemplar leads to.
    pub fn exemplar(&self) -> Option<TraceId> {
        self.recording.is_kept().then(|| self.recording.span(self.index).trace)
    }

    /// It has ended: when it began, and how long it lasted.
    pub fn end(
        self,
        name: SpanName,
        time: (Instant, Duration),
        outcome: Outcome,
        error: Option<&str>,
    ) {
        let place = (self.index, self.parent);
        self.recording.ended(place, name, time, outcome, error);
    }
}

impl fmt::Debug for Entered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entered({} below {})", self.index, self.parent)
    }
}
