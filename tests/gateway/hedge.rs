//! A small file that is late is asked for once more, where the configuration says so.

use std::time::{Duration, Instant};

use dipylon_testkit::upstream::{Fault, When};

use crate::world::{MODULE, Setup, VERSION, World, file, latest, list};

/// How late the first request's answer is: longer than any that is not made to wait.
const LATE: Duration = Duration::from_secs(8);

/// What is asked for twice.
fn small() -> [String; 4] {
    [list(), latest(), file("info"), file("mod")]
}

async fn hedges(world: &World, result: &str) -> f64 {
    let metrics = world.metrics().await;
    metrics.metric("dipylon_upstream_hedges_total").label("result", result).sum()
}

#[tokio::test]
async fn a_small_file_that_is_late_is_asked_for_once_more_and_the_first_answer_counts() {
    let world = Setup::disk().env("DIPYLON_HEDGE_AFTER", "250ms").start().await;
    let module = world.add_module();
    for path in small() {
        world.upstream.fault(When::path(&path).times(1), Fault::Delay(LATE));
        let began = Instant::now();
        let answer = world.get_ok(&path).await;
        assert!(began.elapsed() < LATE, "{path}: {:?}", began.elapsed());
        assert_eq!(world.asked(&path), 2, "{path}");
        if path == file("mod") {
            assert_eq!(answer.body, module.go_mod_bytes());
        }
    }
    assert_eq!(hedges(&world, "first").await, 4.0);
    // A zip may be large: it is waited for.
    let late = Duration::from_secs(1);
    world.upstream.fault(When::path(&file("zip")), Fault::Delay(late));
    let began = Instant::now();
    assert_eq!(world.get_ok(&file("zip")).await.body, module.zip());
    assert!(began.elapsed() >= late && world.asked(&file("zip")) == 1);
    world.until_stored(MODULE, VERSION).await;
}

#[tokio::test]
async fn nothing_is_asked_for_twice_unless_it_is_configured() {
    let world = Setup::disk().start().await;
    world.add_module();
    world.upstream.latency(Duration::from_millis(600));
    for path in small() {
        world.get_ok(&path).await;
        assert_eq!(world.asked(&path), 1, "{path}");
    }
    for result in ["first", "late", "failed", "abandoned", "refused"] {
        assert_eq!(hedges(&world, result).await, 0.0, "{result}");
    }
}

#[tokio::test]
async fn an_upstream_that_is_slow_as_a_whole_is_asked_little_more() {
    let world = Setup::disk().env("DIPYLON_HEDGE_AFTER", "50ms").start().await;
    world.upstream.latency(Duration::from_millis(300));
    let paths: Vec<String> = (0..40).map(|n| format!("/example.com/slow/m{n}/@v/list")).collect();
    let client = world.client();
    futures::future::join_all(paths.iter().map(|path| client.get(path))).await;
    let asked: usize = paths.iter().map(|path| world.asked(path)).sum();
    let refused = hedges(&world, "refused").await;
    assert!((41..=45).contains(&asked), "{asked} requests for 40 lists");
    assert_eq!(refused, (80 - asked) as f64, "the others would have cost too much");
}
