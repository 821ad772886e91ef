//! `Cache-Status` through tiers: each cache on the way has its say, the nearest to the origin first.

use std::time::Duration;

use dipylon_testkit::upstream::{Fault, Gate, When};
use http::Method;

use crate::world::{
    DATABASE, MODULE, Setup, VERSION, World, file, latest, list, path_of, sick, until,
};

const MISS: &str = "dipylon; fwd=uri-miss; stored; detail=miss_leader";
const HIT: &str = "dipylon; hit; detail=hit_storage";

#[tokio::test]
async fn a_gateway_behind_a_gateway_adds_its_word_to_the_other_s() {
    let central = Setup::disk().start().await;
    central.add_module();
    let list = central.gateway.url();
    let branch = Setup::disk().env("GOPROXY", &list).env("GONOSUMDB", MODULE).start().await;
    for (below, own) in [(MISS, MISS), (HIT, HIT)] {
        let zip = branch.get_ok(&file("zip")).await;
        let said = zip.header("cache-status").expect("told");
        match own {
            MISS => assert_eq!(said, format!("{below}, {own}")),
            _ => assert_eq!(said, own, "nobody else was asked"),
        }
        branch.until_stored(MODULE, VERSION).await;
        branch.until_idle().await;
    }
}

#[tokio::test]
async fn a_near_tier_and_the_far_store_have_their_say() {
    let setup = Setup::disk().env("DIPYLON_TIERED_DIRECTORY", "{folder}/near");
    let mut world = setup.start().await;
    world.add_module();
    world.get_ok(&file("zip")).await;
    world.until_stored(MODULE, VERSION).await;
    world.until_idle().await;
    until("it is found near", async || {
        let zip = world.get_ok(&file("zip")).await;
        zip.header("cache-status") == Some("dipylon-near; hit, dipylon; hit; detail=hit_storage")
    })
    .await;
    std::fs::remove_dir_all(world.file("near")).expect("the copies go");
    world.restart().await;
    let zip = world.get_ok(&file("zip")).await;
    let wanted = "dipylon-far; hit, dipylon-near; fwd=uri-miss, dipylon; hit; detail=hit_storage";
    assert_eq!(zip.header("cache-status"), Some(wanted));
}

/// `.info` of a branch.
fn branch() -> String {
    path_of(MODULE, "master", "info")
}

async fn told(world: &World, path: &str) -> String {
    world.get(path).await.header("cache-status").expect("told").to_owned()
}

/// What was said, but for the seconds of `ttl`, which must be some of these.
#[track_caller]
fn without_ttl(told: &str, seconds: std::ops::RangeInclusive<i64>) -> String {
    let (before, rest) = told.split_once("; ttl=").unwrap_or_else(|| panic!("no ttl: {told}"));
    let (ttl, after) = rest.split_once(';').expect("the word is the last");
    assert!(ttl.parse().is_ok_and(|ttl: i64| seconds.contains(&ttl)), "{told}");
    format!("{before};{after}")
}

#[tokio::test]
async fn small_files_say_that_they_are_kept_and_never_how_long() {
    let world = Setup::disk().start().await;
    world.add_module();
    for kind in ["info", "mod"] {
        assert_eq!(told(&world, &file(kind)).await, MISS);
        let again = told(&world, &file(kind)).await;
        let hits = ["memory", "storage"].map(|of| format!("dipylon; hit; detail=hit_{of}"));
        assert!(hits.contains(&again), "{kind}: {again}");
    }
}

#[tokio::test]
async fn lists_and_queries_say_how_long_they_are_fresh_yet() {
    let world = Setup::disk().env("DIPYLON_FRESH_FOR", "60").start().await;
    world.add_module();
    world.upstream.query(MODULE, "master", VERSION);
    for path in [branch(), list(), latest()] {
        assert_eq!(without_ttl(&told(&world, &path).await, 60..=60), MISS, "{path}");
        let again = without_ttl(&told(&world, &path).await, 0..=60);
        assert!(again.starts_with("dipylon; hit; detail=hit_"), "{path}: {again}");
    }
    let absent = path_of(MODULE, "v1.9.9", "info");
    let said = told(&world, &absent).await;
    assert_eq!(said, "dipylon; fwd=uri-miss; fwd-status=404; detail=upstream_not_found");
    let again = without_ttl(&told(&world, &absent).await, 0..=3_600);
    assert_eq!(again, "dipylon; hit; detail=negative");
}

#[tokio::test]
async fn who_shares_a_fetch_of_a_small_file_or_a_list_says_so() {
    let world = Setup::disk().start().await;
    world.add_module();
    for (path, shared_in, is_fresh_for_a_time) in [
        (file("info"), "single_flight", false),
        (file("mod"), "single_flight", false),
        (list(), "versions", true),
    ] {
        let gate = Gate::default();
        world.upstream.fault(When::path(&path), Fault::Gate(gate.clone()));
        let asked_by = async |id: &str| {
            let headers = [("x-request-id", id)];
            let answer = world.request(Method::GET, &path, &headers).await;
            answer.header("cache-status").expect("told").to_owned()
        };
        let opens = async {
            world.until("upstream is asked", || world.asked(&path) == 1).await;
            until("both wait", async || {
                let metrics = world.metrics().await;
                let calls = metrics.metric("dipylon_layer_active_calls");
                calls.label("layer", shared_in).sum() == 2.0
            })
            .await;
            gate.open();
        };
        let (one, other, ()) = tokio::join!(asked_by("one"), asked_by("other"), opens);
        let mut said = [one, other].map(|said| match is_fresh_for_a_time {
            true => without_ttl(&said, 0..=60),
            false => said,
        });
        said.sort();
        let follower = "dipylon; fwd=uri-miss; collapsed; detail=miss_follower";
        assert_eq!(said, [follower, MISS], "{path}");
        assert_eq!(world.asked(&path), 1, "{path}");
    }
}

#[tokio::test]
async fn what_a_gateway_above_says_of_small_files_and_lists_stands_first_and_is_not_said_again() {
    let central = Setup::disk().env("DIPYLON_FRESH_FOR", "60").start().await;
    central.add_module();
    central.upstream.query(MODULE, "master", VERSION);
    let above = central.gateway.url();
    let setup = Setup::disk().env("GOPROXY", &above).env("GONOSUMDB", MODULE);
    let gateway = setup.env("DIPYLON_FRESH_FOR", "60").start().await;
    let fresh = |seconds: i64| MISS.replace("; stored", &format!("; ttl={seconds}; stored"));
    let resolved = "dipylon; fwd=uri-miss; ttl=60; detail=hit_storage".to_owned();
    for (path, wanted) in [
        (file("info"), MISS.to_owned()),
        (file("mod"), MISS.to_owned()),
        (list(), fresh(60)),
        (latest(), fresh(60)),
        // The file is stored already: upstream is asked all the same which one it is.
        (branch(), resolved),
    ] {
        assert_eq!(told(&gateway, &path).await, format!("{wanted}, {wanted}"), "{path}");
        let again = told(&gateway, &path).await;
        assert!(again.starts_with("dipylon; hit; "), "{path}: {again}");
    }
}

#[tokio::test]
async fn what_a_gateway_above_says_of_a_branch_stands_first_where_nobody_waits_for_files() {
    let central = Setup::disk().env("DIPYLON_FRESH_FOR", "60").start().await;
    central.add_module();
    central.upstream.query(MODULE, "master", VERSION);
    let setup = Setup::disk()
        .env("GOPROXY", &central.gateway.url())
        .env("GONOSUMDB", MODULE)
        .env("DIPYLON_FRESH_FOR", "60")
        .env("ATHENS_DOWNLOAD_MODE", "async");
    let gateway = setup.start().await;
    let not_yet = told(&gateway, &branch()).await;
    assert_eq!(not_yet, "dipylon; fwd=uri-miss; detail=async_accepted");
    gateway.until_stored(MODULE, VERSION).await;
    gateway.until_idle().await;
    central.until_idle().await;
    let other = path_of(MODULE, "v1", "info");
    central.upstream.query(MODULE, "v1", VERSION);
    let resolved = "dipylon; fwd=uri-miss; ttl=60; detail=hit_storage";
    assert_eq!(told(&gateway, &other).await, format!("{resolved}, {resolved}"));
    for path in [branch(), other] {
        let again = without_ttl(&told(&gateway, &path).await, 0..=60);
        assert!(again.starts_with("dipylon; hit; detail=hit_"), "{path}: {again}");
    }
}

#[tokio::test]
async fn what_is_stored_says_that_upstream_was_asked_before_it_was_the_answer() {
    for mode in ["strict", "fallback"] {
        let setup = Setup::disk()
            .env("ATHENS_NETWORK_MODE", mode)
            .env("DIPYLON_FRESH_FOR", "60")
            .env("DIPYLON_UPSTREAM_ATTEMPTS", "1");
        let world = setup.start().await;
        world.add_module();
        world.get_ok(&file("zip")).await;
        world.until_stored(MODULE, VERSION).await;
        world.until_idle().await;
        let gone = Fault::Status(404, "text/plain; charset=utf-8", "gone\n".into());
        world.upstream.fault(When::path(&list()), gone);
        let said = without_ttl(&told(&world, &list()).await, 60..=60);
        assert_eq!(said, "dipylon; fwd=uri-miss; fwd-status=404; detail=hit_storage", "{mode}");
        let again = without_ttl(&told(&world, &list()).await, 0..=60);
        assert_eq!(again, "dipylon; hit; detail=hit_memory", "{mode}");
        world.upstream.fault(When::path(&latest()), sick());
        let said = told(&world, &latest()).await;
        let (wanted, next) = match mode {
            "strict" => ("; fwd-status=500; detail=upstream_error", "fwd=uri-miss; "),
            // What is stored is not kept as the answer; upstream is left alone for a moment.
            _ => ("; fwd-status=500; detail=hit_storage", "hit; "),
        };
        assert_eq!(said, format!("dipylon; fwd=uri-miss{wanted}"), "{mode}");
        let again = told(&world, &latest()).await;
        assert!(again.starts_with(&format!("dipylon; {next}")), "{mode}: {again}");
    }
}

#[tokio::test]
async fn what_a_checksum_database_says_is_stored_where_it_is_kept() {
    let world = Setup::disk().start().await;
    world.add_module();
    world.database.pad(300);
    let of = |path: &str| format!("/sumdb/{DATABASE}/{path}");
    for (path, again) in [
        (of("latest"), "dipylon; fwd=uri-miss; detail=miss_leader"),
        (of(&format!("lookup/{MODULE}@{VERSION}")), "dipylon; hit; detail=hit_memory"),
        // None that proves the record, which is its last one.
        (of("tile/8/0/000.p/7"), "dipylon; hit; detail=hit_memory"),
    ] {
        let is_kept = again.contains("hit");
        let first = if is_kept { MISS } else { again };
        assert_eq!(told(&world, &path).await, first, "{path}");
        assert_eq!(told(&world, &path).await, again, "{path}");
    }
}

#[tokio::test]
async fn a_part_of_what_was_fetched_whole_says_what_came_from_below() {
    let world = Setup::disk().start().await;
    world.add_module();
    let part = world.request(Method::GET, &file("zip"), &[("range", "bytes=0-9")]).await;
    assert_eq!(part.status, 206);
    let wanted = "dipylon; fwd=uri-miss; fwd-status=200; stored; detail=miss_leader";
    assert_eq!(part.header("cache-status"), Some(wanted));
}

#[tokio::test]
async fn what_is_asked_anew_says_that_something_older_was_there() {
    let setup = Setup::disk()
        .env("DIPYLON_FRESH_FOR", "1")
        .env("DIPYLON_STALE_WHILE_REVALIDATE", "0")
        .env("DIPYLON_STALE_IF_ERROR", "1")
        .env("DIPYLON_UPSTREAM_ATTEMPTS", "1");
    let world = setup.start().await;
    world.add_module();
    world.upstream.query(MODULE, "master", VERSION);
    let stale = MISS.replace("uri-miss", "stale");
    // What it stands for is asked anew, and the file is stored.
    let resolved = "dipylon; fwd=stale; detail=hit_storage";
    for (path, wanted) in [(list(), &*stale), (latest(), &stale), (branch(), resolved)] {
        world.get_ok(&path).await;
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        assert_eq!(without_ttl(&told(&world, &path).await, 1..=1), wanted, "{path}");
    }
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    world.upstream.fault(When::any(), sick());
    for path in [list(), latest(), branch()] {
        let failed = told(&world, &path).await;
        let wanted = "dipylon; fwd=stale; fwd-status=500; detail=upstream_error";
        assert_eq!(failed, wanted, "{path}");
    }
}
