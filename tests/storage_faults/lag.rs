//! A store that answers "no such object" for a while after it took one, as some replicated stores do.

use std::time::{Duration, Instant};

use dipylon_testkit::module::FakeModule;

use crate::backend::{self, Backend};
use crate::relay::Relay;
use crate::world::{MODULE, World};

/// How long an object cannot be read after it was written first.
const LAG: Duration = Duration::from_secs(2);
/// How long clients ask meanwhile.
const ASKED_FOR: Duration = Duration::from_secs(5);

/// Until the store shows it, a version is a miss: fetched, right, and in the end there.
async fn reads_that_lag_behind_writes(mut backend: Backend) {
    let lagging = Relay::lagging(&backend.server, LAG).await;
    backend.server = lagging.address.to_string();
    let world = World::start(backend, |_| {}).await;
    let module = FakeModule::new(MODULE, "v1.0.0").filler(50_000);
    world.upstream.add(module.clone());
    let any = &["hit_storage", "miss_leader", "miss_follower", "miss_degraded"];
    let began = Instant::now();
    while began.elapsed() < ASKED_FOR {
        world.files(&module, any).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    world.until_stored(&module).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs toxiproxy, minio: run by cargo xtask test"]
async fn on_minio() {
    reads_that_lag_behind_writes(backend::minio().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs toxiproxy, minio: run by cargo xtask test"]
async fn on_s3() {
    reads_that_lag_behind_writes(backend::s3().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs toxiproxy, versitygw: run by cargo xtask test"]
async fn on_s3_of_versitygw() {
    reads_that_lag_behind_writes(backend::s3_of_versitygw().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs toxiproxy, azurite: run by cargo xtask test"]
async fn on_azureblob() {
    reads_that_lag_behind_writes(backend::azureblob().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs toxiproxy: run by cargo xtask test"]
async fn on_external() {
    reads_that_lag_behind_writes(backend::external().await).await;
}
