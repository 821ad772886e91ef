//! Layers together: the module stack, and single flight when many want the same.

#[path = "../support/mod.rs"]
mod support;

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dipylon_middleware::Error;
use dipylon_middleware::download_mode::DownloadModeLayer;
use dipylon_middleware::hot_cache::HotCacheLayer;
use dipylon_middleware::limit::LimitLayer;
use dipylon_middleware::lookup::LookupLayer;
use dipylon_middleware::missing_paths::MissingPaths;
use dipylon_middleware::negative::NegativeLayer;
use dipylon_middleware::request::{Ask, ModuleRequest, Planned, StashKey, StashRequest, Want};
use dipylon_middleware::response::{Files, Finished, ModuleResponse, Stashed};
use dipylon_middleware::single_flight::SingleFlightLayer;
use dipylon_middleware::stack::{Border, Stack};
use dipylon_middleware::telemetry::{LayerName, Outcome};
use dipylon_protocol::{FileKind, VersionQuery};
use futures::future::join_all;
use tokio::runtime::{Builder, Runtime};
use tokio_util::task::TaskTracker;
use tower::{Layer as _, Service as _};

use support::{
    LONG, bench_service, context, cpu_time, file_answer, module, module_request, policy, runtime,
    storage, telemetry, version, versions,
};

/// As the program puts it together without a filter file and a validator hook.
fn module_stack(hot_cache_bytes: u64, has_files: bool) -> Border<ModuleRequest, ModuleResponse> {
    let telemetry = telemetry();
    let storage = storage(has_files);
    let policy = policy();
    let leaf = tower::service_fn(|_: Planned| ready(Ok::<_, Error>(file_answer())));
    Stack::new(&telemetry)
        .push(LayerName::Versions, versions(storage.clone()))
        .push(LayerName::HotCache, HotCacheLayer::new(hot_cache_bytes, &telemetry))
        .push(LayerName::Lookup, LookupLayer::new(storage, &telemetry))
        .push(LayerName::MissLimit, LimitLayer::new("misses", 30, LONG))
        .push(
            LayerName::Negative,
            NegativeLayer::new(LONG, MissingPaths::new(LONG), Arc::clone(&policy), &telemetry),
        )
        .push(LayerName::DownloadMode, DownloadModeLayer::new(policy))
        .over(LayerName::Dispatch, leaf)
}

fn modules(criterion: &mut Criterion) {
    let group = &mut criterion.benchmark_group("module stack");
    let request = &module_request();
    let leaf = tower::service_fn(|_: ModuleRequest| ready(Ok::<_, Error>(file_answer())));
    bench_service(group, "bare leaf", &Border::new(leaf), request);
    bench_service(group, "hit in the hot cache", &module_stack(1 << 20, true), request);
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
            Ok::<_, Error>(Stashed { version, files, outcome: Outcome::MissLeader, finished })
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
