//! The far store cannot be reached: its breaker is its alone, and what is near is served.

use std::time::{Duration, Instant};

use dipylon_testkit::module::FakeModule;

use crate::backend::Backend;
use crate::world::{MODULE, World, path_of};

/// What an answer may take that needs nothing of the far store, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(4);
/// Enough calls in a row that fail to open a breaker, and some more.
const MANY: usize = 12;

async fn what_is_near_is_served_while_the_far_store_is_left_alone(backend: Backend) {
    let near = tempfile::tempdir().unwrap();
    let near_path = near.path().to_str().unwrap().to_owned();
    let stored = FakeModule::new(MODULE, "v1.0.0").filler(50_000);
    let far_only = FakeModule::new(MODULE, "v0.9.0").filler(50_000);
    let mut world = World::holding(backend, &stored).await;
    world.upstream.add(far_only.clone());
    world.until_stored(&far_only).await;
    let tiered =
        [("DIPYLON_TIERED_DIRECTORY", &*near_path), ("DIPYLON_TIERED_MAX_BYTES", "67108864")];
    world.restart(&tiered).await;
    world.files(&stored, &["hit_storage"]).await;
    world.until_metric("dipylon_tier_files", 3.0).await;

    world.line.down();
    let absent = FakeModule::new(MODULE, "v1.9.9");
    for _ in 0..MANY {
        let answer = world.get(&path_of(&absent, "zip")).await;
        assert_eq!(answer.status, 503, "{}", answer.text());
    }
    // What is found near in between says nothing of the far store: the breaker is open, and stays so.
    for _ in 0..MANY {
        let began = Instant::now();
        world.files(&stored, &["hit_storage"]).await;
        assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    }
    world.files(&far_only, &["miss_degraded"]).await;
    let metrics = world.gateway.metrics().await;
    assert_eq!(metrics.metric("dipylon_storage_breaker_open").sum(), 1.0);
    assert_eq!(metrics.metric("dipylon_tier_far_failing").sum(), 1.0);
    world.assert_not_ready().await;

    world.line.up();
    world.until_ready().await;
    world.files(&far_only, &["hit_storage"]).await;
    let metrics = world.gateway.metrics().await;
    assert_eq!(metrics.metric("dipylon_storage_breaker_open").sum(), 0.0);
    assert_eq!(metrics.metric("dipylon_tier_far_failing").sum(), 0.0);
}

over! { what_is_near_is_served_while_the_far_store_is_left_alone: minio, external }
