//! One cold zip, asked of two replicas at once, as Jaeger shows it: one connected picture.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dipylon_middleware::telemetry::labels::Label as _;
use dipylon_middleware::telemetry::{SpanAttribute, SpanEvent, SpanName};
use dipylon_testkit::client::Client;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::{Fault, Gate, When};
use futures::future::join_all;
use http::Method;
use parking_lot::Mutex;
use serde_json::Value;

use crate::fleet::{Fleet, assert_whole, until, zip};
use crate::service::Service;

/// The client's span, which it does not keep.
const PARENT: &str = "00f067aa0ba902b7";
/// What only a fetch passes, from the first to the last.
const FETCH: [&str; 8] = [
    "single_flight",
    "lock",
    "pool",
    "stash",
    "goproxy_list",
    "upstream_breaker",
    "upstream_limit",
    "upstream",
];
/// What every miss passes, from the first to the last.
const MISS: [&str; 9] = [
    "access_log",
    "admission",
    "route",
    "versions",
    "hot_cache",
    "lookup",
    "negative",
    "download_mode",
    "dispatch",
];
/// Nothing is added to a trace for so long once it is whole.
const QUIET_FOR: Duration = Duration::from_secs(1);
/// Tags that Jaeger makes of what is no attribute: kind, status, scope and state.
const OF_JAEGER: [&str; 8] = [
    "span.kind",
    "error",
    "otel.status_code",
    "otel.status_description",
    "otel.scope.name",
    "otel.scope.version",
    "w3c.tracestate",
    "internal.span.format",
];

/// A trace as the query API tells it: spans by their ids.
struct Shown(BTreeMap<String, Value>);

impl Shown {
    async fn of(jaeger: &str, trace: &str) -> Option<Self> {
        let answer = Client::new(jaeger).get(&format!("/api/traces/{trace}")).await;
        let json: Value = serde_json::from_slice(&answer.body).ok()?;
        let spans = json["data"][0]["spans"].as_array()?.iter();
        let named = spans.map(|span| (span["spanID"].as_str().unwrap().to_owned(), span.clone()));
        Some(Self(named.collect()))
    }

    /// Once nothing has been added for a while: the gateways have sent all, in more than one message, and Jaeger takes
    /// one after the other.
    async fn whole(jaeger: &str, trace: &str) -> Self {
        let seen = Mutex::new((0, Instant::now()));
        until("Jaeger shows the whole trace", async || {
            let spans = Self::of(jaeger, trace).await.map_or(0, |shown| shown.0.len());
            let mut seen = seen.lock();
            if spans != seen.0 {
                *seen = (spans, Instant::now());
            }
            spans > MISS.len() && seen.1.elapsed() >= QUIET_FOR
        })
        .await;
        Self::of(jaeger, trace).await.expect("it shows it")
    }

    fn named(&self, name: &str) -> Vec<&Value> {
        self.0.values().filter(|span| span["operationName"] == name).collect()
    }

    fn parent(&self, span: &Value) -> Option<&Value> {
        reference(span, "CHILD_OF").and_then(|(_, parent)| self.0.get(&parent))
    }

    /// Every span but the root has its parent here, and the root has the client's.
    fn root(&self) -> &Value {
        let roots: Vec<_> = self.0.values().filter(|span| self.parent(span).is_none()).collect();
        let names: Vec<_> = roots.iter().map(|span| &span["operationName"]).collect();
        assert_eq!(roots.len(), 1, "not one connected trace: {names:?} have no parent");
        assert_eq!(reference(roots[0], "CHILD_OF").expect("the client's").1, PARENT);
        roots[0]
    }

    /// `inner` is somewhere below `outer`.
    fn is_below(&self, inner: &str, outer: &str) -> bool {
        self.named(inner).into_iter().any(|span| {
            let above = std::iter::successors(self.parent(span), |span| self.parent(span));
            above.take(self.0.len()).any(|span| span["operationName"] == outer)
        })
    }

    /// Names, attributes and events are those of the catalogue; each span says how it ended.
    fn assert_declared(&self) {
        let names: BTreeSet<&str> = SpanName::all().map(SpanName::as_str).collect();
        let attributes: BTreeSet<&str> =
            SpanAttribute::ALL.iter().map(|one| one.as_str()).chain(OF_JAEGER).collect();
        let events: BTreeSet<&str> = SpanEvent::ALL.iter().map(|one| one.as_str()).collect();
        for span in self.0.values() {
            assert!(names.contains(span["operationName"].as_str().unwrap()), "{span}");
            for tag in span["tags"].as_array().into_iter().flatten() {
                assert!(attributes.contains(tag["key"].as_str().unwrap()), "{tag} of {span}");
            }
            assert!(!tag(span, "dipylon.outcome").is_empty(), "{span}");
            for log in span["logs"].as_array().into_iter().flatten() {
                for field in log["fields"].as_array().into_iter().flatten() {
                    let (key, value) = (field["key"].as_str().unwrap(), &field["value"]);
                    let is_known = match key {
                        "event" => events.contains(value.as_str().unwrap()),
                        other => attributes.contains(other),
                    };
                    assert!(is_known, "{field} of {span}");
                }
            }
        }
    }
}

/// Trace and span that a span refers to so.
fn reference(span: &Value, kind: &str) -> Option<(String, String)> {
    let all = span["references"].as_array()?.iter();
    let found = all.filter(|reference| reference["refType"] == kind).find(|reference| {
        // Jaeger shows a parent as a link too.
        kind == "CHILD_OF" || reference["traceID"] != span["traceID"]
    })?;
    let id = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
    Some((id("traceID"), id("spanID")))
}

fn tag(span: &Value, name: &str) -> String {
    let found = span["tags"].as_array().into_iter().flatten().find(|tag| tag["key"] == name);
    found
        .map(|tag| tag["value"].as_str().map_or(tag["value"].to_string(), str::to_owned))
        .unwrap_or_default()
}

fn events(span: &Value) -> Vec<&str> {
    let logs = span["logs"].as_array().into_iter().flatten();
    let fields = logs.flat_map(|log| log["fields"].as_array().into_iter().flatten());
    fields
        .filter(|field| field["key"] == "event")
        .filter_map(|field| field["value"].as_str())
        .collect()
}

async fn two_replicas_are_one_picture(service: Service) {
    let [jaeger, collector] = ["DIPYLON_TEST_JAEGER", "DIPYLON_TEST_JAEGER_OTLP"]
        .map(|name| std::env::var(name).expect("set by cargo xtask test"));
    let ours = service.variables();
    let mut variables: Vec<(&str, &str)> =
        ours.iter().map(|(name, value)| (*name, value.as_str())).collect();
    variables.extend([
        ("ATHENS_TRACE_EXPORTER", "otlp"),
        ("ATHENS_TRACE_EXPORTER_URL", collector.as_str()),
        ("GO_ENV", "production"),
        ("ATHENS_TRACE_SAMPLING_FRACTION", "0"),
    ]);
    let mut fleet = Fleet::start(&variables).await;
    let module = fleet.add(FakeModule::new("example.com/lib", "v1.2.3").filler(300_000));
    let gate = Gate::default();
    fleet.upstream.fault(When::suffix(".zip"), Fault::Gate(gate.clone()));
    // Ids that no run before has used.
    let run = format!("{:016x}", std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos());
    let run = &run[run.len() - 16..];
    let traces = ["a", "b"].map(|replica| format!("{}{run}", replica.repeat(16)));
    let asking = fleet.gateways.iter().zip(&traces).map(|(gateway, trace)| {
        let (client, parent) = (gateway.client(), format!("00-{trace}-{PARENT}-00"));
        let path = zip(&module);
        tokio::spawn(async move {
            client.request(Method::GET, &path, &[("traceparent", &parent)], Bytes::new()).await
        })
    });
    let asking: Vec<_> = asking.collect();
    until("one has the lock and one waits", async || {
        let waits = fleet.sum("dipylon_lock_waiting", &[]).await;
        fleet.fetches(&module) == 1
            && fleet.sum("dipylon_lock_held", &[]).await == 1.0
            && waits == 1.0
    })
    .await;
    // Long enough for the one who waits to have been told whose the lock is.
    tokio::time::sleep(Duration::from_secs(1)).await;
    gate.open();
    let answers: Vec<_> =
        join_all(asking).await.into_iter().map(|answer| answer.expect("no panic")).collect();
    assert_whole(&answers, &module.zip());
    assert_eq!(fleet.fetches(&module), 1);
    for gateway in &mut fleet.gateways {
        let status = gateway.terminate().await;
        assert!(status.success(), "{status}: {}", gateway.stderr());
    }

    let told = answers.iter().map(|answer| answer.header("cache-status").unwrap_or_default());
    let leads = told.clone().position(|told| told.contains("miss_leader")).expect("one leads");
    let mut shown = Vec::new();
    for trace in [&traces[leads], &traces[1 - leads]] {
        shown.push(Shown::whole(&jaeger, trace).await);
    }
    let (leader, follower) = (&shown[0], &shown[1]);
    for shown in &shown {
        shown.assert_declared();
        for pair in MISS.windows(2) {
            assert!(shown.is_below(pair[1], pair[0]), "{} is not below {}", pair[1], pair[0]);
        }
    }
    // The leader's trace holds every layer of the fetch, the call upstream and the save.
    let (led, followed) = (leader.root(), follower.root());
    assert_eq!(
        (tag(led, "dipylon.outcome"), tag(led, "dipylon.kept")),
        ("miss_leader".into(), "miss".into())
    );
    for name in [
        SpanAttribute::Method,
        SpanAttribute::Path,
        SpanAttribute::Route,
        SpanAttribute::Status,
        SpanAttribute::SentBytes,
        SpanAttribute::RequestId,
        SpanAttribute::Module,
        SpanAttribute::Version,
    ] {
        for root in [led, followed] {
            assert!(!tag(root, name.as_str()).is_empty(), "{name}: {root}");
        }
    }
    for pair in FETCH.windows(2) {
        assert!(leader.is_below(pair[1], pair[0]), "{} is not below {}", pair[1], pair[0]);
    }
    assert!(leader.is_below("storage_io", "stash"), "the save");
    let calls = leader.named("upstream");
    assert!(calls.iter().all(|call| tag(call, "span.kind") == "client"), "{calls:?}");
    assert!(calls.iter().all(|call| tag(call, "dipylon.upstream") == fleet.upstream.url()));
    let asked = fleet.upstream.requests();
    let sent = asked.iter().find(|seen| seen.path.ends_with(".zip")).expect("the zip was fetched");
    let words: Vec<&str> = sent.headers["traceparent"].to_str().expect("text").split('-').collect();
    assert_eq!((words[1], words[3]), (traces[leads].as_str(), "01"));
    assert!(leader.0.contains_key(words[2]), "{words:?} names no span of the trace");
    // The other replica fetched nothing, and links to the span that had the lock.
    assert_eq!(tag(followed, "dipylon.outcome"), "miss_follower");
    assert!(follower.named("upstream").is_empty() && follower.named("stash").is_empty());
    let (had, waited) = (leader.named("lock"), follower.named("lock"));
    assert_eq!((had.len(), waited.len()), (1, 1));
    assert_eq!(events(had[0]), ["lock_acquired"]);
    assert_eq!(events(waited[0]), ["lock_held_elsewhere", "lock_stored_elsewhere"]);
    let (trace, span) = reference(waited[0], "FOLLOWS_FROM").expect("a link");
    assert_eq!(
        (trace.as_str(), span.as_str()),
        (traces[leads].as_str(), had[0]["spanID"].as_str().unwrap())
    );
}

#[tokio::test]
#[ignore = "needs jaeger and the redis program: run by cargo xtask test"]
async fn a_cold_zip_of_two_replicas_on_redis_is_one_picture() {
    two_replicas_are_one_picture(Service::redis().await).await;
}

#[tokio::test]
#[ignore = "needs jaeger and the etcd program: run by cargo xtask test"]
async fn a_cold_zip_of_two_replicas_on_etcd_is_one_picture() {
    two_replicas_are_one_picture(Service::etcd().await).await;
}

#[tokio::test]
#[ignore = "needs jaeger and minio: run by cargo xtask test"]
async fn a_cold_zip_of_two_replicas_on_a_store_is_one_picture() {
    two_replicas_are_one_picture(Service::minio().await).await;
}
