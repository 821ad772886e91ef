//! `/metrics` against the catalogue, in both directions, and how many series there can be.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use dipylon_middleware::telemetry::MetricInfo;
use dipylon_middleware::telemetry::catalogue::{METRICS, series_max};
use dipylon_testkit::client::raw_get;
use dipylon_testkit::metrics::{Metrics, Sample};
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::{Fault, When};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::world::{MODULE, VERSION, World, file, until};

/// Exposed only after more background fetches at one time than a test has patience for, with a lock
/// service that works, which `tests/lock` has, with an object store, which `tests/object_storage` has,
/// with a store that is busy and whose client does not repeat by itself, which `tests/storage_faults` has, or
/// with a download-mode file that changes, which `tests/gateway` has.
const BEYOND_REACH: [&str; 8] = [
    "dipylon_dispatch_background_refused_total",
    "dipylon_lock_held",
    "dipylon_lock_hold_duration_seconds",
    "dipylon_lock_lost_total",
    "dipylon_policy_reloads_total",
    "dipylon_storage_retries_total",
    "dipylon_presigned_total",
    "dipylon_presigned_bytes_total",
];
/// The most series that a gateway may expose, whatever it is asked.
const SERIES_MAX: usize = 5_000;
/// Different modules, hosts and user agents.
const STRANGERS: usize = 2_000;
/// The same where nobody is in a hurry, over so many connections, and so many sent at once on each.
const MILLION: usize = 1_000_000;
const CONNECTIONS: usize = 8;
const STRANGERS_AT_ONCE: usize = 50;
/// The longest that all answers to the strangers of one connection may take.
const STRANGERS_PATIENCE: Duration = Duration::from_secs(1_800);
/// How an answer begins.
const HEAD: &[u8] = b"HTTP/1.1 ";

/// The metric that a sample belongs to: a histogram has three names in a scrape.
fn metric_of(sample: &Sample) -> Option<&'static MetricInfo> {
    METRICS.iter().find(|metric| {
        let is_histogram = metric.kind.as_str() == "histogram";
        let parts = ["_bucket", "_sum", "_count"];
        if is_histogram {
            parts.iter().any(|part| sample.name.strip_suffix(part) == Some(metric.name))
        } else {
            sample.name == metric.name
        }
    })
}

/// Asserts that a scrape holds nothing that the catalogue does not declare; answers what it has.
fn declared(text: &str) -> BTreeSet<&'static str> {
    let types: BTreeMap<&str, &str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let mut seen = BTreeSet::new();
    for sample in Metrics::parse(text).samples() {
        let metric = metric_of(sample)
            .unwrap_or_else(|| panic!("{} is exposed but not in the catalogue", sample.name));
        assert_eq!(types.get(metric.name), Some(&metric.kind.as_str()), "type of {}", metric.name);
        let mut names: BTreeSet<&str> = sample.labels.keys().map(String::as_str).collect();
        if sample.name.ends_with("_bucket") {
            assert!(names.remove("le"), "{sample:?}");
        }
        assert_eq!(names, metric.labels.iter().copied().collect(), "labels of {}", metric.name);
        for info in metric.label_infos {
            let value = sample.labels[info.name].as_str();
            let is_known = info.values.iter().any(|(known, _)| *known == value);
            assert!(is_known, "{}: {}={value:?} is not in the catalogue", metric.name, info.name);
        }
        seen.insert(metric.name);
    }
    for metric in METRICS.iter().filter(|metric| seen.contains(metric.name)) {
        let help = format!("# HELP {} {}", metric.name, metric.help.trim());
        assert!(text.lines().any(|line| line == help), "no line {help:?}");
    }
    seen
}

/// Each sample line's name and labels, but for `dropped`: whether a call to storage ends before
/// upstream's 404 makes it needless is a race, which a stranger may be the first to see.
fn series(text: &str) -> BTreeSet<String> {
    let metrics = Metrics::parse(text);
    let samples = metrics.samples().iter();
    samples
        .filter(|sample| sample.labels.get("outcome").is_none_or(|outcome| outcome != "dropped"))
        .map(|sample| format!("{}{:?}", sample.name, sample.labels))
        .collect()
}

async fn scraped(world: &World) -> BTreeSet<&'static str> {
    let scrape = world.get("/metrics").await;
    assert_eq!(scrape.status, 200);
    declared(scrape.text())
}

/// Hits, misses, refusals, failures and pages.
async fn mixed_run() -> World {
    let world = World::start(&[("ATHENS_INDEX_TYPE", "memory")]).await;
    for kind in ["info", "mod", "zip", "zip", "mod", "info"] {
        assert_eq!(world.get(&file(VERSION, kind)).await.status, 200, "{kind}");
    }
    world.upstream.add(FakeModule::new(MODULE, "v1.1.0"));
    let once = Fault::Status(503, "text/plain", Bytes::from_static(b"busy\n"));
    world.upstream.fault(When::suffix("v1.1.0.info").times(1), once);
    assert_eq!(world.get(&file("v1.1.0", "info")).await.status, 200, "after a retry");
    for path in [
        "/example.com/lib/@v/list",
        "/example.com/lib/@v/list",
        "/example.com/lib/@latest",
        "/example.com/nothing/@v/list",
        "/example.com/lib/@v/v1.9.9.zip",
        "/example.com/Bad/@v/list",
        "/healthz",
        "/readyz",
        "/version",
        "/catalog",
        "/index",
        "/robots.txt",
        "/",
        "/no/such/page",
        "/sumdb/sum.test/supported",
        "/sumdb/sum.test/lookup/example.com/lib@v1.0.0",
    ] {
        world.get(path).await;
    }
    // Whether a stranger's own question to the database ends before upstream's 404 makes it needless is a
    // race: its outcome must be there before the first of them.
    let unknown = world.get("/sumdb/sum.test/lookup/example.com/nothing@v1.0.0").await;
    assert_eq!(unknown.status, 404);
    world
}

#[tokio::test]
async fn everything_exposed_is_declared_and_everything_declared_is_exposed() {
    let mut seen = scraped(&mixed_run().await).await;
    // A mode that fetches in the background.
    let world = World::start(&[("ATHENS_DOWNLOAD_MODE", "async")]).await;
    assert_eq!(world.get(&file(VERSION, "zip")).await.status, 404);
    until("the background fetch is stored", async || {
        world.get(&file(VERSION, "zip")).await.status == 200
    })
    .await;
    seen.extend(scraped(&world).await);
    // A lock service that is not there.
    let world = World::start(&[
        ("ATHENS_SINGLE_FLIGHT_TYPE", "redis"),
        ("ATHENS_REDIS_ENDPOINT", "127.0.0.1:1"),
        ("ATHENS_REDIS_LOCK_MAX_RETRIES", "1"),
    ])
    .await;
    assert_eq!(world.get(&file(VERSION, "zip")).await.status, 200);
    seen.extend(scraped(&world).await);
    // A rate for each client.
    let world = World::start(&[("DIPYLON_RATE_LIMIT_REQUESTS_PER_SECOND", "1000")]).await;
    assert_eq!(world.get(&file(VERSION, "zip")).await.status, 200);
    seen.extend(scraped(&world).await);
    // A rate for the upstream, at which not all three files can be fetched at once.
    let world =
        World::start(&[("DIPYLON_UPSTREAM_RATE", "2"), ("DIPYLON_UPSTREAM_BURST", "1")]).await;
    assert_eq!(world.get(&file(VERSION, "zip")).await.status, 200);
    seen.extend(scraped(&world).await);
    // A small file that is late.
    let world = World::start(&[("DIPYLON_HEDGE_AFTER", "50ms")]).await;
    world.upstream.fault(When::suffix("/@v/list"), Fault::Delay(Duration::from_millis(400)));
    assert_eq!(world.get("/example.com/lib/@v/list").await.status, 200);
    seen.extend(scraped(&world).await);
    // A near tier; `near` is a directory below that of the process.
    let world = World::start(&[("DIPYLON_TIERED_DIRECTORY", "near")]).await;
    for kind in ["zip", "zip", "mod"] {
        assert_eq!(world.get(&file(VERSION, kind)).await.status, 200);
    }
    until("a zip is found near", async || {
        world.get(&file(VERSION, "zip")).await;
        scraped(&world).await.contains("dipylon_tier_found_bytes_total")
    })
    .await;
    seen.extend(scraped(&world).await);
    // A collector that is not there.
    let world = World::start(&[
        ("ATHENS_TRACE_EXPORTER", "otlp"),
        ("ATHENS_TRACE_EXPORTER_URL", "http://127.0.0.1:1"),
    ])
    .await;
    assert_eq!(world.get(&file(VERSION, "info")).await.status, 200);
    until("spans are lost", async || scraped(&world).await.contains("dipylon_trace_spans_total"))
        .await;
    seen.extend(scraped(&world).await);
    // More connections than there may be.
    let world = World::start(&[("DIPYLON_MAX_CONNECTIONS", "4")]).await;
    let idle: Vec<_> =
        (0..8).map(|_| std::net::TcpStream::connect(world.gateway.address())).collect();
    assert!(idle.iter().all(Result::is_ok));
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(idle);
    until("a connection is free again", async || {
        world.gateway.client().try_request(http::Method::GET, "/healthz", &[], "").await.is_ok()
    })
    .await;
    seen.extend(scraped(&world).await);

    let missing: Vec<&str> = METRICS
        .iter()
        .map(|metric| metric.name)
        .filter(|name| !seen.contains(name) && !BEYOND_REACH.contains(name))
        .collect();
    assert!(missing.is_empty(), "declared but never exposed: {missing:?}");
}

#[tokio::test]
async fn strangers_add_no_series() {
    let world = mixed_run().await;
    let address = world.gateway.address();
    let mut early = BTreeSet::new();
    for number in 0..STRANGERS {
        if number == STRANGERS / 10 {
            early = series(world.get("/metrics").await.text());
            let sumdb = ["\"sumdb\"", "\"upstream_not_found\""];
            let is_there = early.iter().any(|line| sumdb.iter().all(|part| line.contains(part)));
            assert!(is_there, "the database's own 404 is not counted in {early:#?}");
        }
        let text = format!("{}Connection: close\r\n\r\n", stranger(number));
        let answer = raw_get(address, &text).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    }
    let scrape = world.get("/metrics").await;
    declared(scrape.text());
    let late = series(scrape.text());
    let new: Vec<_> = late.difference(&early).collect();
    assert!(new.is_empty(), "{} further strangers added {new:#?}", STRANGERS * 9 / 10);
    assert!(late.len() < SERIES_MAX, "{} series", late.len());
    assert!(series_max() < SERIES_MAX, "the catalogue allows {} series", series_max());
    println!("{} sample lines after {STRANGERS} strangers; at most {}", late.len(), series_max());
}

/// A stranger of its own module, host and user agent, who asks for one of four files.
fn stranger(number: usize) -> String {
    let kind = ["list", "v1.0.0.info", "v1.0.0.mod", "v1.0.0.zip"][number % 4];
    format!(
        "GET /host{number}.example/module{number}/@v/{kind} HTTP/1.1\r\n\
         Host: gateway{number}.example:{}\r\nUser-Agent: client/{number}\r\n\
         X-Forwarded-For: 10.{}.{}.{}\r\n",
        number % 65_536,
        number / 65_536 % 256,
        number / 256 % 256,
        number % 256
    )
}

/// Asks as these strangers over one connection, a few at a time, and counts the answers.
async fn ask_as(address: std::net::SocketAddr, strangers: std::ops::Range<usize>) -> usize {
    let asked = strangers.clone();
    let answers = tokio::time::timeout(STRANGERS_PATIENCE, ask_in_turn(address, strangers)).await;
    answers.unwrap_or_else(|_| panic!("{asked:?} are not answered within {STRANGERS_PATIENCE:?}"))
}

async fn ask_in_turn(address: std::net::SocketAddr, strangers: std::ops::Range<usize>) -> usize {
    let stream = tokio::net::TcpStream::connect(address).await.expect("it listens");
    let (mut reads, mut writes) = stream.into_split();
    let wanted = strangers.len();
    let asking = tokio::spawn(async move {
        for few in
            strangers.step_by(STRANGERS_AT_ONCE).map(|first| first..first + STRANGERS_AT_ONCE)
        {
            let text: String = few.map(|number| stranger(number) + "\r\n").collect();
            writes.write_all(text.as_bytes()).await.expect("it reads");
        }
        writes
    });
    let (mut answers, mut kept, mut buffer) = (0, Vec::new(), vec![0; 64 * 1024]);
    while answers < wanted {
        let read = reads.read(&mut buffer).await.expect("it answers");
        assert!(read > 0, "the connection has ended after {answers} of {wanted} answers");
        kept.extend_from_slice(&buffer[..read]);
        answers += kept.windows(HEAD.len()).filter(|window| *window == HEAD).count();
        // A head may have come in part.
        kept.drain(..kept.len().saturating_sub(HEAD.len() - 1));
    }
    drop(asking.await.expect("all were asked"));
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: a million requests"]
async fn slow_a_million_strangers_add_no_series() {
    let world = World::start(&[
        ("ATHENS_NETWORK_MODE", "offline"),
        ("ATHENS_LOG_LEVEL", "error"),
        ("DIPYLON_LOG_ACCESS", "false"),
    ])
    .await;
    let address = world.gateway.address();
    assert_eq!(ask_as(address, 0..1_000).await, 1_000);
    world.get("/metrics").await;
    let early = series(world.get("/metrics").await.text());
    let part = MILLION / CONNECTIONS;
    let connections = (0..CONNECTIONS).map(|number| number * part..(number + 1) * part);
    let asking = connections.map(|strangers| ask_as(address, strangers));
    let answers: usize = futures::future::join_all(asking).await.into_iter().sum();
    assert_eq!(answers, MILLION);
    let scrape = world.get("/metrics").await;
    declared(scrape.text());
    let late = series(scrape.text());
    let new: Vec<_> = late.difference(&early).collect();
    assert!(new.is_empty(), "a million strangers added {new:#?}");
    assert!(late.len() < SERIES_MAX, "{} series", late.len());
    println!("{} sample lines after a million strangers", late.len());
}

#[tokio::test]
async fn counters_count_what_was_done() {
    let world = mixed_run().await;
    until("the requests are counted", async || {
        let metrics = world.gateway.metrics().await;
        let zips = metrics.metric("dipylon_http_server_requests_total").label("route", "zip");
        zips.sum() == 3.0
    })
    .await;
    let metrics = world.gateway.metrics().await;
    let value = |name: &str, labels: &[(&str, &str)]| {
        let question = metrics.metric(name);
        labels.iter().fold(question, |question, (name, value)| question.label(name, value)).sum()
    };
    let requests = "dipylon_http_server_requests_total";
    assert_eq!(value(requests, &[("route", "zip"), ("outcome", "miss_leader")]), 1.0);
    assert_eq!(value(requests, &[("route", "list"), ("outcome", "upstream_not_found")]), 1.0);
    assert_eq!(value("dipylon_upstream_retries_total", &[("kind", "info")]), 1.0);
    assert_eq!(value("dipylon_stash_saves_total", &[("result", "created")]), 1.0);
    assert!(value("dipylon_upstream_received_bytes_total", &[]) > 20_000.0);
    assert!(value("dipylon_http_server_response_body_bytes_total", &[("route", "zip")]) > 40_000.0);
    assert_eq!(value("dipylon_spool_bytes", &[]), 0.0);
    // This scrape itself is the one request in hand.
    assert_eq!(value("dipylon_http_server_active_requests", &[]), 1.0);
}
