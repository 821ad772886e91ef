//! Spans: their names, events and attributes, which traces are kept, and what becomes of spans.

use std::fmt;

use super::{LayerName, Outcome, RouteName};
use crate::telemetry::labels::{Label as _, label};

label! {
    /// Why a trace is kept.
    Kept = "reason" {
        /// Its caller keeps it, or the share of traces that is kept took it.
        Sampled = "sampled",
        /// It ended in a way that somebody should look at: the log has a warning or an error too.
        Error = "error",
        /// Its answer took `TraceSlow` or longer to begin.
        Slow = "slow",
        /// Not in storage: an upstream was asked, or will be.
        Miss = "miss",
    }
}

label! {
    /// What became of a span of a trace that is kept.
    SpanFate = "result" {
        /// The collector has it.
        Sent = "sent",
        /// Lost: its trace had too many.
        OverLimit = "over_limit",
        /// Lost: the collector is slower than spans come, and the queue is full.
        QueueFull = "queue_full",
        /// Lost: the collector could not be reached, did not answer in time, or refused it.
        NotTaken = "not_taken",
        /// Lost: the program ended before it could be sent.
        LeftBehind = "left_behind",
    }
}

label! {
    /// Work that no request waits for, and that is a trace of its own.
    Work = "work" {
        /// A fetch in the background; linked to the request that caused it.
        BackgroundStash = "background_stash",
    }
}

label! {
    /// Something that happened within a span.
    SpanEvent = "event" {
        /// The lock across the replicas was got (`lock`).
        LockAcquired = "lock_acquired",
        /// Another replica has the lock: this one waits, and links to the span that has it (`lock`).
        LockHeldElsewhere = "lock_held_elsewhere",
        /// What another replica stored meanwhile is the answer (`lock`).
        LockStoredElsewhere = "lock_stored_elsewhere",
        /// What another replica found for good is the answer (`lock`).
        LockSettledElsewhere = "lock_settled_elsewhere",
        /// The fetch goes on without the lock (`lock`).
        LockDegraded = "lock_degraded",
    }
}

label! {
    /// What a span or an event tells beside its name.
    SpanAttribute = "attribute" {
        /// How it ended: the label `outcome`. On every span.
        Outcome = "dipylon.outcome",
        /// The method (root).
        Method = "http.request.method",
        /// The path as it came, cut at 512 bytes (root).
        Path = "url.path",
        /// What was asked for: the label `route` (root).
        Route = "http.route",
        /// The status; 499 where the client left before there was one (root).
        Status = "http.response.status_code",
        /// Bytes of the body sent (root).
        SentBytes = "http.response.body.size",
        /// The body ended before its end (root, where it is so).
        Cut = "dipylon.cut",
        /// The id of the request, as in the log (root).
        RequestId = "dipylon.request_id",
        /// The module path, decoded (root, where there is one).
        Module = "dipylon.module",
        /// The version; of a query, what it resolved to (root, where there is one).
        Version = "dipylon.version",
        /// Why the trace is kept: the label `reason` of `dipylon_traces_kept_total` (root).
        Kept = "dipylon.kept",
        /// Spans that were left out because the trace had too many (root, where there are any).
        SpansOver = "dipylon.spans_over",
        /// Events, links and attributes that were left out likewise (root, where there are any).
        NotesOver = "dipylon.notes_over",
        /// Which upstream is asked, without credentials (`upstream`).
        Upstream = "dipylon.upstream",
        /// The fencing token of the lock (`lock_acquired`).
        Fencing = "dipylon.fencing",
        /// Why the fetch goes on without the lock (`lock_degraded`).
        Reason = "dipylon.reason",
    }
}

/// The name of a span. There are no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpanName {
    /// The root of a request: what was asked for.
    Request(RouteName),
    /// A layer's part.
    Layer(LayerName),
    /// The root of work that no request waits for.
    Work(Work),
}

impl SpanName {
    /// As it stands in a trace.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request(route) => route.as_str(),
            Self::Layer(layer) => layer.as_str(),
            Self::Work(work) => work.as_str(),
        }
    }

    /// Every name there is.
    pub fn all() -> impl Iterator<Item = Self> {
        let routes = RouteName::ALL.iter().map(|route| Self::Request(*route));
        let layers = LayerName::ALL.iter().map(|layer| Self::Layer(*layer));
        routes.chain(layers).chain(Work::ALL.iter().map(|work| Self::Work(*work)))
    }
}

impl From<LayerName> for SpanName {
    fn from(layer: LayerName) -> Self {
        Self::Layer(layer)
    }
}

impl From<Work> for SpanName {
    fn from(work: Work) -> Self {
        Self::Work(work)
    }
}

impl fmt::Display for SpanName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Outcome {
    /// Whether storage did not have it and it was, or will be, fetched.
    pub fn is_miss(self) -> bool {
        let misses =
            [Self::MissLeader, Self::MissFollower, Self::MissDegraded, Self::AsyncAccepted];
        misses.contains(&self)
    }
}
