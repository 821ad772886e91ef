//! Which traces are kept, that nothing of them is lost unseen, and what the standard variables say.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use dipylon_middleware::telemetry::labels::Label as _;
use dipylon_middleware::telemetry::{SpanAttribute, SpanEvent, SpanName};
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::{Fault, Gate, Upstream, When};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::collector::{Collector, Span, attribute};
use crate::traces::{assert_connected, of_trace, traceparent, world};
use crate::world::{MODULE, PATIENCE, VERSION, World, file, until};

/// Of a caller that keeps nothing itself.
const TRACES: [&str; 4] = [
    "11111111111111111111111111111111",
    "22222222222222222222222222222222",
    "33333333333333333333333333333333",
    "44444444444444444444444444444444",
];
const PARENT: &str = "00f067aa0ba902b7";
/// No new trace is kept for itself.
const NONE: [(&str, &str); 2] = [("GO_ENV", "production"), ("ATHENS_TRACE_SAMPLING_FRACTION", "0")];
/// Hits in a row, while the collector lives and after it was killed.
const HITS: usize = 200;

async fn ask(world: &World, trace: &str, path: &str) -> u16 {
    let sent = traceparent(trace, PARENT, false);
    world.get_with(path, &[("traceparent", &sent)]).await.status.as_u16()
}

/// How many spans the collector has, by the gateway's count.
async fn sent(world: &World) -> f64 {
    let metrics = world.gateway.metrics().await;
    metrics.metric("dipylon_trace_spans_total").label("result", "sent").sum()
}

/// Nothing of a span is outside the catalogue.
fn assert_declared(spans: &[Span]) {
    let names: BTreeSet<&str> = SpanName::all().map(SpanName::as_str).collect();
    let attributes: BTreeSet<&str> = SpanAttribute::ALL.iter().map(|one| one.as_str()).collect();
    let events: BTreeSet<&str> = SpanEvent::ALL.iter().map(|one| one.as_str()).collect();
    for span in spans {
        assert!(names.contains(span.name.as_str()), "{}", span.json);
        for attribute in span.json["attributes"].as_array().into_iter().flatten() {
            assert!(attributes.contains(attribute["key"].as_str().unwrap()), "{}", span.json);
        }
        for event in span.json["events"].as_array().into_iter().flatten() {
            assert!(events.contains(event["name"].as_str().unwrap()), "{}", span.json);
        }
    }
}

#[tokio::test]
#[ignore = "needs otelcol: run by cargo xtask test, which builds it"]
async fn misses_and_errors_are_kept_whole_whatever_the_share_and_hits_are_not() {
    let collector = Collector::start().await;
    let mut world = world(&collector, "grpc", &NONE).await;
    world.upstream.add(FakeModule::new(MODULE, "v1.1.0"));
    let broken = Fault::Status(500, "text/plain", Bytes::from_static(b"broken\n"));
    world.upstream.fault(When::suffix("v1.1.0.info"), broken);
    let [miss, hit, failure, absent] = TRACES;
    assert_eq!(ask(&world, miss, &file(VERSION, "zip")).await, 200);
    until("the zip is stored", async || {
        let metrics = world.gateway.metrics().await;
        metrics.metric("dipylon_stash_saves_total").label("result", "created").sum() == 1.0
    })
    .await;
    assert_eq!(ask(&world, hit, &file(VERSION, "zip")).await, 200);
    assert_eq!(ask(&world, failure, &file("v1.1.0", "info")).await, 502);
    assert_eq!(ask(&world, absent, &file("v1.9.9", "info")).await, 404);
    world.end().await;
    let spans = collector.received(40).await;
    assert_declared(&spans);
    assert_eq!(of_trace(&spans, hit).len(), 0, "a hit that nobody wants");
    for (trace, kept, outcome) in [
        (miss, "miss", "miss_leader"),
        (failure, "miss", "upstream_error"),
        (absent, "miss", "upstream_not_found"),
    ] {
        let spans = of_trace(&spans, trace);
        let root = assert_connected(&spans, PARENT);
        assert_eq!(root.attribute("dipylon.kept"), kept, "{outcome}");
        assert_eq!(root.attribute("dipylon.outcome"), outcome);
        assert!(spans.len() > 12, "{outcome}: {} spans", spans.len());
        let upstream = spans.iter().find(|span| span.name == "upstream").expect(outcome);
        assert_eq!(upstream.attribute("dipylon.upstream"), world.upstream.url());
    }
    let saved = of_trace(&spans, miss);
    assert!(saved.iter().filter(|span| span.name == "storage_io").count() > 1, "the save as well");
    // Upstream is told that the trace is kept, because by then it is sure.
    let asked = world.upstream.requests();
    for request in asked.iter().filter(|seen| !seen.path.starts_with("/sumdb/")) {
        let told = request.headers["traceparent"].to_str().expect("text");
        assert!(told.ends_with("-01"), "{}: {told}", request.path);
    }
}

#[tokio::test]
#[ignore = "needs otelcol: run by cargo xtask test, which builds it"]
async fn a_slow_hit_is_kept_and_what_is_notable_can_be_left_out() {
    let collector = Collector::start().await;
    for (keep, slow) in [("true", "1ns"), ("false", "1ns"), ("true", "0s")] {
        let more = [("DIPYLON_TRACE_KEEP_NOTABLE", keep), ("DIPYLON_TRACE_SLOW", slow)];
        let variables: Vec<_> = NONE.into_iter().chain(more).collect();
        let mut world = world(&collector, "grpc", &variables).await;
        assert_eq!(world.get(&file(VERSION, "info")).await.status, 200);
        let trace = TRACES[usize::from(keep == "false") + 2 * usize::from(slow == "0s")];
        assert_eq!(ask(&world, trace, &file(VERSION, "info")).await, 200);
        world.end().await;
    }
    let spans = collector.received(10).await;
    let slow = of_trace(&spans, TRACES[0]);
    let root = assert_connected(&slow, PARENT);
    assert_eq!(root.attribute("dipylon.kept"), "slow");
    assert_eq!(root.attribute("dipylon.outcome"), "hit_memory");
    for left_out in [TRACES[1], TRACES[2]] {
        assert_eq!(of_trace(&spans, left_out).len(), 0, "{left_out}");
    }
}

#[tokio::test]
#[ignore = "needs otelcol: run by cargo xtask test, which builds it"]
async fn the_root_lasts_to_the_last_byte_and_the_layers_to_the_head() {
    let collector = Collector::start().await;
    let mut world = world(&collector, "grpc", &[("DIPYLON_HOLD_BACK_BYTES", "1")]).await;
    world.upstream.add(FakeModule::new(MODULE, "v1.2.0").filler(300_000));
    // Some 30 ticks after the head.
    let tick = Duration::from_millis(50);
    let drips = Fault::Trickle { bytes_per_tick: 10_000, tick };
    world.upstream.fault(When::suffix("v1.2.0.zip"), drips);
    assert_eq!(ask(&world, TRACES[0], &file("v1.2.0", "zip")).await, 200);
    world.end().await;
    let spans = of_trace(&collector.received(15).await, TRACES[0]);
    let root = assert_connected(&spans, PARENT);
    let layer = spans.iter().find(|span| span.name == "access_log").expect("it is there");
    let sent: usize = root.attribute("http.response.body.size").parse().expect("a number");
    assert!(sent > 300_000, "{sent}");
    let body = Duration::from_nanos(root.lasted() - layer.lasted());
    assert!(body > 15 * tick, "the body took {body:?} of {:?}", root.lasted());
}

#[tokio::test]
#[ignore = "needs otelcol: run by cargo xtask test, which builds it"]
async fn a_miss_whose_client_leaves_is_one_whole_trace_the_save_behind_it_included() {
    let collector = Collector::start().await;
    let mut world = world(&collector, "http", &NONE).await;
    let gate = Gate::default();
    world.upstream.fault(When::suffix(".zip"), Fault::Gate(gate.clone()));
    let (path, client) = (file(VERSION, "zip"), world.gateway.client());
    let (asks, parent) = (path.clone(), traceparent(TRACES[0], PARENT, false));
    let asking = tokio::spawn(async move {
        client.request(http::Method::GET, &asks, &[("traceparent", &parent)], Bytes::new()).await
    });
    until("upstream is asked", async || world.upstream.count(&path) == 1).await;
    asking.abort();
    until("the gateway knows", async || {
        let metrics = world.gateway.metrics().await;
        let requests = metrics.metric("dipylon_http_server_requests_total");
        requests.label("route", "unknown").label("outcome", "dropped").sum() == 1.0
    })
    .await;
    gate.open();
    until("the zip is stored", async || {
        let metrics = world.gateway.metrics().await;
        metrics.metric("dipylon_stash_saves_total").label("result", "created").sum() == 1.0
    })
    .await;
    world.end().await;
    let spans = of_trace(&collector.received(15).await, TRACES[0]);
    let root = assert_connected(&spans, PARENT);
    assert_eq!(root.attribute("dipylon.outcome"), "dropped");
    assert_eq!(root.attribute("http.response.status_code"), "499");
    assert_eq!(root.attribute("dipylon.kept"), "miss");
    let at = |span: &Span, name: &str| {
        span.json[name].as_str().and_then(|text| text.parse::<u64>().ok()).expect("a time")
    };
    let left = at(root, "endTimeUnixNano");
    let of = |name: &'static str| spans.iter().filter(move |span| span.name == name);
    assert!(of("upstream").any(|span| at(span, "endTimeUnixNano") > left), "the fetch went on");
    let saves = of("storage_io").filter(|span| at(span, "startTimeUnixNano") > left);
    assert!(saves.count() > 0, "the save came after the client had left");
}

#[tokio::test]
#[ignore = "needs otelcol: run by cargo xtask test, which builds it"]
async fn a_killed_collector_costs_requests_nothing_and_every_lost_span_is_counted() {
    let mut collector = Collector::start().await;
    let mut world = world(&collector, "grpc", &[]).await;
    let path = file(VERSION, "info");
    assert_eq!(world.get(&path).await.status, 200);
    let hit = async || {
        let answer = world.get(&path).await;
        assert_eq!(answer.status, 200);
        answer.total
    };
    for _ in 0..HITS {
        hit().await;
    }
    // A batch waits for a second: after more, none is in hand when the collector dies.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(sent(&world).await > 0.0);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    collector.kill();
    let mut slowest = Duration::ZERO;
    for _ in 0..HITS {
        slowest = slowest.max(hit().await);
    }
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    let status = world.gateway.terminate().await;
    assert!(status.success(), "{status}");
    let log = world.gateway.stdout();
    let field = |name: &str| -> usize {
        let line = log.lines().find(|line| line.contains("spans were lost")).expect("it is said");
        let value = line.split(&format!("{name}=")).nth(1).expect(name).split(' ').next();
        value.and_then(|value| value.parse().ok()).expect("a number")
    };
    let received = collector.spans();
    assert_eq!(field("sent"), received.len(), "the collector has what counts as sent");
    // Each request made as many spans as the same request before.
    let of = |name: &str| {
        let roots: Vec<&Span> = received.iter().filter(|span| span.name == name).collect();
        let trace = &roots.last().expect(name).trace;
        (roots.len(), of_trace(&received, trace).len())
    };
    let (hits, spans_of_a_hit) = of("info");
    assert_eq!(hits, HITS + 1);
    let lost = field("queue_full") + field("not_taken") + field("left_behind");
    let (_, spans_of_a_scrape) = of("admin");
    let scrapes = world_scrapes(&log) - received.iter().filter(|span| span.name == "admin").count();
    assert_eq!(lost, HITS * spans_of_a_hit + scrapes * spans_of_a_scrape);
    assert!(log.contains("the collector takes no traces"), "{log}");
}

/// Requests for pages, by the log.
fn world_scrapes(log: &str) -> usize {
    log.lines().filter(|line| line.contains("request\t") && line.contains("route=admin ")).count()
}

async fn over_tls(protocol: &str) {
    let collector = Collector::start_with_tls().await;
    let mut trusting = world(&collector, protocol, &NONE).await;
    assert_eq!(ask(&trusting, TRACES[0], &file(VERSION, "zip")).await, 200);
    trusting.end().await;
    let spans = of_trace(&collector.received(15).await, TRACES[0]);
    assert_connected(&spans, PARENT);
    // Who does not know the certificate sends it nothing.
    let mut wary = world(&collector, protocol, &[("OTEL_EXPORTER_OTLP_CERTIFICATE", "")]).await;
    assert_eq!(ask(&wary, TRACES[1], &file(VERSION, "zip")).await, 200);
    wary.end().await;
    assert_eq!(of_trace(&collector.spans(), TRACES[1]).len(), 0);
    assert!(wary.gateway.stdout().contains("spans were lost"), "{}", wary.gateway.stdout());
}

#[tokio::test]
#[ignore = "needs otelcol: run by cargo xtask test, which builds it"]
async fn a_collector_with_a_certificate_of_its_own_is_reached_over_grpc() {
    over_tls("grpc").await;
}

#[tokio::test]
#[ignore = "needs otelcol: run by cargo xtask test, which builds it"]
async fn a_collector_with_a_certificate_of_its_own_is_reached_over_http() {
    over_tls("http").await;
}

#[tokio::test]
#[ignore = "needs otelcol: run by cargo xtask test, which builds it"]
async fn the_standard_variables_count_where_no_key_says_otherwise() {
    let (theirs, ours) = (Collector::start().await, Collector::start().await);
    let standard = [
        ("ATHENS_TRACE_EXPORTER", "otlp".to_owned()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", theirs.url("http")),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf".to_owned()),
        ("OTEL_SERVICE_NAME", "edge".to_owned()),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test".to_owned()),
        ("OTEL_TRACES_SAMPLER", "always_off".to_owned()),
    ];
    let started = async |more: &[(&str, &str)]| {
        let mut variables: Vec<(&str, &str)> =
            standard.iter().map(|(name, value)| (*name, value.as_str())).collect();
        variables.extend(more);
        World::start(&variables).await
    };
    let sampled = traceparent(TRACES[3], PARENT, true);
    let run = async |world: &mut World, trace| {
        assert_eq!(ask(world, trace, &file(VERSION, "mod")).await, 200);
        let hit = world.get_with(&file(VERSION, "mod"), &[("traceparent", &sampled)]).await;
        assert_eq!(hit.status, 200);
        world.end().await;
    };
    run(&mut started(&[]).await, TRACES[0]).await;
    let url = ours.url("grpc");
    let keys = [
        ("ATHENS_TRACE_EXPORTER_URL", url.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_TRACES_SAMPLER", "parentbased_always_off"),
    ];
    run(&mut started(&keys).await, TRACES[1]).await;
    run(&mut started(&[("OTEL_SDK_DISABLED", "true")]).await, TRACES[2]).await;
    let (at_theirs, at_ours) = (theirs.received(15).await, ours.received(15).await);
    assert!(
        !of_trace(&at_theirs, TRACES[0]).is_empty() && !of_trace(&at_ours, TRACES[1]).is_empty()
    );
    let both = [at_theirs.as_slice(), at_ours.as_slice()].concat();
    assert!(of_trace(&at_theirs, TRACES[1]).is_empty() && of_trace(&both, TRACES[2]).is_empty());
    // `always_off` follows no caller; `parentbased_always_off` does.
    assert_eq!(of_trace(&at_theirs, TRACES[3]).len(), 0);
    assert!(!of_trace(&at_ours, TRACES[3]).is_empty());
    for resource in theirs.resources() {
        assert_eq!(attribute(&resource, "service.name"), "edge");
        assert_eq!(attribute(&resource, "deployment.environment"), "test");
        assert_eq!(attribute(&resource, "service.version"), env!("CARGO_PKG_VERSION"));
    }
}

#[tokio::test]
async fn a_header_of_the_keys_comes_before_one_of_the_variables() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let seen = tokio::spawn(timeout(PATIENCE, async move {
        let (mut stream, _) = listener.accept().await.expect("the exporter comes");
        let mut head = Vec::new();
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            let read = stream.read_buf(&mut head).await.expect("it says something");
            assert!(read > 0, "it ends before its head: {}", String::from_utf8_lossy(&head));
        }
        // The gateway may have gone.
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        String::from_utf8_lossy(&head).into_owned()
    }));
    let mut world = World::start(&[
        ("ATHENS_TRACE_EXPORTER", "otlp"),
        ("ATHENS_TRACE_EXPORTER_URL", &url),
        ("DIPYLON_OTLP_PROTOCOL", "http"),
        ("DIPYLON_TRACE_HEADERS", "x-tenant:ours"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=theirs,x-more=theirs"),
    ])
    .await;
    assert_eq!(world.get(&file(VERSION, "info")).await.status, 200);
    world.end().await;
    let head = seen.await.expect("no panic").expect("the exporter comes in time").to_lowercase();
    assert!(head.starts_with("post /v1/traces "), "{head}");
    assert!(head.contains("x-tenant: ours\r\n") && head.contains("x-more: theirs\r\n"), "{head}");
    assert!(!head.contains("x-tenant: theirs"), "{head}");
}

#[tokio::test]
async fn a_tracestate_goes_on_upstream_as_it_came() {
    // Nobody listens there: what is kept is lost, and that is this test's affair.
    let world = World::start(&[
        ("ATHENS_TRACE_EXPORTER", "otlp"),
        ("ATHENS_TRACE_EXPORTER_URL", "http://127.0.0.1:1"),
        NONE[0],
        NONE[1],
    ])
    .await;
    let (parent, state) = (traceparent(TRACES[0], PARENT, false), "vendor=opaque!, other@x=1");
    let headers = [("traceparent", parent.as_str()), ("tracestate", state)];
    assert_eq!(world.get_with(&file(VERSION, "zip"), &headers).await.status, 200);
    let asked = world.upstream.requests();
    let zip = asked.iter().find(|seen| seen.path.ends_with(".zip")).expect("it was fetched");
    assert_eq!(zip.headers["tracestate"], state);
    let told = zip.headers["traceparent"].to_str().expect("text");
    assert!(told.starts_with(&format!("00-{}-", TRACES[0])) && told.ends_with("-01"), "{told}");
    // The checksum database is told nothing, neither directly nor through the upstream.
    for request in asked.iter().filter(|seen| seen.path.starts_with("/sumdb/")) {
        assert!(!request.headers.contains_key("tracestate"), "{}", request.path);
    }
}

#[tokio::test]
async fn the_validator_hook_is_told_the_trace_and_whether_it_was_sure_by_then_that_it_is_kept() {
    let hook = Upstream::start().await;
    hook.fault(When::any(), Fault::Status(200, "text/plain", Bytes::new()));
    let validator = format!("{}/validate", hook.url());
    let world = World::start(&[
        ("ATHENS_TRACE_EXPORTER", "otlp"),
        ("ATHENS_TRACE_EXPORTER_URL", "http://127.0.0.1:1"),
        ("ATHENS_PROXY_VALIDATOR", &validator),
        NONE[0],
        NONE[1],
    ])
    .await;
    let mut spans = BTreeSet::from([PARENT.to_owned()]);
    for (trace, sampled, kind) in [(TRACES[0], true, "info"), (TRACES[1], false, "mod")] {
        hook.clear_requests();
        let (parent, state) = (traceparent(trace, PARENT, sampled), "vendor=opaque!");
        let headers = [("traceparent", parent.as_str()), ("tracestate", state)];
        assert_eq!(world.get_with(&file(VERSION, kind), &headers).await.status, 200);
        let asked = hook.requests();
        assert_eq!(asked.len(), 1, "{kind}");
        assert_eq!(asked[0].headers["tracestate"], state);
        let told = asked[0].headers["traceparent"].to_str().expect("text");
        let words: Vec<&str> = told.split('-').collect();
        let flags = if sampled { "01" } else { "00" };
        assert_eq!((words.len(), words[0], words[1], words[3]), (4, "00", trace, flags), "{told}");
        assert!(spans.insert(words[2].to_owned()), "a span of its own: {told}");
    }
}
