//! What a miss pays for its lock: to acquire one that is free, on real servers. Giving it back is off the path.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::Criterion;
use dipylon::config::{
    Endpoints, EtcdLock as EtcdKeys, LockConfig, RedisLock as RedisKeys, Secret, UrlText,
};
use dipylon::lock::etcd::{EtcdLock, Members};
use dipylon::lock::redis::{RedisLock, Servers};
use dipylon_middleware::ports::{Acquired, Lock, LockClaim};
use tokio::runtime::Runtime;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// As the settings have it where nobody changed them.
const LEASE: Duration = Duration::from_secs(10);

/// What a kind is called, and the variable that says where its servers are.
const KINDS: [(&str, &str); 3] = [
    ("redis", "DIPYLON_TEST_REDIS"),
    ("etcd", "DIPYLON_TEST_ETCD"),
    ("etcd, three members", "DIPYLON_TEST_ETCD3"),
];

fn open(kind: &str, server: &str) -> Arc<dyn Lock> {
    if kind != "redis" {
        let endpoints = Endpoints(server.split(',').map(UrlText::new).collect());
        let members = Members::of(&EtcdKeys { endpoints }).expect("addresses");
        return Arc::new(EtcdLock::open(members, LEASE));
    }
    let keys = RedisKeys {
        endpoint: UrlText::new(server),
        password: Secret::default(),
        cluster: false,
        lock_config: LockConfig { ttl: LEASE, timeout: LEASE, max_retries: 1 },
    };
    Arc::new(RedisLock::open("redis", Servers::of(&keys).expect("an address"), LEASE))
}

/// How long so many locks took to acquire, each of a version that nobody has locked before.
async fn acquire(lock: &dyn Lock, count: u64) -> Duration {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let mut took = Duration::ZERO;
    for _ in 0..count {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let key = format!("example.com/bench@v0.{}.{number}", std::process::id()).into();
        let claim = LockClaim { key, owner: "bench".into() };
        let began = Instant::now();
        let acquired = lock.acquire(&claim).await.expect("an answer");
        took += began.elapsed();
        assert!(matches!(acquired, Acquired::Granted { .. }), "{acquired:?}");
        assert_eq!(lock.release(&claim).await, Ok(true));
    }
    took
}

fn locks(bench: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let mut group = bench.benchmark_group("acquire on a miss");
    for (kind, variable) in KINDS {
        let Ok(server) = std::env::var(variable) else {
            println!(
                "LEFT OUT: acquire on a miss {kind}: {variable} does not say where its server is"
            );
            continue;
        };
        let _inside = runtime.enter();
        let lock = open(kind, &server);
        // The first connects.
        runtime.block_on(acquire(&*lock, 1));
        group.bench_function(kind, |bench| {
            bench.iter_custom(|count| runtime.block_on(acquire(&*lock, count)));
        });
        runtime.block_on(lock.close());
    }
    group.finish();
}

criterion::criterion_group!(benches, locks);
criterion::criterion_main!(benches);
