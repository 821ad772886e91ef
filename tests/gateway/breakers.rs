//! Who is left alone when upstreams fail: one host, one upstream there, and nobody else.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dipylon_middleware::breaker::state::UPSTREAM_FAILURES_TO_OPEN;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::{Fault, Upstream, When};

use crate::policy_file::{FETCHES, fetches, rewrite, with_file};
use crate::world::{Setup, VERSION, World, outcome, path_of, sick, until};

#[tokio::test]
async fn an_upstream_of_two_patterns_has_one_breaker_which_goes_with_the_file() {
    let shared = Upstream::start().await;
    shared.fault(When::prefix("/"), sick());
    let block = |name: &str| {
        let url = shared.url();
        format!(
            "download \"example.com/{name}\" {{\n  mode = \"sync\"\n  upstreams = {url:?}\n}}\n"
        )
    };
    let text = format!("{FETCHES}{}{}", block("one"), block("two"));
    let setup = Setup::disk().env("DIPYLON_UPSTREAM_ATTEMPTS", "1");
    let mut world = with_file(setup, &text).start().await;
    for patch in 0..UPSTREAM_FAILURES_TO_OPEN {
        let path = path_of("example.com/one", &format!("v1.0.{patch}"), "info");
        world.get_refused(&path, 502, &["the upstream is sick"]).await;
    }
    let other = path_of("example.com/two", VERSION, "info");
    let left_alone = world.get_refused(&other, 503, &["left alone"]).await;
    assert_eq!((outcome(&left_alone), shared.count(&other)), ("upstream_unavailable", 0));
    assert_eq!(open(&world, "upstream").await, 1.0);
    // A file that names it still leaves it alone; one that does not forgets it.
    rewrite(&mut world, &format!("# other\n{text}"), "applied").await;
    // Refused, or the one call that is let through after a while: a new breaker would be closed after either.
    let sick_or_left_alone = world.get(&other).await.status;
    assert!(sick_or_left_alone == 502 || sick_or_left_alone == 503, "{sick_or_left_alone}");
    assert_eq!(open(&world, "upstream").await, 1.0);
    rewrite(&mut world, FETCHES, "applied").await;
    until("it is forgotten", async || open(&world, "upstream").await == 0.0).await;
}

async fn open(world: &World, scope: &str) -> f64 {
    let metrics = world.metrics().await;
    metrics.metric("dipylon_upstream_breakers_open").label("scope", scope).sum()
}

#[tokio::test]
async fn a_host_that_cannot_be_reached_is_left_alone_by_all_that_ask_something_of_it() {
    let gone = Upstream::start().await;
    let block = |name: &str| {
        let url = format!("{}/{name}", gone.url());
        format!(
            "download \"example.com/{name}\" {{\n  mode = \"sync\"\n  upstreams = {url:?}\n}}\n"
        )
    };
    let text = format!("{FETCHES}{}{}", block("one"), block("two"));
    let setup = Setup::disk().env("DIPYLON_UPSTREAM_ATTEMPTS", "1");
    let world = with_file(setup, &text).start().await;
    gone.stop();
    for patch in 0..UPSTREAM_FAILURES_TO_OPEN {
        let path = path_of("example.com/one", &format!("v1.0.{patch}"), "info");
        world.get_refused(&path, 502, &["cannot reach upstream"]).await;
    }
    assert_eq!((open(&world, "host").await, open(&world, "upstream").await), (1.0, 1.0));
    let other = path_of("example.com/two", VERSION, "info");
    let left_alone = world.get_refused(&other, 503, &["left alone"]).await;
    assert_eq!(outcome(&left_alone), "upstream_unavailable");
    assert!(fetches(&world, "other").await, "another host is another");
}

#[tokio::test]
async fn the_next_entry_answers_where_the_first_of_the_same_host_fails_alone() {
    let host = Upstream::start().await;
    let list = format!("{0}/sick|{0}", host.url());
    let setup = Setup::disk().env("DIPYLON_UPSTREAM_ATTEMPTS", "1").env("GOPROXY", &list);
    let setup = setup.env("GONOSUMDB", "example.com");
    let world = with_file(setup, FETCHES).start().await;
    host.fault(When::prefix("/sick/example.com/"), sick());
    let add = |patch: u32| {
        let version = format!("v1.0.{patch}");
        host.add(FakeModule::new("example.com/lib", &version));
        path_of("example.com/lib", &version, "mod")
    };
    let mut paths: Vec<String> = (0..3 * UPSTREAM_FAILURES_TO_OPEN).map(add).collect();
    let last = paths.split_off(2 * UPSTREAM_FAILURES_TO_OPEN as usize);
    let all = futures::future::join_all(paths.iter().map(|path| world.get(path))).await;
    assert!(all.iter().all(|answer| answer.status == 200));
    assert_eq!((open(&world, "upstream").await, open(&world, "host").await), (1.0, 0.0));
    for path in last {
        world.get_ok(&path).await;
    }
}

#[tokio::test]
async fn a_host_that_comes_back_with_its_first_entry_hanging_answers_by_the_next() {
    let host = Upstream::start().await;
    let list = format!("{0}/hangs|{0}", host.url());
    let setup = Setup::disk().env("DIPYLON_UPSTREAM_ATTEMPTS", "1").env("GOPROXY", &list);
    let setup = setup.env("GONOSUMDB", "example.com");
    let world = with_file(setup, FETCHES).start().await;
    let patches = AtomicUsize::new(0);
    let another = || {
        let version = format!("v1.0.{}", patches.fetch_add(1, Ordering::Relaxed));
        host.add(FakeModule::new("example.com/lib", &version));
        path_of("example.com/lib", &version, "mod")
    };
    host.stop();
    for _ in 0..UPSTREAM_FAILURES_TO_OPEN {
        let status = world.get(&another()).await.status;
        assert!(status == 502 || status == 503, "{status}");
    }
    assert_eq!(open(&world, "host").await, 1.0);
    host.restart();
    host.clear_requests();
    host.fault(When::prefix("/hangs/"), Fault::HangBeforeHeaders);
    // A new one each time: the one before may still be on its way.
    let asked = || host.requests().iter().any(|request| request.path.starts_with("/hangs/"));
    until("the first entry is asked", async || {
        let path = another();
        let answer = world.get(&path);
        // What is let through waits for the first entry, and is not waited for here.
        let answer = tokio::time::timeout(Duration::from_millis(500), answer).await;
        asked() || answer.is_ok_and(|answer| answer.status == 200)
    })
    .await;
    world.get_ok(&another()).await;
    assert_eq!(open(&world, "host").await, 0.0);
}
