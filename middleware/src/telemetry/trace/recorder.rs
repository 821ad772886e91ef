//! One trace while it happens: an arena of what has ended, made into spans only if the trace is kept.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use super::context::Parent;
use super::ids::{self, SpanId, SpanRef, TraceId};
use super::keep::KeepRules;
use super::{Attributes, FinishedEvent, FinishedSpan, FinishedTrace, SpanSink, Tracer, Value};
use crate::telemetry::catalogue::{Kept, Outcome, SpanAttribute, SpanEvent, SpanName};
use crate::telemetry::labels::Label as _;

/// Spans of one trace in one process; those beyond are counted on the root.
pub const SPANS_PER_TRACE_MAX: u32 = 512;
/// Events, links and attributes of the spans below the root of one trace in one process.
pub const NOTES_PER_TRACE_MAX: usize = 256;

/// Room for the spans of a hit from the start.
const SPANS_OF_A_HIT: usize = 16;
thread_local! {
    /// The memory for the spans of the last trace that was not kept: most are not, and that of the one before is near.
    static SPARE: Cell<Vec<Ended>> = const { Cell::new(Vec::new()) };
}

/// The root's place.
pub(super) const ROOT: u16 = 0;

/// How the work of a trace ended in this process.
#[derive(Clone, Copy, Debug)]
pub struct RootEnd<'a> {
    /// The root's name.
    pub name: SpanName,
    /// How it ended.
    pub outcome: Outcome,
    /// What went wrong, where that is an error of the root's.
    pub error: Option<&'a str>,
    /// Whether somebody should look at it: then it is kept.
    pub is_loud: bool,
    /// How long somebody waited for it.
    pub waited: Duration,
    /// When it ended.
    pub ended: Instant,
}

/// What a trace collects.
pub(super) struct Recording {
    trace: TraceId,
    seed: u64,
    parent: Option<Parent>,
    started: Instant,
    /// What it is until it has ended and has a better name.
    name: SpanName,
    /// Nothing where nothing is recorded: then there are ids alone.
    keeping: Option<Keeping>,
}

struct Keeping {
    tracer: Tracer,
    /// 0 until it is sure that the trace is kept; then why, counted from 1.
    kept: AtomicU8,
    /// Spans begun, the root included.
    begun: AtomicU32,
    records: Mutex<Records>,
}

/// Spans that have ended, and what was noted on those that may not have.
#[derive(Default)]
struct Records {
    ended: Vec<Ended>,
    notes: Vec<(u16, Note)>,
    notes_over: u32,
    root: Root,
    /// Spans over the limit that were told already.
    over_told: u32,
    /// The wall clock at the start, as it was found when the first spans were handed on.
    began: Option<SystemTime>,
}

#[derive(Default)]
enum Root {
    #[default]
    Open,
    /// It ended, and it is not sure that it is kept.
    Ended(Box<(Ended, Attributes)>),
    /// It was handed on, or nobody can have it kept any more.
    Gone,
}

/// A span that has ended; times are nanoseconds.
struct Ended {
    after: u64,
    lasted: u64,
    error: Option<Box<str>>,
    index: u16,
    parent: u16,
    name: SpanName,
    outcome: Outcome,
}

enum Note {
    Event(SpanEvent, Instant, Attributes),
    Link(SpanRef),
    Attribute(SpanAttribute, Value),
}

impl Recording {
    pub(super) fn begin(
        tracer: &Tracer,
        name: SpanName,
        parent: Option<Parent>,
        started: Instant,
    ) -> Self {
        let trace = parent.as_ref().map_or_else(TraceId::random, |parent| parent.span.trace);
        let keeping = tracer.rules().map(|rules| {
            let kept = rules.at_start(trace, parent.as_ref());
            Keeping {
                tracer: tracer.clone(),
                kept: AtomicU8::new(kept.map_or(0, code)),
                begun: AtomicU32::new(1),
                records: Mutex::default(),
            }
        });
        Self { trace, seed: ids::seed(), parent, started, name, keeping }
    }

    pub(super) fn span(&self, index: u16) -> SpanRef {
        SpanRef { trace: self.trace, span: SpanId::of(self.seed, index) }
    }

    pub(super) fn state(&self) -> Option<&Arc<str>> {
        self.parent.as_ref().and_then(|parent| parent.state.as_ref())
    }

    pub(super) fn is_kept(&self) -> bool {
        self.keeping.as_ref().is_some_and(|keeping| keeping.kept.load(Ordering::Relaxed) != 0)
    }

    pub(super) fn keep(&self, why: Kept) {
        if let Some(keeping) = &self.keeping
            && let Some(why) = keeping.rules().on_the_way(why)
        {
            keeping.keep(why);
        }
    }

    /// A place for one more span; `None` where nothing is recorded, or too much.
    pub(super) fn open(&self) -> Option<u16> {
        let index = self.keeping.as_ref()?.begun.fetch_add(1, Ordering::Relaxed);
        (index < SPANS_PER_TRACE_MAX).then_some(index as u16)
    }

    pub(super) fn ended(
        &self,
        (index, parent): (u16, u16),
        name: SpanName,
        (started, lasted): (Instant, Duration),
        outcome: Outcome,
        error: Option<&str>,
    ) {
        let Some(keeping) = &self.keeping else { return };
        let ended = Ended {
            after: nanoseconds(started.saturating_duration_since(self.started)),
            lasted: nanoseconds(lasted),
            error: error.map(Box::from),
            index,
            parent,
            name,
            outcome,
        };
        let mut records = keeping.records.lock();
        if records.ended.capacity() == 0 {
            records.ended = SPARE.try_with(Cell::take).unwrap_or_default();
            records.ended.reserve_exact(SPANS_OF_A_HIT);
        }
        records.ended.push(ended);
    }

    pub(super) fn event(&self, index: u16, event: SpanEvent, attributes: Attributes) {
        self.note(index, || Note::Event(event, Instant::now(), attributes));
    }

    pub(super) fn link(&self, index: u16, to: SpanRef) {
        self.note(index, || Note::Link(to));
    }

    pub(super) fn attribute(&self, index: u16, attribute: SpanAttribute, value: Value) {
        self.note(index, || Note::Attribute(attribute, value));
    }

    fn note(&self, index: u16, note: impl FnOnce() -> Note) {
        let Some(keeping) = &self.keeping else { return };
        let mut records = keeping.records.lock();
        if records.notes.len() < NOTES_PER_TRACE_MAX {
            records.notes.push((index, note()));
        } else {
            records.notes_over += 1;
        }
    }

    /// The root ends, once. What is sure to be kept is handed on now; what goes on follows when the last
    /// who holds the trace lets it go.
    pub(super) fn end(
        &self,
        end: &RootEnd<'_>,
        is_last: bool,
        attributes: impl FnOnce(&mut Attributes),
    ) {
        let Some(keeping) = &self.keeping else { return };
        if let Some(why) = keeping.rules().at_end(end) {
            keeping.keep(why);
        }
        let is_kept = self.is_kept();
        let mut records = keeping.records.lock();
        if !matches!(records.root, Root::Open) {
            return;
        }
        if !is_kept && is_last {
            records.root = Root::Gone;
            return;
        }
        let mut all = Vec::with_capacity(16);
        attributes(&mut all);
        let root = self.root(end.name, end.ended, end.outcome, end.error);
        records.root = Root::Ended(Box::new((root, all)));
        let finished = is_kept.then(|| self.finish(keeping, &mut records)).flatten();
        drop(records);
        keeping.tracer.hand_on(finished);
    }

    fn root(&self, name: SpanName, ended: Instant, outcome: Outcome, error: Option<&str>) -> Ended {
        Ended {
            after: 0,
            lasted: nanoseconds(ended.saturating_duration_since(self.started)),
            error: error.map(Box::from),
            index: ROOT,
            parent: ROOT,
            name,
            outcome,
        }
    }

    /// Everything that has ended, as spans; `None` where that is nothing.
    fn finish(&self, keeping: &Keeping, records: &mut Records) -> Option<FinishedTrace> {
        let over = keeping.begun.load(Ordering::Relaxed).saturating_sub(SPANS_PER_TRACE_MAX);
        let kept = Kept::ALL[usize::from(keeping.kept.load(Ordering::Relaxed).checked_sub(1)?)];
        let began = *records.began.get_or_insert_with(|| {
            let now = SystemTime::now();
            now.checked_sub(self.started.elapsed()).unwrap_or(now)
        });
        let mut spans = Vec::with_capacity(records.ended.len() + 1);
        let mut has_root = false;
        if matches!(records.root, Root::Ended(_))
            && let Root::Ended(root) = std::mem::replace(&mut records.root, Root::Gone)
        {
            let (root, mut attributes) = *root;
            attributes.push((SpanAttribute::Kept, kept.as_str().into()));
            for (name, lost) in
                [(SpanAttribute::SpansOver, over), (SpanAttribute::NotesOver, records.notes_over)]
            {
                if lost > 0 {
                    attributes.push((name, i64::from(lost).into()));
                }
            }
            spans.push(self.finished(root, attributes, began));
            has_root = true;
        }
        for ended in std::mem::take(&mut records.ended) {
            spans.push(self.finished(ended, Vec::new(), began));
        }
        let newly_over = over - std::mem::replace(&mut records.over_told, over);
        if spans.is_empty() && newly_over == 0 {
            return None;
        }
        self.give_notes(&mut records.notes, &mut spans, began);
        Some(FinishedTrace { kept, has_root, over: newly_over, spans })
    }

    fn finished(&self, ended: Ended, attributes: Attributes, began: SystemTime) -> FinishedSpan {
        let Ended { after, lasted, error, index, parent, name, outcome } = ended;
        let SpanRef { trace, span: id } = self.span(index);
        let remote = self.parent.as_ref().map(|parent| parent.span.span);
        let parent = if index == ROOT { remote } else { Some(self.span(parent).span) };
        let started = began + Duration::from_nanos(after);
        FinishedSpan {
            trace,
            id,
            parent,
            parent_is_remote: index == ROOT && remote.is_some(),
            state: self.state().cloned(),
            name,
            started,
            ended: started + Duration::from_nanos(lasted),
            outcome,
            error,
            attributes,
            events: Vec::new(),
            links: Vec::new(),
        }
    }

    /// Notes go to the spans that are here; those of spans that go on wait for them.
    fn give_notes(
        &self,
        notes: &mut Vec<(u16, Note)>,
        spans: &mut [FinishedSpan],
        began: SystemTime,
    ) {
        for (index, note) in std::mem::take(notes) {
            let id = self.span(index).span;
            let Some(span) = spans.iter_mut().find(|span| span.id == id) else {
                notes.push((index, note));
                continue;
            };
            match note {
                Note::Event(name, at, attributes) => {
                    let at = began + at.saturating_duration_since(self.started);
                    span.events.push(FinishedEvent { name, at, attributes });
                }
                Note::Link(to) => span.links.push(to),
                Note::Attribute(name, value) => span.attributes.push((name, value)),
            }
        }
    }
}

impl Drop for Recording {
    /// Nobody holds the trace any more: what outlived its root is handed on, and a root that nobody ended.
    fn drop(&mut self) {
        let Some(mut keeping) = self.keeping.take() else { return };
        if keeping.kept.load(Ordering::Relaxed) == 0 {
            let mut spans = std::mem::take(&mut keeping.records.get_mut().ended);
            if spans.capacity() == SPANS_OF_A_HIT {
                spans.clear();
                // Where the thread ends, so does its memory.
                let _ = SPARE.try_with(|spare| spare.set(spans));
            }
            return;
        }
        let mut records = keeping.records.lock();
        if matches!(records.root, Root::Open) {
            let root = self.root(self.name, Instant::now(), Outcome::Dropped, None);
            records.root = Root::Ended(Box::new((root, Vec::new())));
        }
        let finished = self.finish(&keeping, &mut records);
        drop(records);
        keeping.tracer.hand_on(finished);
    }
}

impl Keeping {
    fn rules(&self) -> &KeepRules {
        self.tracer.rules().unwrap_or(&KeepRules::NONE)
    }

    /// The first reason is the one that counts.
    fn keep(&self, why: Kept) {
        if self.kept.load(Ordering::Relaxed) == 0 {
            // Whoever was faster had a reason as good.
            let _ = self.kept.compare_exchange(0, code(why), Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

fn code(why: Kept) -> u8 {
    why.index() as u8 + 1
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Tracer {
    /// Nothing where there is nothing to hand on.
    fn hand_on(&self, finished: Option<FinishedTrace>) {
        if let (Some(finished), Some(sink)) = (finished, self.sink()) {
            SpanSink::take(&**sink, finished);
        }
    }
}
