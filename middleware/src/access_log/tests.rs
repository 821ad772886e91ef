use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::BodyExt as _;
use tower::Layer as _;
use tracing::Level;

use super::{AccessLogLayer, PATH_BYTES_MAX};
use crate::body::{self, Body};
use crate::error::{Error, ErrorKind, Severity};
use crate::render::Served;
use crate::request::EdgeRequest;
use crate::telemetry::labels::Label as _;
use crate::telemetry::trace::FinishedSpan;
use crate::telemetry::{
    Kept, Outcome, OutcomeClass, Phase, RouteName, Source, SpanAttribute, SpanName, Telemetry,
};
use crate::testing::below::{Held, error_from_below, hello};
use crate::testing::events::{Events, Seen};
use crate::testing::spans::{ALL, NOTABLE, parent, traced};
use crate::testing::upstream::{Piece, stream};
use crate::testing::{call, edge, header, leaf, telemetry, text_of};

/// A registry of its own, and the lines of its requests.
fn logged() -> (Events, Telemetry) {
    let events = Events::default();
    let telemetry = telemetry().logging_to(Arc::new(events.clone()));
    (events, telemetry)
}

/// An answer about a zip whose body comes in two pieces of three bytes.
fn zip_answer(last: Piece) -> Response<Body> {
    let served = Served {
        route: RouteName::Zip,
        outcome: Outcome::MissLeader,
        module: Some("example.com/m".into()),
        version: Some("v1.0.0".into()),
        ..Served::default()
    };
    let pieces = vec![Piece::Data(Bytes::from_static(b"abc")), last];
    let mut response = Response::new(body::stream(stream(pieces)));
    response.extensions_mut().insert(served);
    response
}

fn whole_zip() -> Response<Body> {
    zip_answer(Piece::Data(Bytes::from_static(b"def")))
}

async fn answer(
    events: bool,
    telemetry: &Telemetry,
    request: EdgeRequest,
    inner: impl Fn() -> Result<Response<Body>, Error> + Clone + Send + Sync + 'static,
) -> Response<Body> {
    let layer = AccessLogLayer::new(events, telemetry);
    call(&layer.layer(leaf(move |_: EdgeRequest| inner())), request).await.expect("never an error")
}

#[tokio::test(start_paused = true)]
async fn one_event_is_written_when_the_body_has_ended() {
    let (events, telemetry) = logged();
    let mut request = edge("GET", "/example.com/m/@v/v1.0.0.zip");
    request.peer = Some(([192, 0, 2, 7], 4711).into());
    let response = answer(true, &telemetry, request, || Ok(whole_zip())).await;
    assert!(events.named("request").is_empty(), "the body has not ended");
    assert_eq!(telemetry.metrics.requests_active.get(()).get(), 1);
    assert_eq!(text_of(response).await, "abcdef");

    let written = events.named("request");
    assert_eq!(written.len(), 1);
    assert_eq!(written[0].level, Level::INFO);
    for (name, value) in [
        ("request_id", "edge-1"),
        ("http_method", "GET"),
        ("http_path", "/example.com/m/@v/v1.0.0.zip"),
        ("http_status", "200"),
        ("route", "zip"),
        ("outcome", "miss_leader"),
        ("module", "example.com/m"),
        ("version", "v1.0.0"),
        ("client", "192.0.2.7"),
        ("sent_bytes", "6"),
        ("cut", "false"),
    ] {
        assert_eq!(written[0].field(name), value, "{name}");
    }
    let duration: f64 = written[0].field("duration_ms").parse().expect("a number");
    assert!(duration >= 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_request_is_counted_timed_and_its_bytes_added_up() {
    let telemetry = telemetry();
    let request = edge("GET", "/example.com/m/@v/v1.0.0.zip");
    let response = answer(false, &telemetry, request, || Ok(whole_zip())).await;
    text_of(response).await;
    let metrics = &telemetry.metrics;
    assert_eq!(metrics.requests.get((RouteName::Zip, Outcome::MissLeader)).get(), 1);
    assert_eq!(
        metrics.request_seconds.get((RouteName::Zip, OutcomeClass::Miss)).get_sample_count(),
        1
    );
    assert_eq!(metrics.sent_bytes.get((RouteName::Zip,)).get(), 6);
    assert_eq!(metrics.requests_active.get(()).get(), 0);
}

#[tokio::test(start_paused = true)]
async fn without_access_events_there_are_metrics_only() {
    let (events, telemetry) = logged();
    text_of(answer(false, &telemetry, edge("GET", "/x"), || Ok(whole_zip())).await).await;
    assert!(events.named("request").is_empty());
    assert_eq!(telemetry.metrics.requests.get((RouteName::Zip, Outcome::MissLeader)).get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_body_is_logged_with_what_was_sent() {
    let (events, telemetry) = logged();
    let mut response = answer(true, &telemetry, edge("GET", "/x"), || Ok(whole_zip())).await;
    let first = response.body_mut().frame().await.expect("a frame").expect("data");
    assert_eq!(first.into_data().expect("data"), "abc");
    drop(response);
    let written = events.named("request");
    assert_eq!((written.len(), written[0].field("sent_bytes")), (1, "3"));
    assert_eq!(telemetry.metrics.sent_bytes.get((RouteName::Zip,)).get(), 3);
    assert_eq!(telemetry.metrics.requests_active.get(()).get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_is_marked_as_cut() {
    let (events, telemetry) = logged();
    let cut = || Ok(zip_answer(Piece::Fail(ErrorKind::ChecksumMismatch)));
    let response = answer(true, &telemetry, edge("GET", "/x"), cut).await;
    response.into_body().collect().await.expect_err("the body breaks off");
    let written = events.named("request");
    assert_eq!((written.len(), written[0].field("cut")), (1, "true"));
    assert_eq!(written[0].field("sent_bytes"), "3");
}

#[tokio::test(start_paused = true)]
async fn an_error_from_below_becomes_an_answer_and_is_logged_as_loud_as_its_kind() {
    for (kind, status, level) in [
        (ErrorKind::NotFound, 404, Level::INFO),
        (ErrorKind::UpstreamTimeout, 504, Level::WARN),
        (ErrorKind::Storage, 500, Level::ERROR),
    ] {
        let (events, telemetry) = logged();
        let fails = move || Err(error_from_below(kind));
        let response = answer(true, &telemetry, edge("GET", "/x"), fails).await;
        assert_eq!(response.status(), status);
        assert_eq!(header(&response, "retry-after"), Some("7"));
        assert_eq!(text_of(response).await, format!("{kind:?} on purpose\n"));
        let written = events.named("request");
        assert_eq!((written.len(), written[0].level), (1, level), "{kind:?}");
        assert_eq!(written[0].field("error"), format!("{kind:?} on purpose"));
        assert_eq!(written[0].field("outcome"), kind.row().outcome.as_str());
        let outcome = kind.row().outcome;
        assert_eq!(telemetry.metrics.requests.get((RouteName::Unknown, outcome)).get(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_before_the_answer_is_logged_as_dropped() {
    let (events, telemetry) = logged();
    let held = Held::default();
    let service = AccessLogLayer::new(true, &telemetry).layer(held.service());
    held.assert_ends_with_its_caller(&service, edge("GET", "/x")).await;
    let written = events.named("request");
    assert_eq!(written.len(), 1);
    assert_eq!(written[0].field("outcome"), "dropped");
    assert_eq!(written[0].field("http_status"), "499");
    assert_eq!(telemetry.metrics.requests.get((RouteName::Unknown, Outcome::Dropped)).get(), 1);
    assert_eq!(telemetry.metrics.requests_active.get(()).get(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_says_nothing_of_itself_is_not_taken_for_dropped() {
    let (events, telemetry) = logged();
    let plain = || Ok(Response::new(body::full("hello")));
    let response = answer(true, &telemetry, edge("GET", "/x"), plain).await;
    assert_eq!(response.status(), StatusCode::OK);
    drop(response);
    assert_eq!(events.named("request")[0].field("outcome"), "ok");
}

#[tokio::test(start_paused = true)]
async fn a_long_path_is_cut_in_the_event() {
    let (events, telemetry) = logged();
    let path = format!("/{}", "a".repeat(2 * PATH_BYTES_MAX));
    drop(answer(true, &telemetry, edge("GET", &path), || Ok(whole_zip())).await);
    assert_eq!(events.named("request")[0].field("http_path"), &path[..PATH_BYTES_MAX]);
}

#[tokio::test(start_paused = true)]
async fn severity_follows_the_answer_not_the_status() {
    let (events, telemetry) = logged();
    let warned = || {
        let mut response = Response::new(body::empty());
        let served = Served { severity: Severity::Warn, ..Served::default() };
        response.extensions_mut().insert(served);
        Ok(response)
    };
    drop(answer(true, &telemetry, edge("GET", "/x"), warned).await);
    assert_eq!(events.named("request")[0].level, Level::WARN);
}

#[tokio::test(start_paused = true)]
async fn services_of_one_layer_share_the_count_of_requests() {
    let telemetry = telemetry();
    let layer = AccessLogLayer::new(false, &telemetry);
    let (one, two) = (layer.layer(hello()), layer.layer(hello()));
    let first = call(&one, edge("GET", "/a")).await.expect("never an error");
    let second = call(&two, edge("GET", "/b")).await.expect("never an error");
    assert_eq!(telemetry.metrics.requests_active.get(()).get(), 2, "no body has ended");
    assert_eq!((text_of(first).await, text_of(second).await), ("hello".into(), "hello".into()));
    assert_eq!(telemetry.metrics.requests_active.get(()).get(), 0);
}

fn in_a_trace(telemetry: &Telemetry) -> EdgeRequest {
    let mut request = edge("GET", "/x");
    let parent = parent("0af7651916cd43dd8448eb211c80319c", false);
    request.context.trace = telemetry.tracer.request(Some(parent), std::time::Instant::now());
    request
}

#[tokio::test(start_paused = true)]
async fn the_trace_ends_with_the_last_byte_and_says_what_is_known_of_the_answer() {
    let (telemetry, spans) = traced(NOTABLE);
    let response = answer(false, &telemetry, in_a_trace(&telemetry), || Ok(whole_zip())).await;
    assert!(spans.batches().is_empty(), "the body is not sent");
    assert_eq!(text_of(response).await, "abcdef");
    let root: FinishedSpan = spans.one(SpanName::Request(RouteName::Zip));
    assert_eq!((root.outcome, root.error.clone()), (Outcome::MissLeader, None));
    for (name, value) in [
        (SpanAttribute::Method, "GET"),
        (SpanAttribute::Path, "/x"),
        (SpanAttribute::Route, "zip"),
        (SpanAttribute::Status, "200"),
        (SpanAttribute::SentBytes, "6"),
        (SpanAttribute::RequestId, "edge-1"),
        (SpanAttribute::Module, "example.com/m"),
        (SpanAttribute::Version, "v1.0.0"),
        (SpanAttribute::Kept, "miss"),
        (SpanAttribute::Cut, ""),
    ] {
        assert_eq!(root.said(name), value, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_trace_is_kept_for_what_is_logged_as_a_warning_or_an_error() {
    for kind in ErrorKind::ALL {
        let (telemetry, spans) = traced(NOTABLE);
        let fails = || Err(Error::new(*kind, "on purpose"));
        drop(answer(false, &telemetry, in_a_trace(&telemetry), fails).await);
        let row = kind.row();
        let wanted = match row.severity {
            Severity::Info => row.outcome.is_miss().then_some(Kept::Miss),
            Severity::Warn | Severity::Error => Some(Kept::Error),
        };
        let batches = spans.batches();
        assert_eq!(batches.first().map(|batch| batch.kept), wanted, "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_failure_of_ours_makes_the_root_span_an_error() {
    for (kind, failed) in [(ErrorKind::NotFound, None), (ErrorKind::Storage, Some("why"))] {
        let (telemetry, spans) = traced(ALL);
        let mut request = in_a_trace(&telemetry);
        request.context.trace = telemetry.tracer.request(None, std::time::Instant::now());
        drop(answer(false, &telemetry, request, move || Err(Error::new(kind, "why"))).await);
        let root = spans.one(SpanName::Request(RouteName::Unknown));
        assert_eq!(root.error.as_deref(), failed, "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_cut_makes_its_trace_worth_keeping() {
    let (telemetry, spans) = traced(NOTABLE);
    let cut = || Ok(zip_answer(Piece::Fail(ErrorKind::UpstreamFailed)));
    let response = answer(false, &telemetry, in_a_trace(&telemetry), cut).await;
    response.into_body().collect().await.expect_err("cut");
    let root = spans.one(SpanName::Request(RouteName::Zip));
    assert_eq!(root.said(SpanAttribute::Kept), "error");
    assert_eq!(root.said(SpanAttribute::Cut), "true");
    assert_eq!(root.outcome, Outcome::UpstreamError);
    assert!(root.error.is_some(), "{root:?}");
}

#[tokio::test(start_paused = true)]
async fn the_phases_add_up_to_the_duration_in_the_event_and_in_the_metrics() {
    let (events, telemetry) = logged();
    let inner = tower::service_fn(|request: EdgeRequest| async move {
        let waits = request.context.timings.enter(Phase::Upstream);
        std::thread::sleep(std::time::Duration::from_millis(20));
        drop(waits);
        Ok::<_, Error>(whole_zip())
    });
    let service = AccessLogLayer::new(true, &telemetry).layer(inner);
    let response = call(&service, edge("GET", "/example.com/m/@v/v1.0.0.zip")).await;
    assert_eq!(text_of(response.expect("answered")).await, "abcdef");
    let written = events.named("request");
    let number = |name: &str| written[0].fields.get(name).map(|text| text.parse::<f64>().unwrap());
    let phases: Vec<(Phase, f64)> = Phase::ALL
        .iter()
        .filter_map(|phase| Some((*phase, number(&format!("{phase}_ms"))?)))
        .collect();
    let named: Vec<Phase> = phases.iter().map(|(phase, _)| *phase).collect();
    assert_eq!(named, [Phase::Gateway, Phase::Upstream, Phase::Send]);
    let (sum, duration) = (phases.iter().map(|(_, ms)| ms).sum::<f64>(), number("duration_ms"));
    assert!((sum - duration.expect("told")).abs() < 1e-6, "{phases:?} in {duration:?}");
    assert!(phases[1].1 >= 20.0, "{phases:?}");
    for (phase, ms) in phases {
        let seconds = telemetry.metrics.phase_seconds.get((RouteName::Zip, phase)).get();
        assert!((seconds * 1e3 - ms).abs() < 1e-6, "{phase}: {seconds} s, {ms} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_is_counted_by_where_it_came_from() {
    let telemetry = telemetry();
    text_of(answer(true, &telemetry, edge("GET", "/x"), || Ok(whole_zip())).await).await;
    text_of(
        answer(true, &telemetry, edge("GET", "/x"), || Ok(Response::new(body::full("hello"))))
            .await,
    )
    .await;
    let bytes = |source| telemetry.metrics.served_bytes.get((source,)).get();
    let all = [Source::Memory, Source::Storage, Source::Upstream, Source::Shared].map(bytes);
    assert_eq!(all, [0, 0, 6, 0], "a page is nobody's module");
}

#[tokio::test(start_paused = true)]
async fn without_a_log_of_the_program_s_a_line_is_an_event_with_the_same_fields() {
    let (lines, telemetry) = logged();
    text_of(answer(true, &telemetry, edge("GET", "/x"), || Ok(whole_zip())).await).await;
    let (events, _guard) = Events::capture();
    let telemetry = crate::testing::telemetry();
    text_of(answer(true, &telemetry, edge("GET", "/x"), || Ok(whole_zip())).await).await;
    let (event, line) = (&events.named("request")[0], &lines.named("request")[0]);
    let names = |seen: &Seen| seen.fields.keys().copied().collect::<Vec<_>>();
    let timed = |name: &&str| !name.ends_with("_ms");
    let untimed = |seen: &Seen| names(seen).into_iter().filter(timed).collect::<Vec<_>>();
    assert_eq!(untimed(event), untimed(line));
    for name in untimed(line) {
        assert_eq!(event.field(name), line.field(name), "{name}");
    }
}
