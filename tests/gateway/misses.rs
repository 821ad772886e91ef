//! Misses: who waits for whom, and what is fetched how often.

use std::time::{Duration, Instant};

use dipylon_testkit::client::Client;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::{Fault, When};
use http::Method;

use crate::world::{
    MODULE, Setup, VERSION, assert_refusal, file, large, latest, list, outcome, path_of, sick,
    stocked, until,
};

const MIB: usize = 1024 * 1024;
/// The zip that many clients want at once. A build without optimisation moves bytes ten times
/// slower, so there it is smaller; the count of upstream calls does not depend on it.
const WANTED_BYTES: usize = if cfg!(debug_assertions) { 6 * MIB } else { 36 * MIB };
/// The most that the gateway may have resident while sixty clients take one zip of 36 MB.
const RESIDENT_KIB_MAX: u64 = 60 * 1024;

// === One fetch for all ===

/// Reads the whole answer without keeping it, and compares it with `want`.
async fn read_and_compare(client: &Client, path: &str, want: &[u8]) {
    let mut answer = client.get_streaming(path).await.expect("an answer");
    assert_eq!(answer.status, 200);
    let mut at = 0;
    while let Some(chunk) = answer.chunk().await.expect("it is not cut") {
        assert!(want.get(at..at + chunk.len()) == Some(&chunk[..]), "other bytes at {at}");
        at += chunk.len();
    }
    assert_eq!(at, want.len());
}

/// `cargo xtask test --slow` runs it once more as the program is shipped, built with optimisation, and then
/// with the large zip.
#[tokio::test]
async fn sixty_clients_of_one_cold_zip_cost_one_get_and_little_memory() {
    let world = Setup::disk().start().await;
    let zip = world.add(large(WANTED_BYTES)).zip();
    let (client, path) = (world.client().limit(Duration::from_secs(60)), file("zip"));
    futures::future::join_all((0..60).map(|_| read_and_compare(&client, &path, &zip))).await;
    assert_eq!(world.asked(&path), 1);
    world.until_stored(MODULE, VERSION).await;
    let most = world.gateway.peak_kib();
    println!("at most {most} KiB were resident");
    assert!(most < RESIDENT_KIB_MAX, "{most} KiB were resident");
}

#[tokio::test]
async fn fifty_clients_of_one_list_cost_one_call() {
    let world = Setup::disk().start().await;
    world.add_module();
    for path in [list(), latest()] {
        world.upstream.fault(path.as_str(), Fault::Delay(Duration::from_millis(300)));
        let client = world.client();
        let answers = futures::future::join_all((0..50).map(|_| client.get(&path))).await;
        assert!(answers.iter().all(|answer| answer.status == 200));
        let leaders = answers.iter().filter(|answer| outcome(answer) == "miss_leader").count();
        assert_eq!((leaders, world.asked(&path)), (1, 1), "{path}");
    }
}

#[tokio::test]
async fn the_three_files_of_a_cold_version_asked_at_once_cost_one_get_each() {
    let world = Setup::disk().start().await;
    let module = world.add_module();
    let delay = Fault::Delay(Duration::from_millis(300));
    world.upstream.fault(When::prefix(&format!("/{MODULE}/")), delay);
    let client = world.client();
    let paths = ["zip", "info", "mod"].map(file);
    let asks = (0..30).map(|number| client.get(&paths[number % 3]));
    for answer in futures::future::join_all(asks).await {
        assert_eq!((answer.status.as_u16(), answer.truncated), (200, false));
    }
    world.until_stored(MODULE, VERSION).await;
    assert_eq!(world.get_ok(&file("zip")).await.body, module.zip());
    assert_eq!(paths.map(|path| world.asked(&path)), [1, 1, 1]);
}

/// More clients than `ProtocolWorkers`: those that wait for a slot find what the first of them stored.
#[tokio::test]
async fn three_hundred_clients_of_one_cold_file_cost_one_get() {
    for kind in ["info", "mod", "zip"] {
        let world = Setup::disk().start().await;
        world.add_module();
        let path = file(kind);
        world.upstream.fault(path.as_str(), Fault::Delay(Duration::from_millis(300)));
        let client = world.client().limit(Duration::from_secs(60));
        let answers = futures::future::join_all((0..300).map(|_| client.get(&path))).await;
        assert!(answers.iter().all(|answer| answer.status == 200), "{kind}");
        assert_eq!(world.asked(&path), 1, "{kind}");
        world.until_idle().await;
    }
}

#[tokio::test]
async fn hits_are_served_while_every_miss_hangs() {
    let world = stocked(Setup::disk().env("ATHENS_PROTOCOL_WORKERS", "2")).await;
    let hanging = "example.com/hanging";
    world.upstream.fault(When::prefix(&format!("/{hanging}/")), Fault::HangBeforeHeaders);
    let client = world.client();
    let misses: Vec<_> = (0..20)
        .map(|number| {
            let (client, path) =
                (client.clone(), path_of(hanging, &format!("v1.{number}.0"), "info"));
            tokio::spawn(async move { client.get(&path).await })
        })
        .collect();
    world.until("two misses are at the upstream", || world.upstream.in_flight() == 2).await;
    let began = Instant::now();
    for number in 0..60 {
        let kind = ["zip", "mod", "info"][number % 3];
        world.get_ok(&file(kind)).await;
    }
    // Each hit of sixty has a quarter of a second: far more than it takes, far less than the hang.
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert!(misses.iter().all(|miss| !miss.is_finished()), "the misses hang all the while");
    assert_eq!(world.upstream.in_flight(), 2, "ProtocolWorkers bounds the misses in hand");
    misses.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_miss_that_finds_no_worker_in_time_is_told_when_to_come_back() {
    let world = Setup::disk()
        .env("ATHENS_PROTOCOL_WORKERS", "1")
        .env("DIPYLON_MISS_QUEUE_TIMEOUT", "1")
        .start()
        .await;
    world.add_module();
    world.upstream.fault(When::suffix("v1.0.0.info"), Fault::HangBeforeHeaders);
    let (client, path) = (world.client(), path_of(MODULE, "v1.0.0", "info"));
    let first = tokio::spawn(async move { client.get(&path).await });
    world.until("the first is in hand", || world.upstream.in_flight() == 1).await;
    let refused = world.get_refused(&file("info"), 503, &["ProtocolWorkers", "ask again"]).await;
    assert_eq!((outcome(&refused), refused.header("retry-after")), ("shed", Some("1")));
    assert_eq!(world.asked(&file("info")), 0);
    first.abort();
}

// === Forms of a request ===

#[tokio::test]
async fn head_on_a_miss_has_the_length_and_begins_the_fetch() {
    let world = Setup::disk().start().await;
    let module = world.add(large(2 * MIB));
    let head = world.head(&file("zip")).await;
    let length = module.zip().len().to_string();
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some(length.as_str()));
    assert_eq!(outcome(&head), "miss_leader");
    world.until_stored(MODULE, VERSION).await;
    assert_eq!(world.get_ok(&file("zip")).await.body, module.zip());
    assert_eq!(world.asked(&file("zip")), 1);
    let absent = world.head(&path_of(MODULE, "v1.9.0", "zip")).await;
    assert_eq!((absent.status.as_u16(), absent.body.len()), (404, 0));
}

#[tokio::test]
async fn without_a_length_from_upstream_a_miss_is_chunked_and_a_hit_has_one() {
    let world = Setup::disk().start().await;
    let module = world.add(large(2 * MIB));
    world.upstream.fault(file("zip").as_str(), Fault::NoContentLength);
    let miss = world.get_ok(&file("zip")).await;
    assert!(miss.body == module.zip());
    world.until_stored(MODULE, VERSION).await;
    let hit = world.get_ok(&file("zip")).await;
    let length = module.zip().len().to_string();
    assert_eq!(hit.header("content-length"), Some(length.as_str()));
    assert_eq!(world.asked(&file("zip")), 1);
}

#[tokio::test]
async fn a_range_of_a_cold_zip_waits_for_the_checks() {
    let world = Setup::disk().start().await;
    let zip = world.add(large(3 * MIB)).zip();
    let ranges = [("range", "bytes=1000-1999")];
    let part = world.request(Method::GET, &file("zip"), &ranges).await;
    assert_eq!(part.status, 206);
    assert_eq!(part.body, zip.slice(1000..2000));
    let told = format!("bytes 1000-1999/{}", zip.len());
    assert_eq!(part.header("content-range"), Some(told.as_str()));
    assert_eq!(world.asked(&file("zip")), 1);

    // So a wrong checksum is a status, where a whole answer would have been cut.
    let wrong = world.add(FakeModule::new(MODULE, "v1.0.0").filler(3 * MIB));
    world.database.lie(MODULE, "v1.0.0", &FakeModule::new(MODULE, "v1.0.0").h1());
    let path = path_of(MODULE, "v1.0.0", "zip");
    let refused = world.request(Method::GET, &path, &ranges).await;
    assert_refusal(&refused, 403, &["checksum mismatch", &wrong.h1()]);
}

// === Attempts ===

#[tokio::test]
async fn an_upstream_that_fails_twice_is_asked_a_third_time() {
    let world = Setup::disk().start().await;
    let module = world.add_module();
    world.upstream.fault(When::path(&file("info")).times(2), sick());
    world.upstream.fault(When::path(&file("mod")).times(2), Fault::Reset);
    world.upstream.fault(When::path(&file("zip")).times(1), Fault::RetryAfter(429, 1));
    assert_eq!(world.get_ok(&file("info")).await.body, module.info());
    assert_eq!(world.get_ok(&file("mod")).await.body, module.go_mod_bytes());
    let began = Instant::now();
    assert_eq!(world.get_ok(&file("zip")).await.body, module.zip());
    assert!(began.elapsed() >= Duration::from_secs(1), "upstream asked for a second");
    let asked = ["info", "mod", "zip"].map(|kind| world.asked(&file(kind)));
    assert_eq!(asked, [3, 3, 2]);
    let metrics = world.metrics().await;
    assert_eq!(metrics.metric("dipylon_upstream_retries_total").sum(), 5.0);
}

#[tokio::test]
async fn an_upstream_that_never_recovers_is_asked_as_often_as_configured() {
    let world = Setup::disk().env("DIPYLON_UPSTREAM_ATTEMPTS", "2").start().await;
    world.upstream.fault(When::any(), sick());
    let refused = world.get_refused(&file("info"), 502, &["500", "the upstream is sick"]).await;
    assert_eq!(refused.header("cache-control"), Some("no-store"));
    assert_eq!(world.asked(&file("info")), 2);
    // Trouble is not remembered.
    world.upstream.clear_faults();
    world.add_module();
    world.get_ok(&file("info")).await;
}

#[tokio::test]
async fn a_silent_upstream_is_given_up_after_its_timeout() {
    let world = Setup::disk()
        .env("DIPYLON_UPSTREAM_HEADER_TIMEOUT", "1")
        .env("DIPYLON_UPSTREAM_ATTEMPTS", "1")
        .start()
        .await;
    world.upstream.fault(When::any(), Fault::HangBeforeHeaders);
    let refused = world.get_refused(&file("info"), 504, &["1"]).await;
    assert_eq!(outcome(&refused), "upstream_timeout");
    assert!(refused.total < Duration::from_secs(5), "{:?}", refused.total);
}

#[tokio::test]
async fn an_upstream_that_keeps_failing_is_left_alone_and_asked_again_later() {
    let world = stocked(Setup::disk().env("DIPYLON_UPSTREAM_ATTEMPTS", "1")).await;
    world.upstream.fault(When::any(), sick());
    for number in 0..10 {
        world.get_refused(&path_of(MODULE, &format!("v1.0.{number}"), "info"), 502, &[]).await;
    }
    let asked = world.module_requests();
    let refused = world.get_refused(&path_of(MODULE, "v1.1.0", "info"), 503, &["left alone"]).await;
    assert_eq!((outcome(&refused), world.module_requests()), ("upstream_unavailable", asked));
    let wait: u64 = refused.header("retry-after").expect("when to ask again").parse().unwrap();
    assert!((1..=5).contains(&wait), "{wait}");
    let open = async || world.metrics().await.metric("dipylon_upstream_breakers_open").sum();
    assert_eq!(open().await, 1.0);
    world.get_ok(&file("zip")).await;

    world.upstream.clear_faults();
    world.add(FakeModule::new(MODULE, "v1.1.0"));
    until("upstream is asked again", async || {
        world.get(&path_of(MODULE, "v1.1.0", "info")).await.status == 200
    })
    .await;
    assert_eq!(open().await, 0.0);
    assert!(world.logged("asked again: it answers"));
}
