//! A trace from a live run: a cold zip, asked of two gateways at once that share a store and a lock service.

use std::collections::BTreeMap;
use std::time::Duration;

use dipylon_testkit::services::redis::{PASSWORD, RedisServer};
use dipylon_testkit::upstream::{Fault, When};

use super::trace::{Span, as_json};
use crate::collector::Collector;
use crate::load::{fresh, path};
use crate::store::Store;
use crate::world::World;

/// The trace of the client, who asks both.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
/// Its spans, one for each gateway.
const CALLERS: [&str; 2] = ["00f067aa0ba902b7", "00f067aa0ba902b8"];
/// How late upstream begins to answer, and then sends so many bytes at a time.
const LATE: Duration = Duration::from_millis(120);
const BYTES_PER_TICK: usize = 4_000;
const TICK: Duration = Duration::from_millis(10);
/// The fewest spans of such a trace.
const SPANS_MIN: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs otelcol and the redis program: run by cargo xtask test"]
async fn a_cold_zip_of_two_gateways_is_one_trace_that_can_be_drawn() {
    let (redis, store, collector) =
        (RedisServer::start(), Store::start().await, Collector::start().await);
    let (url, address) = (store.url(), redis.address().to_string());
    let mut settings = collector.variables("grpc");
    settings.extend([
        ("ATHENS_STORAGE_TYPE", "external".to_owned()),
        ("ATHENS_EXTERNAL_STORAGE_URL", url),
        ("DIPYLON_TIERED_DIRECTORY", String::new()),
        ("ATHENS_SINGLE_FLIGHT_TYPE", "redis".to_owned()),
        ("ATHENS_REDIS_ENDPOINT", address),
        ("ATHENS_REDIS_PASSWORD", PASSWORD.to_owned()),
    ]);
    let settings: Vec<(&str, &str)> =
        settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut first = World::start(&settings).await;
    // The second asks the upstream and the database of the first.
    let key = first.database.verifier_key();
    let upstream = first.upstream.url();
    let shared = [("GOPROXY", upstream.as_str()), ("GOSUMDB", key)];
    let mut second = World::start(&[settings.as_slice(), &shared].concat()).await;
    let module = fresh(&first, "traced", 0);
    let zip = path(&module, "zip");
    let slow = Fault::Trickle { bytes_per_tick: BYTES_PER_TICK, tick: TICK };
    first.upstream.fault(When::path(&zip), slow);
    first.upstream.latency(LATE);

    let ask = async |world: &World, caller: &str, after: u64| {
        tokio::time::sleep(Duration::from_millis(after)).await;
        let trace = format!("00-{TRACE}-{caller}-01");
        let client = world.gateway.client().header("traceparent", &trace);
        assert_eq!(client.get(&zip).await.status, 200);
    };
    tokio::join!(ask(&first, CALLERS[0], 0), ask(&second, CALLERS[1], 30));
    // What ends in order sends the last of its spans before.
    for world in [&mut first, &mut second] {
        assert!(world.gateway.terminate().await.success());
    }
    let spans = spans(&collector).await;
    assert!(spans.len() >= SPANS_MIN, "{spans:#?}");
    for gateway in [1, 2] {
        assert!(spans.iter().any(|span| span.gateway == gateway), "{gateway}: {spans:#?}");
    }
    if dipylon_testkit::bless::is_asked_for() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/dashboards/pictures/trace.json");
        std::fs::write(file, as_json(&spans)).expect("the sample");
    }
}

/// The spans of the trace, with ids that are the same for the same trace, as far as a trace can be.
async fn spans(collector: &Collector) -> Vec<Span> {
    let received = collector.received(SPANS_MIN).await;
    let mut received: Vec<_> = received.into_iter().filter(|span| span.trace == TRACE).collect();
    let nanos = |json: &serde_json::Value, key: &str| {
        json[key].as_str().and_then(|text| text.parse::<u64>().ok()).expect("a time")
    };
    received.sort_by_key(|span| nanos(&span.json, "startTimeUnixNano"));
    let begin =
        received.first().map(|span| nanos(&span.json, "startTimeUnixNano")).unwrap_or_default();
    let names: BTreeMap<&str, String> = received
        .iter()
        .enumerate()
        .map(|(number, span)| (span.id.as_str(), format!("s{number}")))
        .collect();
    let parents: BTreeMap<&str, &str> =
        received.iter().map(|span| (span.id.as_str(), span.parent.as_str())).collect();
    // A span is of the gateway whose root is above it.
    let gateway = |id: &str| {
        let above = std::iter::successors(Some(id), |id| parents.get(id).copied());
        let caller = above
            .take(received.len() + 1)
            .find_map(|id| CALLERS.iter().position(|caller| *caller == id));
        caller.map_or_else(
            || panic!("{id} hangs on nothing of the trace"),
            |caller| caller as u64 + 1,
        )
    };
    let own = |id: &str| names.get(id).cloned().unwrap_or_default();
    let span = |span: &crate::collector::Span| {
        let (start, end) =
            (nanos(&span.json, "startTimeUnixNano"), nanos(&span.json, "endTimeUnixNano"));
        let links = span.json["links"].as_array().map_or(&[][..], Vec::as_slice).iter();
        Span {
            id: own(&span.id),
            parent: own(&span.parent),
            name: span.name.clone(),
            gateway: gateway(&span.id),
            start: (start - begin) / 1_000,
            took: (end - start) / 1_000,
            outcome: span.attribute("dipylon.outcome"),
            links: links.map(|link| own(link["spanId"].as_str().unwrap_or_default())).collect(),
        }
    };
    received.iter().map(span).collect()
}
