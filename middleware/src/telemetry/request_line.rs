//! What is said of each request in the log: one line, typed until it is written.
//!
//! It is the one line that every request costs, so it is handed over as what it is, not as an event of `tracing`, whose
//! fields are looked at one after the other by whoever listens.

use std::net::IpAddr;
use std::time::Duration;

use http::{Method, StatusCode};
use tracing::Level;

use super::trace::{Hex, TraceId};
use super::{Outcome, Phase, RouteName, Spent};
use crate::error::Severity;

/// Where the lines of requests go. Called on the threads of requests, so it never waits.
pub trait RequestLog: Send + Sync + 'static {
    /// Writes it, or counts it as lost.
    fn write(&self, line: &RequestLine<'_>);
}

/// Lines of requests as events of `tracing`, for programs that bring a subscriber of their own.
#[derive(Clone, Copy, Debug)]
pub struct AsEvents;

impl RequestLog for AsEvents {
    fn write(&self, line: &RequestLine<'_>) {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let of = |phase| Some(line.spent.of(phase)).filter(|time| !time.is_zero()).map(ms);
        let trace = line.trace.map(TraceId::hex);
        macro_rules! event {
            ($level:ident) => {
                tracing::$level!(
                    client = line.client.map(tracing::field::display),
                    cut = line.cut,
                    duration_ms = ms(line.spent.total()),
                    error = line.error,
                    gateway_ms = of(Phase::Gateway),
                    http_method = line.method.as_str(),
                    http_path = line.path,
                    http_status = line.status.as_u16(),
                    lock_ms = of(Phase::Lock),
                    module = line.module,
                    outcome = line.outcome.as_str(),
                    policy_ms = of(Phase::Policy),
                    queue_ms = of(Phase::Queue),
                    request_id = line.request_id,
                    route = line.route.as_str(),
                    send_ms = of(Phase::Send),
                    sent_bytes = line.sent_bytes,
                    stash_ms = of(Phase::Stash),
                    storage_ms = of(Phase::Storage),
                    trace_id = trace.as_ref().map(Hex::as_str),
                    upstream_ms = of(Phase::Upstream),
                    verify_ms = of(Phase::Verify),
                    version = line.version,
                    "request"
                )
            };
        }
        match line.severity {
            Severity::Info => event!(info),
            Severity::Warn => event!(warn),
            Severity::Error => event!(error),
        }
    }
}

/// What there is to say of one request that has ended.
#[derive(Clone, Copy, Debug)]
pub struct RequestLine<'a> {
    /// How loud the line is.
    pub severity: Severity,
    /// Whom it came from.
    pub client: Option<IpAddr>,
    /// Whether its answer ended before its end.
    pub cut: bool,
    /// What was answered in place of what was asked for.
    pub error: Option<&'a str>,
    /// Its method.
    pub method: &'a Method,
    /// Its path, of bounded length.
    pub path: &'a str,
    /// The status of its answer.
    pub status: StatusCode,
    /// The module that it was about.
    pub module: Option<&'a str>,
    /// How it ended.
    pub outcome: Outcome,
    /// Its id.
    pub request_id: &'a str,
    /// What was asked for.
    pub route: RouteName,
    /// Bytes of its answer's body that were sent.
    pub sent_bytes: u64,
    /// Where its time went.
    pub spent: &'a Spent,
    /// Its trace.
    pub trace: Option<TraceId>,
    /// The version that it was about.
    pub version: Option<&'a str>,
}

/// Who takes the fields of a line, one after the other.
pub trait Fields {
    /// A text that may have anything in it.
    fn text(&mut self, name: &'static str, value: &str);
    /// A text of letters, digits and what every form of a log writes as it is.
    fn word(&mut self, name: &'static str, value: &str);
    /// A number.
    fn number(&mut self, name: &'static str, value: u64);
    /// Milliseconds, with what is left of them.
    fn milliseconds(&mut self, name: &'static str, value: Duration);
    /// Yes or no.
    fn flag(&mut self, name: &'static str, value: bool);
    /// An address.
    fn address(&mut self, name: &'static str, value: IpAddr);
}

impl RequestLine<'_> {
    /// What the line is called.
    pub const MESSAGE: &'static str = "request";

    /// How loud it is, in the words of `tracing`.
    pub fn level(&self) -> Level {
        match self.severity {
            Severity::Info => Level::INFO,
            Severity::Warn => Level::WARN,
            Severity::Error => Level::ERROR,
        }
    }

    /// Says all fields in the order of the alphabet; those of which nothing is known, or which took no time, are left
    /// out.
    pub fn say(&self, to: &mut impl Fields) {
        if let Some(client) = self.client {
            to.address("client", client);
        }
        to.flag("cut", self.cut);
        to.milliseconds("duration_ms", self.spent.total());
        say_text(to, "error", self.error);
        self.say_phase(to, "gateway_ms", Phase::Gateway);
        to.word("http_method", self.method.as_str());
        to.text("http_path", self.path);
        to.number("http_status", u64::from(self.status.as_u16()));
        self.say_phase(to, "lock_ms", Phase::Lock);
        say_text(to, "module", self.module);
        to.word("outcome", self.outcome.as_str());
        self.say_phase(to, "policy_ms", Phase::Policy);
        self.say_phase(to, "queue_ms", Phase::Queue);
        to.text("request_id", self.request_id);
        to.word("route", self.route.as_str());
        self.say_phase(to, "send_ms", Phase::Send);
        to.number("sent_bytes", self.sent_bytes);
        self.say_phase(to, "stash_ms", Phase::Stash);
        self.say_phase(to, "storage_ms", Phase::Storage);
        if let Some(trace) = self.trace {
            to.word("trace_id", trace.hex().as_str());
        }
        self.say_phase(to, "upstream_ms", Phase::Upstream);
        self.say_phase(to, "verify_ms", Phase::Verify);
        say_text(to, "version", self.version);
    }

    fn say_phase(&self, to: &mut impl Fields, name: &'static str, phase: Phase) {
        let spent = self.spent.of(phase);
        if !spent.is_zero() {
            to.milliseconds(name, spent);
        }
    }
}

fn say_text(to: &mut impl Fields, name: &'static str, value: Option<&str>) {
    if let Some(value) = value {
        to.text(name, value);
    }
}
