//! The layers of a miss: around a stash, and around an upstream.

use std::future::ready;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use criterion::Criterion;
use dipylon_middleware::Error;
use dipylon_middleware::breaker::BreakerLayer;
use dipylon_middleware::budget::Rate;
use dipylon_middleware::forward::Forward;
use dipylon_middleware::hedge::HedgeLayer;
use dipylon_middleware::limit::LimitLayer;
use dipylon_middleware::lock::{LockLayer, LockLimits};
use dipylon_middleware::pace::PaceLayer;
use dipylon_middleware::pool::PoolLayer;
use dipylon_middleware::ports::{
    Acquired, BoxFuture, Fetched, Lock, LockClaim, LockError, Payload, StorageCall, StorageReply,
};
use dipylon_middleware::purge::Purges;
use dipylon_middleware::request::{
    FetchAsk, FetchRequest, StashKey, StashRequest, StorageRequest, Want,
};
use dipylon_middleware::response::{Files, Finished, Stashed};
use dipylon_middleware::retry::RetryLayer;
use dipylon_middleware::single_flight::SingleFlightLayer;
use dipylon_middleware::stack::{Border, Stage};
use dipylon_middleware::telemetry::Outcome;
use dipylon_protocol::{FileKind, VersionQuery};
use tokio_util::task::TaskTracker;
use tower::Layer as _;

use crate::support::{LONG, bench_service, context, module, storage, telemetry, version};

/// A stash that is over at once.
pub(crate) fn stashed() -> impl Stage<StashRequest, Reply = Stashed> {
    tower::service_fn(|_: StashRequest| {
        let (version, files, finished) = (version(), Files::default(), Finished::now());
        let (outcome, forward) = (Outcome::MissLeader, Forward::default());
        ready(Ok::<_, Error>(Stashed { version, files, outcome, forward, finished }))
    })
}

pub(crate) fn stash(criterion: &mut Criterion) {
    let group = &mut criterion.benchmark_group("layers stash");
    let telemetry = telemetry();
    let want = Want::File(FileKind::Zip);
    let key = StashKey { module: module(), version: VersionQuery::Version(version()), want };
    let request = &StashRequest { context: context(), key };
    bench_service(group, "bare leaf", &stashed(), request);
    let single_flight = SingleFlightLayer::new(LONG, TaskTracker::new(), &telemetry);
    bench_service(group, "single_flight", &single_flight.layer(stashed()), request);
    let second = Duration::from_secs(1);
    let limits = LockLimits {
        lease: 10 * second,
        renewal: 3 * second,
        poll: second / 4,
        ttl: LONG,
        timeout: 15 * second,
        max_retries: 10,
    };
    let lock = Arc::new(Free(AtomicU64::new(1)));
    let (purges, tasks) = (Purges::default(), TaskTracker::new());
    let lock = LockLayer::new(lock, limits, LONG, storage(false), purges, tasks, &telemetry);
    bench_service(group, "lock", &lock.layer(stashed()), request);
    bench_service(group, "pool", &PoolLayer::new(10).layer(stashed()), request);
}

/// A lock service that gives every lock at once, without a network in between.
struct Free(AtomicU64);

impl Lock for Free {
    fn kind(&self) -> &'static str {
        "free"
    }

    fn acquire<'a>(&'a self, _: &'a LockClaim) -> BoxFuture<'a, Result<Acquired, LockError>> {
        let fencing = self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(ready(Ok(Acquired::Granted { fencing })))
    }

    fn renew<'a>(&'a self, _: &'a LockClaim) -> BoxFuture<'a, Result<bool, LockError>> {
        Box::pin(ready(Ok(true)))
    }

    fn release<'a>(&'a self, _: &'a LockClaim) -> BoxFuture<'a, Result<bool, LockError>> {
        Box::pin(ready(Ok(true)))
    }

    fn check(&self) -> BoxFuture<'_, Result<(), LockError>> {
        Box::pin(ready(Ok(())))
    }
}

fn fetched() -> impl Stage<FetchRequest, Reply = Fetched> {
    let upstream: Arc<str> = "upstream".into();
    tower::service_fn(move |_: FetchRequest| {
        let payload = Payload::Bytes("v1.0.0\n".into());
        ready(Ok::<_, Error>(Fetched {
            payload,
            upstream: Arc::clone(&upstream),
            cache_status: None,
        }))
    })
}

pub(crate) fn upstream(criterion: &mut Criterion) {
    let group = &mut criterion.benchmark_group("layers upstream");
    let telemetry = telemetry();
    let request = &FetchRequest::new(context(), module(), FetchAsk::List);
    bench_service(group, "bare leaf", &fetched(), request);
    let breaker = BreakerLayer::upstream("upstream".into(), &telemetry);
    bench_service(group, "breaker", &breaker.layer(fetched()), request);
    bench_service(group, "retry", &RetryLayer::new(3, &telemetry).layer(fetched()), request);
    bench_service(
        group,
        "hedge",
        &HedgeLayer::new(LONG, Border::new(fetched()), &telemetry).layer(fetched()),
        request,
    );
    let pace = PaceLayer::new("host".into(), None, &telemetry);
    bench_service(group, "pace", &pace.layer(pace.gate().layer(fetched())), request);
    // So fast that no call waits.
    let rate = Rate { per_second: NonZeroU32::MAX, burst: NonZeroU32::MAX };
    let pace = PaceLayer::new("host".into(), Some(rate), &telemetry);
    bench_service(group, "pace, with a rate", &pace.layer(pace.gate().layer(fetched())), request);
}

pub(crate) fn stored(criterion: &mut Criterion) {
    let group = &mut criterion.benchmark_group("layers storage");
    let telemetry = telemetry();
    let leaf = tower::service_fn(|_: StorageRequest| ready(Ok::<_, Error>(StorageReply::Done)));
    let request = &StorageRequest { context: context(), operation: StorageCall::Check };
    bench_service(group, "bare leaf", &leaf, request);
    let breaker = BreakerLayer::storage("bench", &telemetry);
    bench_service(group, "breaker", &breaker.layer(leaf), request);
    bench_service(group, "retry", &RetryLayer::new(3, &telemetry).layer(leaf), request);
    let limit = LimitLayer::new("storage calls", 512, LONG);
    bench_service(group, "limit", &limit.layer(leaf), request);
}
