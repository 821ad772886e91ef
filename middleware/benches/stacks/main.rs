//! Layers together: the module stack, and single flight when many want the same.

#[path = "../support/mod.rs"]
mod support;

use std::future::ready;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dipylon_middleware::Error;
use dipylon_middleware::download_mode::DownloadModeLayer;
use dipylon_middleware::forward::Forward;
use dipylon_middleware::hot_cache::HotCacheLayer;
use dipylon_middleware::limit::LimitLayer;
use dipylon_middleware::lookup::LookupLayer;
use dipylon_middleware::missing_paths::MissingPaths;
use dipylon_middleware::negative::NegativeLayer;
use dipylon_middleware::request::{Ask, ModuleRequest, Planned, StashKey, StashRequest, Want};
use dipylon_middleware::response::{Files, Finished, ModuleResponse, Stashed};
use dipylon_middleware::single_flight::SingleFlightLayer;
use dipylon_middleware::stack::{Border, Stack};
use dipylon_middleware::telemetry::trace::{FinishedTrace, KeepRules, RootEnd, SpanSink};
use dipylon_middleware::telemetry::{
    LayerName, Outcome, RouteName, SpanAttribute, SpanName, Telemetry, Tracer,
};
use dipylon_protocol::{FileKind, VersionQuery};
use futures::future::join_all;
use tokio::runtime::{Builder, Runtime};
use tokio_util::task::TaskTracker;
use tower::{Layer as _, Service as _};

use support::{
    LONG, bench, bench_service, context, cpu_time, file_answer, module, module_request, policy,
    runtime, storage, telemetry, version, versions,
};

/// As the program puts it together without a filter file and a validator hook.
fn module_stack(hot_cache_bytes: u64, has_files: bool) -> Border<ModuleRequest, ModuleResponse> {
    module_stack_with(&telemetry(), hot_cache_bytes, has_files)
}

fn module_stack_with(
    telemetry: &Telemetry,
    hot_cache_bytes: u64,
    has_files: bool,
) -> Border<ModuleRequest, ModuleResponse> {
    let storage = storage(has_files);
    let policy = policy();
    let leaf = tower::service_fn(|_: Planned| ready(Ok::<_, Error>(file_answer())));
    Stack::new(telemetry)
        .push(LayerName::Versions, versions(storage.clone()))
        .push(LayerName::HotCache, HotCacheLayer::new(hot_cache_bytes, telemetry))
        .push(LayerName::Lookup, LookupLayer::new(storage, telemetry))
        .push(LayerName::MissLimit, LimitLayer::new("misses", 30, LONG))
        .push(
            LayerName::Negative,
            NegativeLayer::new(LONG, MissingPaths::new(LONG), Arc::clone(&policy), telemetry),
        )
        .push(LayerName::DownloadMode, DownloadModeLayer::new(policy))
        .over(LayerName::Dispatch, leaf)
}

/// Takes spans and drops them.
struct Nowhere;

impl SpanSink for Nowhere {
    fn take(&self, finished: FinishedTrace) {
        drop(black_box(finished));
    }
}

/// Traces as the program records them by default, of which this share is kept.
fn recording(fraction: f64) -> Telemetry {
    let (keeps_notable, slow) = (true, Some(Duration::from_secs(1)));
    let rules = KeepRules { fraction, follows_parents: true, keeps_notable, slow };
    telemetry().traced(Tracer::new(rules, Arc::new(Nowhere)))
}

/// A hit in a trace that begins and ends with it, as `request_context` and `access_log` have it.
fn recorded_hit(
    stack: &Border<ModuleRequest, ModuleResponse>,
    request: &ModuleRequest,
    telemetry: &Telemetry,
) -> impl Future<Output = ()> + use<> {
    let (mut request, started) = (request.clone(), Instant::now());
    let trace = telemetry.tracer.request(None, started);
    request.context.trace = trace.clone();
    let answer = stack.send(request);
    async move {
        let outcome = answer.await.map(|answer| answer.outcome).expect("a hit");
        let ended = Instant::now();
        let (name, error, is_loud) = (SpanName::Request(RouteName::Info), None, false);
        let end = RootEnd { name, outcome, error, is_loud, waited: ended - started, ended };
        trace.end(&end, |attributes| {
            attributes.push((SpanAttribute::Method, "GET".into()));
            attributes.push((SpanAttribute::Path, "/example.com/m/@v/v1.0.0.info".into()));
        });
    }
}

fn modules(criterion: &mut Criterion) {
    let group = &mut criterion.benchmark_group("module stack");
    let request = &module_request();
    let leaf = tower::service_fn(|_: ModuleRequest| ready(Ok::<_, Error>(file_answer())));
    bench_service(group, "bare leaf", &Border::new(leaf), request);
    bench_service(group, "hit in the hot cache", &module_stack(1 << 20, true), request);
    for (name, fraction) in [("recorded", 0.0), ("recorded and kept", 1.0)] {
        let stack = module_stack_with(&recording(fraction), 1 << 20, true);
        let telemetry = recording(fraction);
        bench(group, &format!("hit in the hot cache, {name}"), || {
            recorded_hit(&stack, request, &telemetry)
        });
    }
    bench_service(group, "hit in storage", &module_stack(0, true), request);
    bench_service(group, "miss, planned", &module_stack(0, false), request);
    let list = &ModuleRequest { ask: Ask::List, ..request.clone() };
    bench_service(group, "fresh list", &module_stack(1 << 20, true), list);
}

/// One key that is new for each iteration, wanted by so many at once; the fetch takes no time.
fn crowd(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("single flight");
    for followers in [0, 9, 99, 999] {
        group.throughput(Throughput::Elements(followers + 1));
        let name = format!("1 leader, {followers} followers");
        let runtime = runtime();
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|keys| together(&runtime, keys, followers + 1, false));
        });
    }
    group.throughput(Throughput::Elements(1000));
    let threads =
        Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    group.bench_function("1,000 tasks on two threads", |bencher| {
        bencher.iter_custom(|keys| together(&threads, keys, 1000, true));
    });
}

/// CPU time for `keys` crowds, one after the other; each crowd is `callers` requests for one key.
fn together(runtime: &Runtime, keys: u64, callers: u64, in_tasks: bool) -> Duration {
    let led = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&led);
    let leaf = tower::service_fn(move |_: StashRequest| {
        counter.fetch_add(1, Ordering::Relaxed);
        async {
            // Whoever is there already joins before the flight lands.
            tokio::task::yield_now().await;
            let (version, files, finished) = (version(), Files::default(), Finished::now());
            let (outcome, forward) = (Outcome::MissLeader, Forward::default());
            Ok::<_, Error>(Stashed { version, files, outcome, forward, finished })
        }
    });
    let service = SingleFlightLayer::new(LONG, TaskTracker::new(), &telemetry()).layer(leaf);
    let elapsed = runtime.block_on(async {
        let before = cpu_time();
        for number in 0..keys {
            let key = StashKey {
                module: module(),
                version: VersionQuery::parse(&format!("v1.0.{number}")).expect("a version"),
                want: Want::File(FileKind::Zip),
            };
            let request = StashRequest { context: context(), key };
            let call = || service.clone().call(request.clone());
            if in_tasks {
                let tasks = (0..callers).map(|_| tokio::spawn(call()));
                for answer in join_all(tasks).await {
                    answer.expect("no panic").expect("stashed");
                }
            } else {
                for answer in join_all((0..callers).map(|_| call())).await {
                    answer.expect("stashed");
                }
            }
        }
        cpu_time().saturating_sub(before)
    });
    let led = led.load(Ordering::Relaxed);
    // On two threads a caller may come when the flight is over, and leads one of its own.
    assert!(if in_tasks { led >= keys } else { led == keys }, "{led} fetches for {keys} keys");
    elapsed
}

criterion_group!(benches, modules, crowd);
criterion_main!(benches);
