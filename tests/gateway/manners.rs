//! Manners towards upstreams: how many requests at a time, how fast, and not at all while a host asks for it.

use std::time::{Duration, Instant};

use dipylon_testkit::client::Response;
use dipylon_testkit::git::GitHome;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::{Fault, Upstream, When};
use tokio::task::JoinHandle;

use crate::world::{DATABASE, Setup, World, file, outcome, path_of, stocked, until};

const SECOND: Duration = Duration::from_secs(1);

/// One attempt, and nothing but the asked file is fetched.
fn setup() -> Setup {
    Setup::disk().env("GOSUMDB", "off").env("DIPYLON_UPSTREAM_ATTEMPTS", "1")
}

/// So many versions of a module, of which each `.mod` is one request to upstream.
fn add_versions(upstream: &Upstream, module: &str, count: usize) -> Vec<String> {
    let add = |patch: usize| {
        let version = format!("v1.0.{patch}");
        upstream.add(FakeModule::new(module, &version));
        path_of(module, &version, "mod")
    };
    (0..count).map(add).collect()
}

/// Asks for all of them at once.
fn ask(world: &World, paths: &[String]) -> Vec<JoinHandle<Response>> {
    let ask = |path: &String| {
        let (client, path) = (world.client(), path.clone());
        tokio::spawn(async move { client.get(&path).await })
    };
    paths.iter().map(ask).collect()
}

async fn answers(asked: Vec<JoinHandle<Response>>) -> Vec<Response> {
    let answers = futures::future::join_all(asked).await;
    answers.into_iter().map(|answer| answer.expect("the request is not aborted")).collect()
}

/// When each request whose path has these words arrived at an upstream, in order.
fn arrivals(upstream: &Upstream, words: &str) -> Vec<Instant> {
    let seen = upstream.requests();
    let mut at: Vec<_> =
        seen.iter().filter(|seen| seen.path.contains(words)).map(|seen| seen.at).collect();
    at.sort_unstable();
    at
}

/// How many requests were held back for this reason, with this result.
async fn paced(world: &World, reason: &str, result: &str) -> f64 {
    let metrics = world.metrics().await;
    metrics
        .metric("dipylon_upstream_paced_total")
        .label("reason", reason)
        .label("result", result)
        .sum()
}

async fn hosts_paused(world: &World) -> f64 {
    world.metrics().await.metric("dipylon_upstream_hosts_paused").sum()
}

// === Retry-After ===

#[tokio::test]
async fn an_upstream_that_says_when_is_asked_once_until_then_and_then_again() {
    // With one slot all but one stand in line when the answer comes; with many they come after it.
    for (slots, status) in [("1", 429), ("64", 503)] {
        let world = setup().env("DIPYLON_UPSTREAM_CONCURRENCY", slots).start().await;
        let paths = add_versions(&world.upstream, "example.com/lib", 20);
        world.upstream.fault(When::any().times(1), Fault::RetryAfter(status, 2));
        let mut asked = ask(&world, &paths[..1]);
        if slots == "64" {
            until("it is left alone", async || hosts_paused(&world).await == 1.0).await;
        }
        asked.extend(ask(&world, &paths[1..]));
        let mut answers = answers(asked).await;
        // Who led has the upstream's own word; all others have waited.
        answers.retain(|answer| answer.status != 200);
        assert_eq!(answers.len(), 1, "{slots}: {:?}", answers.iter().map(Response::text).next());
        let refused = if status == 429 { 429 } else { 502 };
        assert_eq!(answers[0].status, refused, "{}", answers[0].text());
        assert_eq!(answers[0].header("retry-after"), Some("2"));
        let at = arrivals(&world.upstream, "example.com/lib");
        assert_eq!(at.len(), 20, "{slots}");
        assert!(at[1] - at[0] >= 2 * SECOND, "{slots}: after {:?}", at[1] - at[0]);
        assert!(paced(&world, "paused", "waited").await >= 19.0);
        until("it may be asked again", async || hosts_paused(&world).await == 0.0).await;
    }
}

#[tokio::test]
async fn what_an_upstream_carries_of_a_checksum_database_is_asked_with_the_same_manners() {
    let latest = format!("/sumdb/{DATABASE}/latest");
    // Whichever of them hears that the host wants to be left alone, and whether the way is known by then or not.
    for (hears, is_known) in [("module", true), ("module", false), ("database", true)] {
        let world = setup().start().await;
        let paths = add_versions(&world.upstream, "example.com/lib", 1);
        if is_known {
            world.get_ok(&latest).await;
        }
        let (first, then) =
            if hears == "module" { (&paths[0], &latest) } else { (&latest, &paths[0]) };
        world.upstream.fault(When::path(first).times(1), Fault::RetryAfter(429, 2));
        world.upstream.clear_requests();
        let refused = world.get(first).await;
        assert_eq!(refused.header("retry-after"), Some("2"), "{}", refused.text());
        assert_eq!(hosts_paused(&world).await, 1.0, "{hears}");
        world.get_ok(then).await;
        let at = arrivals(&world.upstream, "");
        let waited = at[1] - at[0];
        assert!(waited >= 2 * SECOND, "{hears}, {is_known}: asked again after {waited:?}");
        assert!(paced(&world, "paused", "waited").await >= 1.0);
    }
}

#[tokio::test]
async fn who_would_wait_too_long_is_told_how_long_and_no_breaker_opens_for_it() {
    let world = stocked(setup()).await;
    let paths = add_versions(&world.upstream, "example.com/other", 30);
    world.upstream.fault(When::any().times(1), Fault::RetryAfter(429, 60));
    let throttled = world.get_refused(&paths[0], 429, &["429"]).await;
    assert_eq!(outcome(&throttled), "upstream_throttled");
    let began = Instant::now();
    for path in &paths[1..] {
        let host = world.upstream.url();
        let words = [host.as_str(), "asked to be left alone for another", "(Retry-After)"];
        let refused = world.get_refused(path, 503, &words).await;
        assert_eq!(outcome(&refused), "upstream_throttled");
        let after: u64 = refused.header("retry-after").expect("a time").parse().expect("seconds");
        assert!((1..=60).contains(&after), "{after}");
    }
    assert!(began.elapsed() < 5 * SECOND, "refused at once, not after {:?}", began.elapsed());
    world.get_ok(&file("zip")).await;
    assert_eq!(world.module_requests(), 1);
    let metrics = world.metrics().await;
    assert_eq!(metrics.metric("dipylon_upstream_breakers_open").sum(), 0.0);
    assert_eq!(paced(&world, "paused", "refused").await, 29.0);
    assert_eq!((hosts_paused(&world).await, world.logged("left alone for as long")), (1.0, true));
}

#[tokio::test]
async fn entries_of_one_host_are_one_host_and_another_host_is_another() {
    let (shared, spare) = (Upstream::start().await, Upstream::start().await);
    let list = format!("{0}/one|{0}/two|{1}", shared.url(), spare.url());
    let world = setup().env("GOPROXY", &list).start().await;
    let paths = add_versions(&spare, "example.com/lib", 3);
    shared.fault(When::any().times(1), Fault::RetryAfter(503, 60));
    for path in &paths {
        world.get_ok(path).await;
    }
    // The second entry was not even asked once, though nothing was known against it.
    assert_eq!((shared.total(), spare.total()), (1, 3));
    assert_eq!(hosts_paused(&world).await, 1.0);
}

#[tokio::test]
async fn a_host_that_sends_us_elsewhere_is_not_left_alone_for_what_is_said_there() {
    let elsewhere = Upstream::start().await;
    let world = setup().env("DIPYLON_UPSTREAM_ATTEMPTS", "1").start().await;
    let paths = add_versions(&world.upstream, "example.com/lib", 2);
    let there = Fault::Redirect(302, format!("{}{}", elsewhere.url(), paths[0]));
    world.upstream.fault(When::path(&paths[0]), there);
    elsewhere.fault(When::any(), Fault::RetryAfter(429, 60));
    let refused = world.get_refused(&paths[0], 429, &["429"]).await;
    assert_eq!(refused.header("retry-after"), Some("60"), "it is told, and kept to by who retries");
    world.get_ok(&paths[1]).await;
    assert_eq!((elsewhere.total(), hosts_paused(&world).await), (1, 0.0));
}

// === Rate classes ===

#[tokio::test]
async fn the_class_of_a_pattern_holds_back_its_modules_and_no_others_whichever_host_is_asked() {
    let private = Upstream::start().await;
    let text = format!(
        "mode = \"sync\"\ndownloadURL = \"\"\n\
         rate \"slow\" {{\n  perSecond = 1\n  burst = 1\n}}\n\
         download \"slow.example/here\" {{\n  mode = \"sync\"\n  rateClass = \"slow\"\n}}\n\
         download \"slow.example/there\" {{\n  mode = \"sync\"\n  rateClass = \"slow\"\n  \
         upstreams = {:?}\n}}\n",
        private.url()
    );
    let setup = setup().with_file("mode.hcl", &text);
    let world = setup.env("ATHENS_DOWNLOAD_MODE", "file:{folder}/mode.hcl").start().await;
    let mut slow = add_versions(&world.upstream, "slow.example/here", 2);
    slow.extend(add_versions(&private, "slow.example/there", 2));
    let others = add_versions(&world.upstream, "example.com/lib", 20);
    let began = Instant::now();
    let slow = ask(&world, &slow);
    until("they wait", async || paced(&world, "class", "waited").await >= 1.0).await;
    for answer in answers(ask(&world, &others)).await {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    for answer in answers(slow).await {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    // One each second, over both hosts together.
    let mut at = arrivals(&world.upstream, "slow.example/");
    at.extend(arrivals(&private, "slow.example/"));
    at.sort_unstable();
    assert_eq!(at.len(), 4);
    for (number, at) in (0_u32..).zip(&at) {
        assert!(*at - began >= number * SECOND, "request {number} came after {:?}", *at - began);
    }
    // The others were asked for after those, and are all through before them.
    let last_of_others = arrivals(&world.upstream, "example.com/lib").pop().expect("twenty");
    assert!(last_of_others < at[3], "{:?} behind", last_of_others - at[3]);
    assert_eq!(paced(&world, "host", "waited").await, 0.0);
    assert!((1.0..=3.0).contains(&paced(&world, "class", "waited").await));
    // More of them than may wait.
    let refused = add_versions(&world.upstream, "slow.example/here", 12).split_off(2);
    let first = answers(ask(&world, &refused)).await;
    let shed = first.iter().find(|answer| answer.status == 503).expect("more than 5 s of them");
    assert_eq!(outcome(shed), "shed");
    assert!(shed.text().contains("the rate class \"slow\""), "{}", shed.text());
}

#[tokio::test]
#[ignore = "needs the go command and git: they fetch for a class"]
async fn runs_of_the_go_command_take_turns_of_the_class_too() {
    let text = "mode = \"sync\"\ndownloadURL = \"\"\nrateClass = \"slow\"\n\
                rate \"slow\" {\n  perSecond = 1\n  burst = 1\n}\n";
    let home = GitHome::new();
    let world = setup()
        .with_go()
        .with_file("mode.hcl", text)
        .env("ATHENS_DOWNLOAD_MODE", "file:{folder}/mode.hcl")
        .env("GOPROXY", "direct")
        .env("HOME", home.path().to_str().expect("a path of text"))
        // Nothing listens there: each run fails soon.
        .env("HTTPS_PROXY", "http://127.0.0.1:9")
        .start()
        .await;
    let path = |number| path_of("github.com/acme/nothing", &format!("v1.0.{number}"), "zip");
    let paths: Vec<String> = (0..12).map(path).collect();
    let began = Instant::now();
    let answers = answers(ask(&world, &paths)).await;
    assert!(began.elapsed() >= 4 * SECOND, "after {:?}", began.elapsed());
    let of_class = |answer: &&Response| answer.text().contains("the rate class \"slow\"");
    let refused = answers.iter().filter(of_class).count();
    // Ten at a time are fetched, and of those so many find a turn within 5 s; the others come when a place is
    // free, and wait or not.
    assert!((1..=7).contains(&refused), "{refused} of {}", answers.len());
    assert!(answers.iter().all(|answer| answer.status != 200 && answer.status != 404));
    let run = answers.len() - refused;
    let at_least = SECOND * u32::try_from(run - 1).expect("twelve");
    assert!(began.elapsed() >= at_least, "{run} runs within {:?}", began.elapsed());
    assert!(paced(&world, "class", "waited").await >= 4.0);
}

// === So many at a time, so many a second ===

#[tokio::test]
async fn no_more_are_asked_at_a_time_than_the_host_has_slots() {
    let world = setup().env("DIPYLON_UPSTREAM_CONCURRENCY", "2").start().await;
    let paths = add_versions(&world.upstream, "example.com/lib", 10);
    world.upstream.latency(Duration::from_millis(50));
    let answers = answers(ask(&world, &paths)).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!((world.upstream.max_in_flight(), world.module_requests()), (2, 10));
}

#[tokio::test]
async fn a_rate_holds_over_all_misses_and_hits_are_never_held_back() {
    let setup = setup().env("DIPYLON_UPSTREAM_RATE", "5").env("DIPYLON_UPSTREAM_BURST", "5");
    let world = stocked(setup).await;
    // The burst is there again.
    tokio::time::sleep(SECOND).await;
    let paths = add_versions(&world.upstream, "example.com/other", 20);
    let (began, waited) = (Instant::now(), paced(&world, "host", "waited").await);
    let misses = ask(&world, &paths);
    world.until("the burst is used up", || world.module_requests() >= 5).await;
    for kind in ["info", "mod", "zip"].repeat(10) {
        world.get_ok(&file(kind)).await;
    }
    let answers = answers(misses).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    let at = arrivals(&world.upstream, "example.com/other");
    assert_eq!((at.len(), world.module_requests()), (20, 20), "a hit asks nobody");
    for (number, at) in at.iter().enumerate() {
        // Five at once, then one every fifth of a second.
        let turn = SECOND / 5 * u32::try_from(number.saturating_sub(4)).expect("twenty");
        assert!(*at - began >= turn, "request {number} came after {:?}", *at - began);
    }
    let waited = paced(&world, "host", "waited").await - waited;
    assert!((10.0..=15.0).contains(&waited), "the misses alone: {waited}");
    assert_eq!(paced(&world, "host", "refused").await, 0.0);
}

#[tokio::test]
async fn what_a_rate_leaves_no_room_for_is_refused_with_the_time() {
    let setup = setup().env("DIPYLON_UPSTREAM_RATE", "1").env("DIPYLON_UPSTREAM_BURST", "1");
    let world = setup.start().await;
    let paths = add_versions(&world.upstream, "example.com/lib", 12);
    let answers = answers(ask(&world, &paths)).await;
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status != 200).collect();
    // One at once, and one each second while the others wait; one more where they come late.
    assert!((5..=6).contains(&refused.len()), "{}", refused.len());
    for answer in refused {
        assert_eq!((answer.status.as_u16(), outcome(answer)), (503, "shed"), "{}", answer.text());
        assert!(answer.text().contains("1 a second, 1 at once"), "{}", answer.text());
        assert!(answer.text().contains(&world.upstream.url()), "{}", answer.text());
        let after: u64 = answer.header("retry-after").expect("a time").parse().expect("seconds");
        assert!((5..=7).contains(&after), "{after}");
    }
    world.get_ok(&path_of("example.com/lib", "v1.0.0", "mod")).await;
}

/// A zip takes one turn, and its `.info` and `.mod` two more: none of them is fetched in vain.
#[tokio::test]
async fn at_a_low_rate_the_background_fetches_each_zip_once_and_stores_it() {
    const VERSIONS: usize = 8;
    let setup = Setup::disk().env("GOSUMDB", "off").env("ATHENS_DOWNLOAD_MODE", "async");
    let setup = setup.env("DIPYLON_UPSTREAM_RATE", "2").env("DIPYLON_UPSTREAM_BURST", "1");
    let world = setup.start().await;
    let paths = add_versions(&world.upstream, "example.com/slow", VERSIONS);
    for path in &paths {
        world.get_refused(path, 404, &["ask again"]).await;
    }
    for patch in 0..VERSIONS {
        let version = format!("v1.0.{patch}");
        until("it is stored", async || world.is_stored("example.com/slow", &version)).await;
    }
    let zips = arrivals(&world.upstream, ".zip").len();
    assert_eq!(zips, VERSIONS, "each is fetched once");
}
