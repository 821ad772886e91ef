//! The store answers, late, slowly, or in part.

use dipylon_testkit::module::FakeModule;
use serde_json::json;

use crate::backend::Backend;
use crate::world::{MODULE, World, bytes_of, path_of};

/// Bytes after which a line is cut.
const CUT_AFTER_BYTES: u64 = 200_000;
/// Bytes of a zip that does not fit through it.
const LARGE_BYTES: usize = 2 << 20;

/// A store that is far away.
pub(crate) async fn latency(backend: Backend) {
    let stored = FakeModule::new(MODULE, "v1.0.0");
    let world = World::holding(backend, &stored).await;
    world.line.poison("latency", "downstream", &json!({ "latency": 300, "jitter": 50 }));
    world.files(&stored, &["hit_storage"]).await;
    let new = FakeModule::new(MODULE, "v1.1.0").filler(100_000);
    world.upstream.add(new.clone());
    world.until_stored(&new).await;
    assert_eq!(world.get("/readyz").await.status, 200);
}

/// The line breaks in the middle of a zip, out of the store and into it.
pub(crate) async fn cut_in_the_middle(backend: Backend) {
    let stored = FakeModule::new(MODULE, "v1.0.0").filler(LARGE_BYTES);
    let world = World::holding(backend, &stored).await;
    world.line.poison("limit_data", "downstream", &json!({ "bytes": CUT_AFTER_BYTES }));
    let answer = world.get(&path_of(&stored, "zip")).await;
    let want = bytes_of(&stored, "zip");
    assert_eq!(answer.status, 200, "{}", answer.text());
    match answer.truncated {
        true => assert!(want.starts_with(&answer.body), "a wrong byte"),
        false => assert!(answer.body == want, "a whole answer with a wrong byte"),
    }
    world.line.cure("limit_data");
    world.until_ready().await;
    world.until_stored(&stored).await;

    world.line.poison("limit_data", "upstream", &json!({ "bytes": CUT_AFTER_BYTES }));
    let new = FakeModule::new(MODULE, "v1.1.0").filler(LARGE_BYTES);
    world.upstream.add(new.clone());
    // The save breaks behind the answer.
    world.file(&new, "zip").await;
    world.line.cure("limit_data");
    world.until_ready().await;
    world.until_stored(&new).await;
}

/// A line that is all but dead. From the store or from upstream, what comes is right.
pub(crate) async fn one_kilobyte_a_second(backend: Backend) {
    let stored = FakeModule::new(MODULE, "v1.0.0");
    let world = World::holding(backend, &stored).await;
    world.line.poison("bandwidth", "downstream", &json!({ "rate": 1 }));
    let new = FakeModule::new(MODULE, "v1.1.0");
    world.upstream.add(new.clone());
    let either = &["hit_storage", "miss_leader", "miss_follower", "miss_degraded"];
    tokio::join!(world.files(&stored, either), world.files(&new, either));
    world.line.cure("bandwidth");
    world.until_ready().await;
    world.until_stored(&stored).await;
    world.until_stored(&new).await;
}
