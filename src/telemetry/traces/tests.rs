use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dipylon_middleware::telemetry::trace::{KeepRules, Parent, RootEnd, SpanRef, TraceId, Tracer};
use dipylon_middleware::telemetry::{
    Kept, LayerName, Outcome, RouteName, SpanAttribute, SpanEvent, SpanFate, SpanName, Telemetry,
};
use opentelemetry::trace::{SpanKind, Status};
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

#[cfg(feature = "otlp")]
use super::init;
use super::queue::{Batch, Sending};
use super::settings::Settings;
use super::{DEFAULT_URL, TraceConfig};

const SECOND: Duration = Duration::from_secs(1);

fn config() -> TraceConfig {
    TraceConfig {
        export: true,
        url: DEFAULT_URL.to_owned(),
        http: false,
        headers: Vec::new(),
        fraction: None,
        keeps_notable: true,
        slow: Some(SECOND),
    }
}

/// Names and values.
type Variables = [(&'static str, &'static str)];

/// What is decided with these variables.
fn settle(config: &TraceConfig, variables: &[(&str, &str)]) -> Result<Option<Settings>, String> {
    let variables: BTreeMap<String, String> =
        variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    Settings::of(config, &|name| variables.get(name).cloned())
}

fn settled(config: &TraceConfig, variables: &[(&str, &str)]) -> Settings {
    settle(config, variables).expect("nothing is wrong").expect("traces are sent")
}

#[test]
fn no_traces_are_sent_where_a_key_or_a_variable_says_so() {
    assert!(settle(&TraceConfig { export: false, ..config() }, &[]).unwrap().is_none());
    for off in [("OTEL_SDK_DISABLED", "TRUE"), ("OTEL_TRACES_EXPORTER", "none")] {
        assert!(settle(&config(), &[off]).unwrap().is_none(), "{off:?}");
    }
    for on in [("OTEL_SDK_DISABLED", "1"), ("OTEL_TRACES_EXPORTER", "otlp")] {
        assert!(settle(&config(), &[on]).unwrap().is_some(), "{on:?}");
    }
}

#[test]
fn the_collector_is_that_of_the_key_then_that_of_the_variables() {
    const ALL: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:1");
    const OWN: (&str, &str) = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://own:2");
    let ours = "https://ours:3/";
    let table: &[(&str, bool, &Variables, &str)] = &[
        (ours, false, &[ALL, OWN], "https://ours:3"),
        (ours, true, &[ALL, OWN], "https://ours:3/v1/traces"),
        ("http://ours:3/v1/traces", true, &[], "http://ours:3/v1/traces"),
        (DEFAULT_URL, false, &[], DEFAULT_URL),
        ("", false, &[], DEFAULT_URL),
        ("", true, &[], "http://localhost:4318/v1/traces"),
        (DEFAULT_URL, false, &[ALL], "http://all:1"),
        ("", false, &[ALL, OWN], "http://own:2"),
        ("", true, &[ALL], "http://all:1/v1/traces"),
        ("", true, &[ALL, OWN], "http://own:2"),
        ("", false, &[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")], DEFAULT_URL),
    ];
    for (url, http, variables, wanted) in table {
        let config = TraceConfig { url: (*url).to_owned(), http: *http, ..config() };
        assert_eq!(settled(&config, variables).endpoint, *wanted, "{url} {http} {variables:?}");
    }
}

#[test]
fn the_protocol_is_that_of_the_key_then_that_of_the_variables() {
    const ALL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
    const OWN: &str = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL";
    assert!(!settled(&config(), &[]).http);
    assert!(settled(&config(), &[(ALL, "http/protobuf")]).http);
    assert!(!settled(&config(), &[(ALL, "http/protobuf"), (OWN, "grpc")]).http);
    assert!(settled(&TraceConfig { http: true, ..config() }, &[(ALL, "grpc")]).http);
    let refused = settle(&config(), &[(OWN, "http/json")]).unwrap_err();
    assert!(refused.contains("http/json"), "{refused}");
}

#[test]
fn which_traces_are_kept_is_the_key_s_then_the_sampler_s() {
    let rules = |fraction, sampler: &str, argument: &str| {
        let variables = [("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", argument)];
        let rules = settled(&TraceConfig { fraction, ..config() }, &variables).rules;
        (rules.fraction, rules.follows_parents)
    };
    assert_eq!(rules(None, "", ""), (1.0, true));
    assert_eq!(rules(Some(0.25), "always_on", ""), (0.25, true));
    assert_eq!(rules(None, "always_on", ""), (1.0, false));
    assert_eq!(rules(None, "always_off", ""), (0.0, false));
    assert_eq!(rules(None, "traceidratio", "0.5"), (0.5, false));
    assert_eq!(rules(None, "parentbased_always_on", ""), (1.0, true));
    assert_eq!(rules(None, "parentbased_always_off", "0.5"), (0.0, true));
    assert_eq!(rules(None, "parentbased_traceidratio", " 0.5 "), (0.5, true));
    assert_eq!(rules(None, "parentbased_traceidratio", ""), (1.0, true));
    for bad in [("jaeger_remote", ""), ("traceidratio", "2"), ("traceidratio", "much")] {
        let variables = [("OTEL_TRACES_SAMPLER", bad.0), ("OTEL_TRACES_SAMPLER_ARG", bad.1)];
        settle(&config(), &variables).unwrap_err();
    }
    let rules = settled(&TraceConfig { keeps_notable: false, slow: None, ..config() }, &[]).rules;
    assert_eq!((rules.keeps_notable, rules.slow), (false, None));
}

#[test]
fn a_number_that_is_none_is_not_followed_and_none_goes_over_its_limit() {
    let batch = settled(&config(), &[]).batch;
    assert_eq!((batch.queued_max, batch.spans_max, batch.every), (16_384, 512, SECOND));
    let said = settled(
        &config(),
        &[
            ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1000"),
            ("OTEL_BSP_SCHEDULE_DELAY", "250"),
            ("OTEL_BSP_EXPORT_TIMEOUT", "2000"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "3000"),
        ],
    );
    let wanted = Batch {
        queued_max: 100,
        spans_max: 100,
        every: Duration::from_millis(250),
        patience: 2 * SECOND,
    };
    assert_eq!((said.batch, said.timeout), (wanted, 3 * SECOND));
    let bad = [
        ("OTEL_BSP_MAX_QUEUE_SIZE", "99999999999"),
        ("OTEL_BSP_SCHEDULE_DELAY", "soon"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "-1"),
    ];
    let said = settled(&config(), &bad);
    assert_eq!((said.batch.queued_max, said.batch.every), (super::SPANS_QUEUED_MAX, SECOND));
    assert_eq!(said.timeout, 10 * SECOND);
}

/// The words about a process, as the collector gets them.
fn told(config: &TraceConfig, variables: &[(&str, &str)], name: &'static str) -> Option<String> {
    let resource = settled(config, variables).resource;
    resource.get(&opentelemetry::Key::from_static_str(name)).map(|value| value.to_string())
}

#[test]
fn the_service_has_our_name_unless_a_variable_names_it() {
    assert_eq!(told(&config(), &[], "service.name").as_deref(), Some("dipylon"));
    let version = Some(env!("CARGO_PKG_VERSION"));
    assert_eq!(told(&config(), &[], "service.version").as_deref(), version);
    // The SDK reads the variables of the process, which a test must not set: here it is only that ours
    // does not come before them.
    for named in [
        ("OTEL_SERVICE_NAME", "edge"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a=b, service.name=edge,service.version=7"),
    ] {
        assert_ne!(told(&config(), &[named], "service.name").as_deref(), Some("dipylon"));
    }
}

#[cfg(feature = "otlp")]
#[tokio::test]
async fn a_url_a_header_and_a_certificate_that_are_none_are_refused_at_the_start() {
    let telemetry = Telemetry::new().unwrap();
    let refused = |config: &TraceConfig, file: &str| {
        let variable =
            |name: &str| (name == "OTEL_EXPORTER_OTLP_CERTIFICATE").then(|| file.to_owned());
        init(config, &variable, &telemetry).expect_err("refused")
    };
    for http in [false, true] {
        let bad_header = vec![("no name".to_owned(), "x".to_owned())];
        let config = TraceConfig { http, ..config() };
        assert!(refused(&config, "/nonexistent.pem").contains("/nonexistent.pem"));
        let error = refused(&TraceConfig { headers: bad_header, ..config.clone() }, "");
        assert!(error.contains("\"no name\" in TraceHeaders"), "{error}");
        refused(&TraceConfig { url: "http://[".to_owned(), ..config }, "");
    }
}

/// A collector in this process, which takes what there are permits for.
#[derive(Clone, Debug)]
struct Scripted {
    taken: Arc<Mutex<Vec<Vec<SpanData>>>>,
    gate: Arc<Semaphore>,
    failures: Arc<AtomicUsize>,
}

impl Scripted {
    fn new(permits: usize) -> Self {
        let gate = Arc::new(Semaphore::new(permits));
        Self { taken: Arc::default(), gate, failures: Arc::default() }
    }

    fn batches(&self) -> Vec<usize> {
        self.taken.lock().iter().map(Vec::len).collect()
    }
}

impl SpanExporter for Scripted {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.gate.acquire().await.expect("the gate is never closed").forget();
        let fails = self
            .failures
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if fails.is_ok() {
            return Err(OTelSdkError::InternalFailure("on purpose".to_owned()));
        }
        self.taken.lock().push(batch);
        Ok(())
    }
}

const BATCH: Batch =
    Batch { queued_max: 10, spans_max: 4, every: SECOND, patience: Duration::from_secs(5) };

struct Bench {
    collector: Scripted,
    sending: Sending,
    tracer: Tracer,
    telemetry: Telemetry,
}

fn bench(permits: usize) -> Bench {
    let telemetry = Telemetry::new().unwrap();
    let collector = Scripted::new(permits);
    let sending = Sending::begin(collector.clone(), BATCH, &telemetry);
    let rules = KeepRules { fraction: 1.0, ..KeepRules::NONE };
    let tracer = Tracer::new(rules, sending.sink());
    Bench { collector, sending, tracer, telemetry }
}

impl Bench {
    /// Traces of one span.
    fn make(&self, traces: usize) {
        for _ in 0..traces {
            let trace = self.tracer.request(None, Instant::now());
            trace.end(&end(Outcome::HitMemory, None), |_| {});
        }
    }

    fn spans(&self, fate: SpanFate) -> u64 {
        self.telemetry.metrics.trace_spans.get((fate,)).get()
    }

    /// Sent and lost.
    fn fates(&self) -> [u64; 4] {
        use SpanFate::{LeftBehind, NotTaken, QueueFull, Sent};
        [Sent, QueueFull, NotTaken, LeftBehind].map(|fate| self.spans(fate))
    }
}

fn end(outcome: Outcome, error: Option<&str>) -> RootEnd<'_> {
    RootEnd {
        name: SpanName::Request(RouteName::Zip),
        outcome,
        error,
        is_loud: false,
        waited: Duration::ZERO,
        ended: Instant::now(),
    }
}

#[tokio::test(start_paused = true)]
async fn spans_go_in_batches_that_are_full_or_have_waited_long_enough() {
    let bench = bench(9);
    bench.make(6);
    tokio::time::sleep(SECOND / 2).await;
    assert_eq!(bench.collector.batches(), [4]);
    tokio::time::sleep(SECOND).await;
    assert_eq!(bench.collector.batches(), [4, 2]);
    assert_eq!(bench.fates(), [6, 0, 0, 0]);
    assert_eq!(bench.telemetry.metrics.traces_kept.get((Kept::Sampled,)).get(), 6);
}

#[tokio::test(start_paused = true)]
async fn what_has_no_room_is_counted_and_room_comes_back() {
    let bench = bench(0);
    bench.make(13);
    tokio::time::sleep(SECOND / 2).await;
    assert_eq!(bench.fates(), [0, 3, 0, 0], "those in its hands take room too");
    bench.collector.gate.add_permits(9);
    tokio::time::sleep(3 * SECOND).await;
    bench.make(2);
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(bench.fates(), [12, 3, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn what_the_collector_refuses_or_never_answers_is_counted() {
    let bench = bench(1);
    bench.collector.failures.store(1, Ordering::SeqCst);
    bench.make(8);
    tokio::time::sleep(SECOND / 2).await;
    assert_eq!(bench.fates(), [0, 0, 4, 0], "refused");
    tokio::time::sleep(BATCH.patience).await;
    assert_eq!(bench.fates(), [0, 0, 8, 0], "not answered");
    bench.collector.gate.add_permits(9);
    bench.make(1);
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(bench.fates(), [1, 0, 8, 0]);
}

#[tokio::test(start_paused = true)]
async fn the_end_sends_what_waits_at_once() {
    let bench = bench(9);
    bench.make(6);
    let began = tokio::time::Instant::now();
    let Bench { collector, sending, tracer, telemetry } = bench;
    let tally = sending.end(5 * SECOND).await;
    assert_eq!((tally.sent, tally.lost()), (6, 0));
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(collector.batches(), [4, 2]);
    // What comes after it is counted where it comes from.
    tracer.request(None, Instant::now()).end(&end(Outcome::HitMemory, None), |_| {});
    assert_eq!(telemetry.metrics.trace_spans.get((SpanFate::LeftBehind,)).get(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_end_before_a_dead_collector_is_bounded_and_counts_all_that_is_left() {
    let bench = bench(1);
    bench.make(10);
    let began = tokio::time::Instant::now();
    let tally = bench.sending.end(3 * SECOND).await;
    assert_eq!(began.elapsed(), 3 * SECOND);
    assert_eq!((tally.sent, tally.left_behind), (4, 6));
}

#[tokio::test(start_paused = true)]
async fn a_span_arrives_as_it_was_made() {
    let bench = bench(9);
    let ids = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";
    let (span, state) = (SpanRef::parse(ids).unwrap(), Some("vendor=opaque".into()));
    let parent = Parent { span, is_sampled: true, state };
    let trace = bench.tracer.request(Some(parent), Instant::now());
    let mut below = trace.clone();
    let entered = below.enter().unwrap();
    below.event(SpanEvent::LockAcquired, vec![(SpanAttribute::Fencing, 7.into())]);
    below.link(span);
    let now = Instant::now();
    entered.end(
        LayerName::Upstream.into(),
        (now, Duration::ZERO),
        Outcome::UpstreamTimeout,
        Some("late"),
    );
    trace.end(&end(Outcome::UpstreamTimeout, Some("late")), |attributes| {
        attributes.push((SpanAttribute::Cut, true.into()));
    });
    tokio::time::sleep(2 * SECOND).await;
    let taken = bench.collector.taken.lock().concat();
    let named = |name: &str| taken.iter().find(|span| span.name == name).expect("it arrived");
    let (root, upstream) = (named("zip"), named("upstream"));
    let trace_id = TraceId::from_hex(&ids[..32]).unwrap().to_string();
    for span in [root, upstream] {
        assert_eq!(span.span_context.trace_id().to_string(), trace_id);
        assert_eq!(span.span_context.trace_state().header(), "vendor=opaque");
        assert_eq!(span.status, Status::error("late"));
    }
    assert_eq!(
        (root.span_kind.clone(), upstream.span_kind.clone()),
        (SpanKind::Server, SpanKind::Client)
    );
    assert_eq!(
        (root.parent_span_id.to_string().as_str(), root.parent_span_is_remote),
        (&ids[33..], true)
    );
    assert_eq!(upstream.parent_span_id, root.span_context.span_id());
    let said: Vec<String> =
        root.attributes.iter().map(|pair| format!("{}={}", pair.key, pair.value)).collect();
    assert_eq!(
        said,
        ["dipylon.cut=true", "dipylon.kept=sampled", "dipylon.outcome=upstream_timeout"]
    );
    assert_eq!(upstream.events[0].name, "lock_acquired");
    assert_eq!(
        upstream.events[0].attributes[0].to_owned(),
        opentelemetry::KeyValue::new("dipylon.fencing", 7)
    );
    assert_eq!(upstream.links[0].span_context.trace_id().to_string(), trace_id);
}
