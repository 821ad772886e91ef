//! The store cannot be reached: upstream answers, checked and not kept, until it is back.

use std::time::{Duration, Instant};

use dipylon_testkit::module::FakeModule;
use serde_json::json;

use crate::backend::Backend;
use crate::world::{MODULE, World, path_of};
use dipylon_testkit::services::line::Line;

/// What an answer may take while the store is left alone, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(4);
/// What a list may take that meets a store that swallows everything, before anybody knows: 10 s, on a busy
/// machine.
const FIRST_NOTICE: Duration = Duration::from_secs(30);

/// In the store before anything goes wrong.
fn stored() -> FakeModule {
    FakeModule::new(MODULE, "v1.0.0").filler(50_000)
}

/// First asked for while the store is in trouble.
fn new() -> FakeModule {
    FakeModule::new(MODULE, "v1.1.0").filler(50_000)
}

pub(crate) async fn server_down_in_mid_flight(backend: Backend) {
    outage(backend, Line::down, Line::up).await;
}

/// Connections stand, and nothing comes of what is sent.
pub(crate) async fn black_hole(backend: Backend) {
    let swallow = |line: &Line| {
        line.poison("timeout", "downstream", &json!({ "timeout": 0 }));
    };
    outage(backend, swallow, |line| line.cure("timeout")).await;
}

async fn outage(backend: Backend, fault: impl Fn(&Line), heal: impl Fn(&Line)) {
    let world = World::holding(backend, &stored()).await;
    world.upstream.add(new());
    fault(&world.line);
    let began = Instant::now();
    let list = world.get(&format!("/{MODULE}/@v/list")).await;
    assert_eq!((list.status.as_u16(), list.text()), (200, "v1.0.0\nv1.1.0\n"));
    assert!(began.elapsed() < FIRST_NOTICE, "a list waits for the store: {:?}", began.elapsed());
    // All at once, so that a store that swallows everything is waited for once.
    let (stored, new) = (stored(), new());
    let degraded = &["miss_degraded"];
    tokio::join!(world.files(&stored, degraded), world.files(&new, degraded));
    world.assert_not_ready().await;
    nothing_is_said_to_be_absent(&world).await;

    // Directly after a failed check nobody is let through.
    world.assert_not_ready().await;
    let began = Instant::now();
    assert_eq!(world.file(&stored, "info").await, "miss_degraded");
    assert!(began.elapsed() < AT_ONCE, "an outage costs a request nothing: {:?}", began.elapsed());
    let metrics = world.gateway.metrics().await;
    assert_eq!(metrics.metric("dipylon_storage_breaker_open").sum(), 1.0);

    heal(&world.line);
    world.until_ready().await;
    world.files(&stored, &["hit_storage"]).await;
    world.until_stored(&new).await;
    let metrics = world.gateway.metrics().await;
    assert_eq!(metrics.metric("dipylon_storage_breaker_open").sum(), 0.0);
}

/// Upstream does not know the version; the store might.
async fn nothing_is_said_to_be_absent(world: &World) {
    let absent = FakeModule::new(MODULE, "v1.9.9");
    for suffix in ["info", "mod", "zip"] {
        let answer = world.get(&path_of(&absent, suffix)).await;
        assert_eq!(answer.status, 503, "{suffix}: {}", answer.text());
        world.assert_named(answer.text());
    }
    let list = world.get(&format!("/{MODULE}/@v/list")).await;
    assert_eq!((list.status.as_u16(), list.text()), (200, "v1.0.0\nv1.1.0\n"));
    let unknown = world.get("/example.com/unknown/@v/list").await;
    assert!(unknown.status.is_server_error(), "{}: {}", unknown.status, unknown.text());
}

pub(crate) async fn server_down_at_start(backend: Backend) {
    let world = World::start(backend, Line::down).await;
    let new = new();
    world.upstream.add(new.clone());
    world.files(&new, &["miss_degraded"]).await;
    world.assert_not_ready().await;
    world.line.up();
    world.until_ready().await;
    world.until_stored(&new).await;
}

/// Nobody else may be asked: a clear 503, and never "not found".
pub(crate) async fn offline_with_the_server_down(backend: Backend) {
    let mut world = World::holding(backend, &stored()).await;
    world.restart(&[("ATHENS_NETWORK_MODE", "offline")]).await;
    let stored = stored();
    world.files(&stored, &["hit_storage"]).await;
    let asked = world.upstream.total();
    world.line.down();
    for module in [&stored, &new()] {
        for suffix in ["info", "mod", "zip"] {
            let answer = world.get(&path_of(module, suffix)).await;
            assert_eq!(answer.status, 503, "{suffix}: {}", answer.text());
            world.assert_named(answer.text());
        }
    }
    for path in [format!("/{MODULE}/@v/list"), format!("/{MODULE}/@latest"), "/catalog".to_owned()]
    {
        let answer = world.get(&path).await;
        assert_eq!(answer.status, 503, "{path}: {}", answer.text());
        world.assert_named(answer.text());
    }
    assert_eq!(world.upstream.total(), asked, "offline is offline");
    world.line.up();
    world.until_ready().await;
    world.files(&stored, &["hit_storage"]).await;
}
