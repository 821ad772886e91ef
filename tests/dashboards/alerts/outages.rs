//! Scenes in which something that a gateway leans on is gone or slow; and one in which a gateway is gone itself.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dipylon_middleware::breaker::state::STORAGE_FAILURES_TO_OPEN;
use dipylon_testkit::gateway::Gateway;
use dipylon_testkit::services::redis::{PASSWORD, RedisServer};
use dipylon_testkit::upstream::{Fault, When};
use rustix::process::Signal;
use serde_json::json;

use super::scene::{Scene, ask_well};
use crate::collector::Collector;
use crate::load::{count, fresh, path, until};
use crate::store::Store;
use crate::world::World;
use dipylon_testkit::services::line::Line;

/// The toxic that makes a line slow, and by how many milliseconds.
const LATENCY: &str = "latency";
const LATE_MILLIS: u64 = 1_500;
/// Reads at a time of a store that is slow, so that some end within every range.
const READERS: usize = 6;

/// A gateway answers nobody.
pub(super) struct Down(World);

impl Down {
    pub(super) async fn start() -> Self {
        Self(World::start(&[]).await)
    }
}

impl Scene for Down {
    /// The alert asks for this name.
    const JOB: &'static str = crate::prometheus::JOB;
    const ALERTS: &'static [&'static str] = &["DipylonDown"];

    fn gateway(&self) -> &Gateway {
        &self.0.gateway
    }

    async fn well(&self, _: usize) {
        ask_well(&self.0).await;
    }

    async fn spoil(&mut self) {
        self.0.gateway.signal(Signal::STOP);
    }

    async fn ill(&self, _: usize) {}

    async fn mend(&mut self) {
        self.0.gateway.signal(Signal::CONT);
    }
}

/// The lock service dies while a lock is held.
pub(super) struct Locks {
    world: World,
    redis: RedisServer,
}

impl Locks {
    pub(super) async fn start() -> Self {
        let redis = RedisServer::start();
        let settings = [
            ("ATHENS_SINGLE_FLIGHT_TYPE", "redis"),
            ("ATHENS_REDIS_ENDPOINT", &redis.address().to_string()),
            ("ATHENS_REDIS_PASSWORD", PASSWORD),
            ("ATHENS_REDIS_LOCK_MAX_RETRIES", "2"),
            ("DIPYLON_LOCK_LEASE", "2"),
            ("DIPYLON_LOCK_RENEWAL", "1"),
        ];
        Self { world: World::start(&settings).await, redis }
    }
}

impl Scene for Locks {
    const JOB: &'static str = "locks";
    const ALERTS: &'static [&'static str] = &["DipylonLocksLost", "DipylonLockDegraded"];

    fn gateway(&self) -> &Gateway {
        &self.world.gateway
    }

    async fn well(&self, _: usize) {
        ask_well(&self.world).await;
    }

    async fn spoil(&mut self) {
        let held = fresh(&self.world, "held", 0);
        let zip = path(&held, "zip");
        let slow = Fault::Trickle { bytes_per_tick: 1_000, tick: Duration::from_millis(300) };
        self.world.upstream.fault(When::path(&zip), slow);
        let client = self.world.gateway.client();
        // Its end is of no interest: the lock under it is lost before.
        tokio::spawn(async move { client.get(&zip).await.status });
        let renewed = [("operation", "renew"), ("result", "done")];
        until("a lock is renewed", async || {
            count(&self.world, "dipylon_lock_operations_total", &renewed).await > 0.0
        })
        .await;
        self.redis.stop();
    }

    async fn ill(&self, round: usize) {
        let without = fresh(&self.world, "without", round);
        assert_eq!(self.world.gateway.get(&path(&without, "zip")).await.status, 200);
    }

    async fn mend(&mut self) {
        self.redis.restart();
    }
}

/// Nobody listens where the store was. It is a far store: a near tier stands before it.
pub(super) struct StoreGone {
    world: World,
    store: Store,
}

impl StoreGone {
    pub(super) async fn start() -> Self {
        let store = Store::start().await;
        let url = store.url();
        let settings =
            [("ATHENS_STORAGE_TYPE", "external"), ("ATHENS_EXTERNAL_STORAGE_URL", url.as_str())];
        Self { world: World::start(&settings).await, store }
    }
}

impl Scene for StoreGone {
    const JOB: &'static str = "store-gone";
    const ALERTS: &'static [&'static str] =
        &["DipylonStorageFails", "DipylonStorageLeftAlone", "DipylonFarStoreFails"];

    fn gateway(&self) -> &Gateway {
        &self.world.gateway
    }

    async fn well(&self, round: usize) {
        ask_well(&self.world).await;
        let new = fresh(&self.world, "new", round);
        assert_eq!(self.world.gateway.get(&path(&new, "info")).await.status, 200);
        // What a balancer asks: it is what finds that a store is back.
        self.world.gateway.get("/readyz").await;
    }

    async fn spoil(&mut self) {
        self.store.stop().await;
        for round in 0..STORAGE_FAILURES_TO_OPEN as usize {
            self.ill(round).await;
        }
    }

    async fn ill(&self, round: usize) {
        let homeless = fresh(&self.world, "homeless", round);
        assert_eq!(self.world.gateway.get(&path(&homeless, "zip")).await.status, 200);
        assert_eq!(self.world.gateway.get("/readyz").await.status, 503);
    }

    async fn mend(&mut self) {
        self.store.restart().await;
    }
}

/// The line to the collector of traces is cut.
pub(super) struct Traces {
    world: World,
    line: Line,
    _collector: Collector,
}

impl Traces {
    pub(super) async fn start() -> Self {
        let collector = Collector::start().await;
        let line = Line::to(collector.url("grpc").trim_start_matches("http://"));
        let url = format!("http://{}", line.address);
        let settings = [
            ("ATHENS_TRACE_EXPORTER", "otlp"),
            ("ATHENS_TRACE_EXPORTER_URL", url.as_str()),
            ("DIPYLON_OTLP_PROTOCOL", "grpc"),
        ];
        Self { world: World::start(&settings).await, line, _collector: collector }
    }
}

impl Scene for Traces {
    const JOB: &'static str = "traces";
    const ALERTS: &'static [&'static str] = &["DipylonTracesLost"];

    fn gateway(&self) -> &Gateway {
        &self.world.gateway
    }

    /// Misses: their traces are kept.
    async fn well(&self, round: usize) {
        ask_well(&self.world).await;
        let new = fresh(&self.world, "new", round);
        assert_eq!(self.world.gateway.get(&path(&new, "info")).await.status, 200);
    }

    async fn spoil(&mut self) {
        self.line.down();
    }

    /// No client notices.
    async fn ill(&self, round: usize) {
        self.well(round).await;
    }

    async fn mend(&mut self) {
        self.line.up();
    }
}

/// A store that answers late.
pub(super) struct SlowStore {
    world: World,
    line: Line,
    number: AtomicUsize,
    _store: Store,
}

impl SlowStore {
    pub(super) async fn start() -> Self {
        let store = Store::start().await;
        let line = Line::to(store.url().trim_start_matches("http://"));
        let url = format!("http://{}", line.address);
        let settings = [
            ("ATHENS_STORAGE_TYPE", "external"),
            ("ATHENS_EXTERNAL_STORAGE_URL", url.as_str()),
            ("DIPYLON_TIERED_DIRECTORY", ""),
            ("DIPYLON_HOT_CACHE_BYTES", "0"),
        ];
        let world = World::start(&settings).await;
        Self { world, line, number: AtomicUsize::new(0), _store: store }
    }
}

impl Scene for SlowStore {
    const JOB: &'static str = "slow-store";
    const ALERTS: &'static [&'static str] = &["DipylonStorageSlow"];

    fn gateway(&self) -> &Gateway {
        &self.world.gateway
    }

    async fn well(&self, _: usize) {
        ask_well(&self.world).await;
    }

    async fn spoil(&mut self) {
        self.line.poison(LATENCY, "downstream", &json!({ "latency": LATE_MILLIS }));
    }

    async fn ill(&self, _: usize) {
        let reader = async || {
            let number = self.number.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(50 * (number % READERS) as u64)).await;
            ask_well(&self.world).await;
        };
        futures::future::join_all((0..READERS).map(|_| reader())).await;
    }

    async fn mend(&mut self) {
        self.line.cure(LATENCY);
    }
}
