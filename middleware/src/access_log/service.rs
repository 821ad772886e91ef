use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::{Method, Response, StatusCode};
use http_body_util::BodyExt as _;

use super::body::LoggedBody;
use crate::body::Body;
use crate::error::{Error, Severity};
use crate::events::Event;
use crate::render::{self, Served};
use crate::request::{EdgeRequest, RequestContext};
use crate::stack::{Stage, stage};
use crate::telemetry::labels::Label as _;
use crate::telemetry::trace::{Attributes, RootEnd};
use crate::telemetry::{
    InFlight, Outcome, OutcomeClass, Phase, RequestLine, Source, SpanAttribute, SpanName, Spent,
    Telemetry,
};

/// Bytes of a path that are logged.
pub const PATH_BYTES_MAX: usize = 512;

/// Logs each request of `S` when its answer ends.
#[derive(Clone, Debug)]
pub struct AccessLog<S> {
    pub(super) inner: S,
    pub(super) telemetry: Telemetry,
    pub(super) logs: bool,
}

impl<S: Stage<EdgeRequest, Reply = Response<Body>>> AccessLog<S> {
    async fn handle(&self, request: EdgeRequest) -> Result<Response<Body>, Error> {
        let mut record = Record::start(self, &request);
        let response = self.inner.run(request).await.unwrap_or_else(|error| render::error(&error));
        record.answered(&response);
        Ok(response.map(|body| LoggedBody::new(body, record).boxed_unsync()))
    }
}

stage!(AccessLog<S>: EdgeRequest => Response<Body>, over EdgeRequest => Response<Body>);

/// What is known of a request; written on drop, so that an abandoned one is written too.
pub(super) struct Record {
    telemetry: Telemetry,
    logs: bool,
    started: Instant,
    context: RequestContext,
    method: Method,
    /// A copy: the target is a part of the whole head, which a long answer would hold in memory.
    path: Box<str>,
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
    fn start<S>(layer: &AccessLog<S>, request: &EdgeRequest) -> Self {
        let telemetry = layer.telemetry.clone();
        let active = InFlight::enter(telemetry.metrics.requests_active.get(()));
        Self {
            telemetry,
            logs: layer.logs,
            started: Instant::now(),
            context: request.context.clone(),
            method: request.head.method.clone(),
            path: shortened(request.head.uri.path()).into(),
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
        let now = Instant::now();
        self.waited = Some(now.duration_since(self.started));
        // The body is on its way, and the record is the last that asks.
        self.context.timings.enter_last(Phase::Send, now);
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
        if self.logs {
            self.telemetry.request_log.write(&self.line(&spent));
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
            (SpanAttribute::Path, (&*self.path).into()),
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
                attributes.push((name, (&**value).into()));
            }
        }
    }

    fn line<'a>(&'a self, spent: &'a Spent) -> RequestLine<'a> {
        RequestLine {
            severity: self.severity,
            client: self.peer.map(|peer| peer.ip()),
            cut: self.cut,
            error: self.served.error.as_deref(),
            method: &self.method,
            path: &self.path,
            status: self.status,
            module: self.served.module.as_deref(),
            outcome: self.served.outcome,
            request_id: &self.context.id,
            route: self.served.route,
            sent_bytes: self.sent_bytes,
            spent,
            trace: self.context.trace.id(),
            version: self.served.version.as_deref(),
        }
    }
}

/// What of a path is told.
fn shortened(path: &str) -> &str {
    let most = path.len().min(PATH_BYTES_MAX);
    let end = (0..=most).rev().find(|end| path.is_char_boundary(*end));
    &path[..end.unwrap_or_default()]
}
