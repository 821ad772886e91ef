//! A store that answers "no such object" for a while after it took one, as some replicated stores do.

use std::time::{Duration, Instant};

use dipylon_testkit::module::FakeModule;

use crate::backend::Backend;
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

over! { reads_that_lag_behind_writes: minio, s3, s3_of_versitygw, azureblob, external }
