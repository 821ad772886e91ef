use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::{Method, Response, StatusCode};
use http_body_util::BodyExt as _;
use tower::util::ServiceExt as _;

use super::body::LoggedBody;
use crate::body::Body;
use crate::error::{Error, Severity};
use crate::events::Event;
use crate::render::{self, Served};
use crate::request::{EdgeRequest, RequestContext};
use crate::stack::{Stage, stage};
use crate::telemetry::labels::Label as _;
use crate::telemetry::trace::{Attributes, Hex, RootEnd, TraceId};
use crate::telemetry::{
    InFlight, Outcome, OutcomeClass, Phase, Source, SpanAttribute, SpanName, Spent, Telemetry,
};

/// Bytes of a path that are logged.
pub const PATH_BYTES_MAX: usize = 512;

/// Logs each request of `S` when its answer ends.
#[derive(Clone, Debug)]
pub struct AccessLog<S> {
    pub(super) inner: S,
    pub(super) telemetry: Telemetry,
    pub(super) events: bool,
}

impl<S: Stage<EdgeRequest, Reply = Response<Body>>> AccessLog<S> {
    async fn handle(self, request: EdgeRequest) -> Result<Response<Body>, Error> {
        let mut record = Record::start(self.telemetry, self.events, &request);
        let response =
            self.inner.oneshot(request).await.unwrap_or_else(|error| render::error(&error));
        record.answered(&response);
        Ok(response.map(|body| LoggedBody::new(body, record).boxed_unsync()))
    }
}

stage!(AccessLog<S>: EdgeRequest => Response<Body>, over EdgeRequest => Response<Body>);

/// What is known of a request; written on drop, so that an abandoned one is written too.
pub(super) struct Record {
    telemetry: Telemetry,
    events: bool,
    started: Instant,
    context: RequestContext,
    method: Method,
    path: String,
    peer: Option<SocketAddr>,
    status: StatusCode,
    served: Served,
    severity: Severity,
    pub(super) sent_bytes: u64,
    cut: bool,
    /// How long the client waited for the head of its answer.
    waited: Option<Duration>,
    _active: InFlight,
}

impl Record {
    fn start(telemetry: Telemetry, events: bool, request: &EdgeRequest) -> Self {
        let active = InFlight::enter(telemetry.metrics.requests_active.get(()));
        let path = request.head.uri.path();
        let end =
            (0..=PATH_BYTES_MAX.min(path.len())).rev().find(|end| path.is_char_boundary(*end));
        Self {
            telemetry,
            events,
            started: Instant::now(),
            context: request.context.clone(),
            method: request.head.method.clone(),
            path: path[..end.unwrap_or(0)].to_owned(),
            peer: request.peer,
            // Nothing has been answered; nginx's word for a client that went away.
            status: StatusCode::from_u16(499).unwrap_or(StatusCode::REQUEST_TIMEOUT),
            served: Served { outcome: Outcome::Dropped, ..Served::default() },
            severity: Severity::Info,
            sent_bytes: 0,
            cut: false,
            waited: None,
            _active: active,
        }
    }

    /// The body ends before its end: the client sees a short answer, the log sees why.
    pub(super) fn cut_by(&mut self, error: &Error) {
        self.cut = true;
        self.severity = error.kind().row().severity;
        self.served.outcome = error.outcome();
        self.served.error = Some(error.message().to_owned());
    }

    fn answered(&mut self, response: &Response<Body>) {
        self.waited = Some(self.started.elapsed());
        // The body is on its way, and the record is the last that asks.
        self.context.timings.enter_last(Phase::Send);
        self.status = response.status();
        self.served = response.extensions().get::<Served>().cloned().unwrap_or_default();
        self.severity = self.served.severity;
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let ended = Instant::now();
        let spent = self.context.timings.spent(ended);
        let seconds = spent.total().as_secs_f64();
        let Served { route, outcome, .. } = self.served;
        let metrics = &self.telemetry.metrics;
        for phase in Phase::ALL.iter().filter(|phase| !spent.of(**phase).is_zero()) {
            metrics.phase_seconds.get((route, *phase)).inc_by(spent.of(*phase).as_secs_f64());
        }
        if let Some(source) = Source::of(outcome) {
            metrics.served_bytes.get((source,)).inc_by(self.sent_bytes);
        }
        metrics.requests.get((route, outcome)).inc();
        metrics.sent_bytes.get((route,)).inc_by(self.sent_bytes);
        if self.events {
            self.write(&spent);
        }
        self.end_trace(ended);
        self.note(spent.total());
        let metrics = &self.telemetry.metrics;
        // Whether the trace is kept is known from here on.
        let timed = metrics.request_seconds.get((route, OutcomeClass::of(outcome)));
        timed.observe_in(seconds, self.context.trace.exemplar());
    }
}

impl Record {
    /// What is about a module is remembered for a while: it is the last that is done with these texts.
    fn note(&mut self, duration: Duration) {
        let Some(module) = self.served.module.take() else { return };
        self.telemetry.events.note(Event {
            at: SystemTime::now(),
            what: self.served.route.as_str(),
            module,
            version: self.served.version.take(),
            outcome: self.served.outcome,
            error: self.served.error.take(),
            upstream: None,
            duration,
            trace: self.context.trace.id(),
            request_id: Arc::clone(&self.context.id),
        });
    }

    /// By the semantic conventions for HTTP servers only a failure of the server's makes its span an error.
    fn end_trace(&self, ended: Instant) {
        let Served { route, outcome, .. } = self.served;
        let failed = self.cut || self.status.is_server_error();
        let error = failed.then(|| self.served.error.as_deref().unwrap_or(outcome.as_str()));
        let end = RootEnd {
            name: SpanName::Request(route),
            outcome,
            error,
            is_loud: self.severity != Severity::Info,
            waited: self.waited.unwrap_or_else(|| ended.duration_since(self.started)),
            ended,
        };
        self.context.trace.end(&end, |attributes| self.describe(attributes));
    }

    fn describe(&self, attributes: &mut Attributes) {
        let sent_bytes = i64::try_from(self.sent_bytes).unwrap_or(i64::MAX);
        attributes.extend([
            (SpanAttribute::Method, self.method.as_str().into()),
            (SpanAttribute::Path, self.path.as_str().into()),
            (SpanAttribute::Route, self.served.route.as_str().into()),
            (SpanAttribute::Status, i64::from(self.status.as_u16()).into()),
            (SpanAttribute::SentBytes, sent_bytes.into()),
            (SpanAttribute::RequestId, (&*self.context.id).into()),
        ]);
        if self.cut {
            attributes.push((SpanAttribute::Cut, true.into()));
        }
        let Served { module, version, .. } = &self.served;
        for (name, value) in [(SpanAttribute::Module, module), (SpanAttribute::Version, version)] {
            if let Some(value) = value {
                attributes.push((name, value.as_str().into()));
            }
        }
    }

    fn write(&self, spent: &Spent) {
        // The number nearest to so many nanoseconds: written, it has no more digits than they have.
        let ms = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX) as f64 / 1e6;
        let of = |phase| Some(spent.of(phase)).filter(|time| !time.is_zero()).map(ms);
        let trace = self.context.trace.id().map(TraceId::hex);
        macro_rules! event {
            ($level:ident) => {
                // In the order of the alphabet, as they are written.
                tracing::$level!(
                    client = self.peer.map(|peer| address_text(peer.ip())),
                    cut = self.cut,
                    duration_ms = ms(spent.total()),
                    error = self.served.error.as_deref(),
                    gateway_ms = of(Phase::Gateway),
                    http_method = self.method.as_str(),
                    http_path = self.path,
                    http_status = self.status.as_u16(),
                    lock_ms = of(Phase::Lock),
                    module = self.served.module.as_deref(),
                    outcome = self.served.outcome.as_str(),
                    policy_ms = of(Phase::Policy),
                    queue_ms = of(Phase::Queue),
                    request_id = &*self.context.id,
                    route = self.served.route.as_str(),
                    send_ms = of(Phase::Send),
                    sent_bytes = self.sent_bytes,
                    stash_ms = of(Phase::Stash),
                    storage_ms = of(Phase::Storage),
                    trace_id = trace.as_ref().map(Hex::as_str),
                    upstream_ms = of(Phase::Upstream),
                    verify_ms = of(Phase::Verify),
                    version = self.served.version.as_deref(),
                    "request"
                )
            };
        }
        match self.severity {
            Severity::Info => event!(info),
            Severity::Warn => event!(warn),
            Severity::Error => event!(error),
        }
    }
}

/// An address as it writes itself, which would cost more than all else that is said of a request.
pub(super) fn address_text(address: IpAddr) -> String {
    let IpAddr::V4(address) = address else { return address.to_string() };
    let mut text = String::with_capacity("255.255.255.255".len());
    for octet in address.octets() {
        if !text.is_empty() {
            text.push('.');
        }
        let digits = [octet / 100, octet / 10 % 10, octet % 10];
        let zeros = digits[..2].iter().take_while(|digit| **digit == 0).count();
        text.extend(digits[zeros..].iter().map(|digit| char::from(b'0' + digit)));
    }
    text
}
