//! Limits by name: what is beyond one is refused with its reason, and what comes after is served.

use std::time::{Duration, Instant};

use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::{Fault, When};
use http::Method;

use crate::world::{MODULE, Setup, VERSION, file, large, outcome, path_of, stocked, until};

const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn a_zip_beyond_the_room_for_spools_is_refused_and_gives_its_room_back() {
    let world = Setup::disk().env("DIPYLON_MAX_SPOOL_BYTES", "1048576").start().await;
    world.add(large(2 * MIB));
    for _ in 0..3 {
        let refused = world.get_refused(&file("zip"), 503, &["MaxSpoolBytes"]).await;
        assert_eq!(outcome(&refused), "shed");
    }
    world.until_idle().await;
    assert!(world.stored_files().is_empty());
    let small = world.add(FakeModule::new(MODULE, "v1.0.0").filler(MIB / 2));
    for _ in 0..2 {
        let path = path_of(MODULE, "v1.0.0", "zip");
        assert!(world.get_ok(&path).await.body == small.zip());
    }
    world.until_stored(MODULE, "v1.0.0").await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_and_counted() {
    let world = Setup::disk().env("DIPYLON_MAX_CONNECTIONS", "2").start().await;
    let (address, client) = (world.gateway.address(), world.client());
    // Silent connections, one more each time: the probes before them may not have ended yet.
    let silent = parking_lot::Mutex::new(Vec::new());
    until("both places are taken", async || {
        silent.lock().push(std::net::TcpStream::connect(address).expect("the port is open"));
        client.try_request(Method::GET, "/healthz", &[], "").await.is_err()
    })
    .await;
    drop(silent);
    let served = async || client.try_request(Method::GET, "/healthz", &[], "").await.is_ok();
    until("there is room again", served).await;
    let scrape = || client.try_request(Method::GET, "/metrics", &[], "");
    until("the refusals are counted", async || {
        let Ok(scrape) = scrape().await else { return false };
        let metrics = dipylon_testkit::metrics::Metrics::parse(scrape.text());
        metrics.metric("dipylon_http_server_connections_shed_total").sum() >= 1.0
    })
    .await;
}

#[tokio::test]
async fn a_request_that_waits_too_long_is_told_so_and_its_fetch_goes_on() {
    let world = Setup::disk().env("DIPYLON_REQUEST_TIMEOUT", "1").start().await;
    let module = world.add_module();
    world.upstream.fault(file("zip").as_str(), Fault::Delay(Duration::from_millis(1700)));
    let refused = world.get_refused(&file("zip"), 504, &["ask again"]).await;
    assert_eq!(outcome(&refused), "deadline");
    world.until_stored(MODULE, VERSION).await;
    assert_eq!(world.get_ok(&file("zip")).await.body, module.zip());
    assert_eq!(world.asked(&file("zip")), 1);
}

#[tokio::test]
async fn a_zip_that_trickles_beyond_the_stash_timeout_is_given_up() {
    let world = Setup::disk().env("ATHENS_STASH_TIMEOUT", "1").start().await;
    world.add(large(MIB));
    let trickle = Fault::Trickle { bytes_per_tick: 1024, tick: Duration::from_millis(50) };
    world.upstream.fault(file("zip").as_str(), trickle);
    let began = Instant::now();
    let refused = world.get_refused(&file("zip"), 504, &["StashTimeout"]).await;
    assert_eq!(outcome(&refused), "upstream_timeout");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    world.until_idle().await;
    assert!(world.stored_files().is_empty());
    world.until("upstream is left", || world.upstream.in_flight() == 0).await;
}

#[tokio::test]
async fn no_more_zips_are_fetched_at_a_time_than_there_are_workers() {
    let world = Setup::disk().env("ATHENS_GOGET_WORKERS", "2").env("GOSUMDB", "off").start().await;
    let paths: Vec<String> =
        (0..8).map(|number| path_of(MODULE, &format!("v1.0.{number}"), "zip")).collect();
    for (number, path) in paths.iter().enumerate() {
        world.add(FakeModule::new(MODULE, &format!("v1.0.{number}")));
        world.upstream.fault(path.as_str(), Fault::Delay(Duration::from_millis(150)));
    }
    let client = world.client();
    let answers = futures::future::join_all(paths.iter().map(|path| client.get(path))).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    // Each zip may have its `.info` and `.mod` beside it.
    assert!(world.upstream.max_in_flight() <= 6, "{}", world.upstream.max_in_flight());
}

#[tokio::test]
async fn a_small_file_waits_for_no_zip() {
    let world = Setup::disk().env("ATHENS_GOGET_WORKERS", "1").start().await;
    let module = world.add_module();
    world.upstream.fault(When::suffix(".zip"), Fault::HangBeforeHeaders);
    let hanging: Vec<_> = (0..3)
        .map(|number| {
            let client = world.client();
            let path = path_of(MODULE, &format!("v1.0.{number}"), "zip");
            tokio::spawn(async move { client.get(&path).await })
        })
        .collect();
    world.until("a zip hangs", || world.upstream.in_flight() >= 1).await;
    assert_eq!(world.get_ok(&file("info")).await.body, module.info());
    assert_eq!(world.get_ok(&file("mod")).await.body, module.go_mod_bytes());
    let zips = world.upstream.requests().iter().filter(|seen| seen.path.ends_with(".zip")).count();
    assert_eq!(zips, 1, "the other two wait for the one worker");
    hanging.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_go_mod_that_is_not_the_one_of_its_zip_is_never_stored() {
    let world = Setup::disk().env("GOSUMDB", "off").start().await;
    world.add_module();
    let other = format!("module {MODULE}\n\nrequire evil.test/x v1.0.0\n");
    world.upstream.fault(file("mod").as_str(), Fault::Body(other.into()));
    world.get(&file("zip")).await;
    world.until("it is refused", || world.logged("is not the go.mod of its zip")).await;
    world.until_idle().await;
    assert!(world.stored_files().is_empty(), "{:?}", world.stored_files());
}

#[tokio::test]
async fn a_store_that_fails_costs_the_copy_and_not_the_answer() {
    let world = stocked(Setup::disk()).await;
    let module = world.add(FakeModule::new("example.com/other", "v1.0.0"));
    // A file where a folder has to be: no right and no user can make one there.
    std::fs::write(world.root().join("example.com/other"), "in the way").unwrap();
    let zip = world.get_ok(&path_of("example.com/other", "v1.0.0", "zip")).await;
    assert_eq!(zip.body, module.zip());
    until("the failure is counted", async || {
        let metrics = world.metrics().await;
        metrics.metric("dipylon_stash_saves_total").label("result", "failed").sum() == 1.0
    })
    .await;
    assert!(world.logged("not stored"));
    world.get_ok(&file("zip")).await;
}
