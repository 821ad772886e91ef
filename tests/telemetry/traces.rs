//! Traces as a real collector receives them.

use std::collections::{BTreeMap, BTreeSet};

use dipylon_middleware::telemetry::SpanName;

use crate::collector::{Collector, Span};
use crate::world::{VERSION, World, file};

/// A client's own trace, sampled.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
/// Layers that a cold zip passes, from the first to the last.
const COLD_ZIP: [&str; 15] = [
    "access_log",
    "catch_panic",
    "admission",
    "route",
    "versions",
    "hot_cache",
    "lookup",
    "negative",
    "download_mode",
    "dispatch",
    "single_flight",
    "stash",
    "goproxy_list",
    "upstream",
    "storage_io",
];

pub(crate) async fn world(collector: &Collector, protocol: &str, more: &[(&str, &str)]) -> World {
    let ours = collector.variables(protocol);
    let mut variables: Vec<(&str, &str)> =
        ours.iter().map(|(name, value)| (*name, value.as_str())).collect();
    variables.extend(more);
    World::start(&variables).await
}

pub(crate) fn traceparent(trace: &str, parent: &str, sampled: bool) -> String {
    format!("00-{trace}-{parent}-{:02x}", u8::from(sampled))
}

pub(crate) fn of_trace(spans: &[Span], trace: &str) -> Vec<Span> {
    spans.iter().filter(|span| span.trace == trace).cloned().collect()
}

/// Asserts that every span has its parent here, but for the one root, which it hands over.
pub(crate) fn assert_connected<'a>(spans: &'a [Span], parent: &str) -> &'a Span {
    let ids: BTreeSet<&str> = spans.iter().map(|span| span.id.as_str()).collect();
    assert_eq!(ids.len(), spans.len(), "a span arrived twice");
    let (inner, roots): (Vec<&Span>, Vec<&Span>) =
        spans.iter().partition(|span| ids.contains(span.parent.as_str()));
    let names: Vec<&str> = roots.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(roots.len(), 1, "not one connected trace: {names:?} have no parent here");
    assert_eq!(roots[0].parent, parent);
    assert_eq!(inner.len() + 1, spans.len());
    roots[0]
}

/// A span's parent is what called it: `outer` is found among the parents of `inner`.
fn is_below(spans: &[Span], inner: &str, outer: &str) -> bool {
    let by_id: BTreeMap<&str, &Span> = spans.iter().map(|span| (span.id.as_str(), span)).collect();
    spans.iter().filter(|span| span.name == inner).any(|span| {
        let parents = std::iter::successors(by_id.get(span.parent.as_str()), |span| {
            by_id.get(span.parent.as_str())
        });
        parents.take(spans.len()).any(|span| span.name == outer)
    })
}

async fn a_cold_miss(protocol: &str) {
    let collector = Collector::start().await;
    let mut world = world(&collector, protocol, &[]).await;
    let sent = traceparent(TRACE, PARENT, true);
    let answer = world.get_with(&file(VERSION, "zip"), &[("traceparent", &sent)]).await;
    assert_eq!(answer.status, 200);
    world.end().await;
    let spans = of_trace(&collector.received(COLD_ZIP.len() + 1).await, TRACE);

    let root = assert_connected(&spans, PARENT);
    assert_eq!(root.name, "zip");
    assert_eq!(root.attribute("http.response.status_code"), "200");
    assert_eq!(root.attribute("dipylon.outcome"), "miss_leader");
    // The answer's own traceparent names this very span.
    let answered = answer.header("traceparent").unwrap_or_default();
    assert_eq!(answered, traceparent(TRACE, &root.id, true));

    let names: BTreeSet<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    for layer in COLD_ZIP {
        assert!(names.contains(layer), "no span {layer} in {names:?}");
    }
    let declared: BTreeSet<&str> = SpanName::all().map(SpanName::as_str).collect();
    assert!(names.is_subset(&declared), "{names:?}");
    for span in &spans {
        assert!(!span.attribute("dipylon.outcome").is_empty(), "{} has no outcome", span.name);
    }
    for pair in COLD_ZIP.windows(2).take(12) {
        assert!(is_below(&spans, pair[1], pair[0]), "{} is not below {}", pair[1], pair[0]);
    }
    assert!(is_below(&spans, "upstream", "stash") && is_below(&spans, "storage_io", "stash"));

    // The trace goes on upstream, from a span of ours.
    let ids: BTreeSet<&str> = spans.iter().map(|span| span.id.as_str()).collect();
    let zip = world.upstream.requests().into_iter().find(|seen| seen.path.ends_with(".zip"));
    let zip = zip.expect("the zip was fetched");
    let upstream = zip.headers["traceparent"].to_str().expect("text");
    let words: Vec<&str> = upstream.split('-').collect();
    assert_eq!((words[1], words[3]), (TRACE, "01"), "{upstream}");
    assert!(ids.contains(words[2]), "{upstream} names no span of the trace");
}

#[tokio::test]
#[ignore = "needs otelcol: run by cargo xtask test, which builds it"]
async fn a_cold_miss_is_one_connected_trace_over_grpc() {
    a_cold_miss("grpc").await;
}

#[tokio::test]
#[ignore = "needs otelcol: run by cargo xtask test, which builds it"]
async fn a_cold_miss_is_one_connected_trace_over_http() {
    a_cold_miss("http").await;
}

#[tokio::test]
#[ignore = "needs otelcol: run by cargo xtask test, which builds it"]
async fn a_failed_request_says_so_on_its_spans() {
    let collector = Collector::start().await;
    let mut world = world(&collector, "grpc", &[]).await;
    let sent = traceparent(TRACE, PARENT, true);
    let answer = world.get_with(&file("v1.9.9", "info"), &[("traceparent", &sent)]).await;
    assert_eq!(answer.status, 404);
    world.end().await;
    let spans = of_trace(&collector.received(5).await, TRACE);
    let root = assert_connected(&spans, PARENT);
    assert_eq!(root.attribute("dipylon.outcome"), "upstream_not_found");
    let upstream = spans.iter().find(|span| span.name == "upstream").expect("upstream was asked");
    assert_eq!(upstream.attribute("dipylon.outcome"), "upstream_not_found");
    let message = upstream.json["status"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("404"), "{}", upstream.json);
}

#[tokio::test]
#[ignore = "needs otelcol: run by cargo xtask test, which builds it"]
async fn hits_are_sampled_at_the_ratio_and_parents_are_followed() {
    const REQUESTS: usize = 600;
    let collector = Collector::start().await;
    let production = [("GO_ENV", "production"), ("ATHENS_TRACE_SAMPLING_FRACTION", "0.1")];
    let mut world = world(&collector, "grpc", &production).await;
    let path = file(VERSION, "info");
    for _ in 0..REQUESTS {
        assert_eq!(world.get(&path).await.status, 200);
    }
    let not_sampled = traceparent("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", PARENT, false);
    for _ in 0..50 {
        let answer = world.get_with(&path, &[("traceparent", &not_sampled)]).await;
        let answered = answer.header("traceparent").unwrap_or_default();
        assert!(answered.starts_with("00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-"), "{answered}");
        assert!(answered.ends_with("-00"), "{answered}");
    }
    let sampled = traceparent(TRACE, PARENT, true);
    for _ in 0..5 {
        world.get_with(&path, &[("traceparent", &sampled)]).await;
    }
    world.end().await;
    let spans = collector.received(6).await;
    let roots = |trace: &str| {
        let roots = spans.iter().filter(|span| span.name == "info" && span.trace == trace);
        roots.count()
    };
    assert_eq!(roots(TRACE), 5, "a sampled parent is followed whatever the ratio");
    assert_eq!(roots("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), 0, "so is one that is not sampled");
    let own = spans.iter().filter(|span| span.name == "info" && span.parent.is_empty()).count();
    // 60 are expected; five standard deviations (7.3 each) to both sides.
    assert!((23..=97).contains(&own), "{own} of {REQUESTS} at the ratio 0.1");
    println!("{own} of {REQUESTS} sampled at the ratio 0.1");
}

#[tokio::test]
#[ignore = "needs otelcol: run by cargo xtask test, which builds it"]
async fn a_background_fetch_is_a_trace_of_its_own_linked_to_its_cause() {
    let collector = Collector::start().await;
    let mut world = world(&collector, "grpc", &[("ATHENS_DOWNLOAD_MODE", "async")]).await;
    let sent = traceparent(TRACE, PARENT, true);
    let answer = world.get_with(&file(VERSION, "mod"), &[("traceparent", &sent)]).await;
    assert_eq!(answer.status, 404);
    // Not asked for again, because that request would fetch in the background as well.
    crate::world::until("the background fetch is stored", async || {
        let metrics = world.gateway.metrics().await;
        metrics.metric("dipylon_stash_saves_total").label("result", "created").sum() == 1.0
    })
    .await;
    world.end().await;
    let spans = collector.received(10).await;
    let linked: Vec<&Span> =
        spans.iter().filter(|span| span.json["links"][0]["traceId"] == TRACE).collect();
    assert_eq!(linked.len(), 1, "{linked:#?}");
    assert_eq!((linked[0].name.as_str(), linked[0].parent.as_str()), ("background_stash", ""));
    let background = of_trace(&spans, &linked[0].trace);
    assert!(background.iter().any(|span| span.name == "stash"), "{background:#?}");
}
