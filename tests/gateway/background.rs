//! The background queue: many at once, across restarts, and what an operator sees of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dipylon_testkit::client::raw_get;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::{Fault, Gate, Generator, When};
use http::Method;
use serde_json::{Value, json};

use crate::world::{MODULE, Setup, VERSION, World, file, path_of, sick, until};

/// The version of every module of the flood.
const FLOOD_VERSION: &str = "v1.0.0";
/// Connections of the flood: as many wait for one sync at a time.
const CONNECTIONS: usize = 16;
/// Requests on one connection.
const REQUESTS_PER_CONNECTION: usize = 50;
/// The most that the gateway may have resident with the whole flood in its queue, in KiB.
const PEAK_KIB_MAX: u64 = 100 * 1024;
/// The longest that the background may take for one module of a flood, on a machine that has other work.
const SECONDS_PER_MODULE: f64 = 0.1;

/// Small modules `example.com/flood/mN`, made up as they are asked for.
struct Flood;

impl Generator for Flood {
    fn module(&self, path: &str, version: &str) -> Option<FakeModule> {
        let known = path.starts_with("example.com/flood/m") && version == FLOOD_VERSION;
        known.then(|| FakeModule::new(path, version))
    }

    fn versions(&self, _: &str) -> Vec<String> {
        vec![FLOOD_VERSION.to_owned()]
    }
}

fn module(number: usize) -> String {
    format!("example.com/flood/m{number}")
}

/// Mode async on a disk; nothing is compared with a checksum database, and not every request is logged.
fn flooded() -> Setup {
    Setup::disk()
        .env("ATHENS_DOWNLOAD_MODE", "async")
        .env("GOSUMDB", "off")
        .env("DIPYLON_LOG_ACCESS", "false")
}

/// Asks for the modules, each once, on a few connections; each is answered 404.
async fn ask_for(world: &World, modules: std::ops::Range<usize>) {
    let address = world.gateway.address();
    let numbers: Vec<usize> = modules.collect();
    for round in numbers.chunks(CONNECTIONS * REQUESTS_PER_CONNECTION) {
        let connections = round.chunks(REQUESTS_PER_CONNECTION).map(|numbers| async move {
            let last = numbers.last();
            let request = |number: &usize| {
                let end = if Some(number) == last { "Connection: close\r\n" } else { "" };
                let path = path_of(&module(*number), FLOOD_VERSION, "info");
                format!("GET {path} HTTP/1.1\r\nHost: x\r\n{end}\r\n")
            };
            let text: String = numbers.iter().map(request).collect();
            let answers = raw_get(address, &text).await;
            assert_eq!(answers.matches("HTTP/1.1 404 ").count(), numbers.len(), "{answers}");
        });
        futures::future::join_all(connections).await;
    }
}

async fn until_all_stored(world: &World, count: usize) {
    let patience = Duration::from_secs_f64(20.0 + SECONDS_PER_MODULE * count as f64);
    let began = Instant::now();
    let mut next = 0;
    while next < count {
        if world.is_stored(&module(next), FLOOD_VERSION) {
            next += 1;
            continue;
        }
        assert!(began.elapsed() < patience, "{next} of {count} are stored after {patience:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How often each zip was asked for at the upstream.
pub(crate) fn zips_asked(world: &World) -> BTreeMap<String, usize> {
    let mut asked = BTreeMap::new();
    for request in world.upstream.requests() {
        if request.path.ends_with(".zip") {
            *asked.entry(request.path).or_default() += 1;
        }
    }
    asked
}

pub(crate) async fn queue(world: &World) -> Value {
    let answer = world.request(Method::GET, "/-/queue", &[TOKEN]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).expect("JSON")
}

pub(crate) async fn event(world: &World, event: &str) -> f64 {
    let metrics = world.metrics().await;
    metrics.metric("dipylon_dispatch_background_events_total").label("event", event).sum()
}

/// A flood while upstream is silent, so that all of it is in the queue at once; then all of it is stored.
async fn a_flood_is_stored(count: usize) {
    let world = flooded().start().await;
    world.upstream.generate(Flood);
    world.upstream.fault(When::prefix("/example.com/flood/"), Fault::HangBeforeHeaders);
    ask_for(&world, 0..count).await;
    ask_for(&world, 0..count.min(1_000)).await;
    let seen = queue(&world).await;
    let in_hand = seen["queued"].as_u64().unwrap() + seen["running"].as_u64().unwrap();
    assert_eq!(in_hand, count as u64, "{seen}");
    assert_eq!(event(&world, "duplicate").await, count.min(1_000) as f64);
    let running = seen["running"].as_u64().unwrap();
    assert!(running > 0 && world.upstream.in_flight() as u64 <= 4 * running, "{seen}");
    world.upstream.stop();
    world.upstream.clear_faults();
    world.upstream.clear_requests();
    world.upstream.restart();
    until_all_stored(&world, count).await;
    world.until_idle().await;
    let peak = world.gateway.peak_kib();
    eprintln!("{count} background fetches: at most {peak} KiB resident");
    assert!(peak < PEAK_KIB_MAX, "{peak} KiB");
    let asked = zips_asked(&world);
    let twice: Vec<_> = asked.iter().filter(|(_, times)| **times != 1).collect();
    assert!(asked.len() == count && twice.is_empty(), "{} asked, {twice:?}", asked.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_versions_asked_for_at_once_are_fetched_once_each_and_all_stored() {
    a_flood_is_stored(400).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: ten thousand modules"]
async fn slow_ten_thousand_versions_asked_for_at_once_are_fetched_once_each_and_all_stored() {
    a_flood_is_stored(10_000).await;
}

/// A flood into a queue on disk; the gateway is killed while it works on it, and the next goes on.
async fn a_flood_survives_a_kill(count: usize) {
    let mut world = flooded().env("DIPYLON_QUEUE_DIRECTORY", "{folder}/queue").start().await;
    world.upstream.generate(Flood);
    // The kill comes in the middle, and however slow this machine is before the last of them is stored.
    world.upstream.latency(Duration::from_millis(2));
    let last = format!("/{}/", module(count - 1));
    world.upstream.fault(When::prefix(&last), Fault::HangBeforeHeaders);
    let killed_after = count / 4;
    ask_for(&world, 0..count).await;
    world.until("a part is stored", || world.is_stored(&module(killed_after), FLOOD_VERSION)).await;
    world.kill().await;
    let stored = (0..count).filter(|number| world.is_stored(&module(*number), FLOOD_VERSION));
    let before = stored.count();
    assert!(before < count, "the kill came too late: all {count} were stored");
    world.upstream.latency(Duration::ZERO);
    world.upstream.clear_faults();
    world.start_again().await;
    until_all_stored(&world, count).await;
    world.until_idle().await;
    let recovered = event(&world, "recovered").await;
    assert!(recovered >= (count - before) as f64, "{recovered} of {}", count - before);
    // What was under way at the kill is fetched again; all else was fetched once.
    let again = zips_asked(&world).values().filter(|times| **times > 1).count();
    assert!(again <= 64, "{again} versions were fetched twice");
    eprintln!(
        "{count} accepted: {before} stored before the kill, {recovered} gone on with, {again} again"
    );
    let seen = queue(&world).await;
    assert_eq!((&seen["queued"], &seen["on_disk"]), (&json!(0), &json!(true)));
    // And what has ended does not come again.
    world.restart().await;
    assert_eq!(event(&world, "recovered").await, 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_in_the_middle_loses_none_of_hundreds_that_were_accepted() {
    a_flood_survives_a_kill(400).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: ten thousand modules"]
async fn slow_a_kill_in_the_middle_loses_none_of_ten_thousand_that_were_accepted() {
    a_flood_survives_a_kill(10_000).await;
}

#[tokio::test]
async fn what_waits_at_an_end_in_order_goes_on_after_the_start() {
    let mut world = flooded().env("DIPYLON_QUEUE_DIRECTORY", "{folder}/queue").start().await;
    world.upstream.generate(Flood);
    world.upstream.fault(When::prefix("/example.com/flood/"), sick());
    ask_for(&world, 0..20).await;
    world.restart().await;
    assert!(event(&world, "recovered").await >= 1.0);
    world.upstream.clear_faults();
    // Offline nothing is fetched, and nothing is lost.
    world.set("ATHENS_NETWORK_MODE", "offline").await;
    let seen = queue(&world).await;
    assert!(seen["queued"] == json!(0) && seen["held"].as_u64() > Some(0), "{seen}");
    assert!(world.logged("policy forbids to fetch them now"));
    world.set("ATHENS_NETWORK_MODE", "strict").await;
    until_all_stored(&world, 20).await;
}

/// However long a request takes that the end waits for.
#[tokio::test]
async fn what_waits_on_disk_is_not_begun_after_the_signal_to_end() {
    let setup = flooded().env("DIPYLON_QUEUE_DIRECTORY", "{folder}/queue");
    let mut world = setup.env("ATHENS_GOGET_WORKERS", "2").start().await;
    world.upstream.generate(Flood);
    let slow = format!("/{}/@v/list", module(0));
    world.upstream.fault(slow.as_str(), Fault::Delay(Duration::from_secs(3)));
    world
        .upstream
        .fault(When::matching(|path| path.ends_with(".zip")), Fault::Delay(Duration::from_secs(2)));
    let (client, path) = (world.client(), slow.clone());
    let asking = tokio::spawn(async move { client.get(&path).await });
    world.until("the list is asked for", || world.asked(&slow) == 1).await;
    ask_for(&world, 1..30).await;
    world.until("the queue is at work", || !zips_asked(&world).is_empty()).await;
    let begun = zips_asked(&world).len();
    assert!(begun < 10, "the signal comes while most of them wait: {begun}");
    let status = world.gateway.terminate().await;
    assert_eq!(status.code(), Some(0), "{}", world.gateway.stderr());
    assert_eq!(asking.await.expect("the request ends").status, 200);
    let ended = zips_asked(&world).len();
    assert!(ended <= begun + 1, "{ended} were begun, {begun} of them before the signal");
    world.start_again().await;
    world.upstream.clear_faults();
    for number in 1..30 {
        world.until_stored(&module(number), FLOOD_VERSION).await;
    }
}

#[tokio::test]
async fn what_a_store_did_not_take_costs_no_attempt_and_is_stored_when_it_does() {
    let world = flooded().start().await;
    world.upstream.generate(Flood);
    // A file where a folder has to be: no right and no user can make one there.
    let in_the_way = world.root().join("example.com");
    std::fs::write(&in_the_way, "in the way").expect("a file");
    ask_for(&world, 0..1).await;
    until("it was tried", async || event(&world, "repeated").await == 1.0).await;
    let entry = &queue(&world).await["entries"][0];
    assert_eq!((&entry["state"], &entry["attempts"]), (&json!("paused"), &json!(0)), "{entry}");
    std::fs::remove_file(&in_the_way).expect("it is there");
    world.until_stored(&module(0), FLOOD_VERSION).await;
}

#[tokio::test]
async fn a_queue_directory_in_use_is_refused_and_named() {
    let world = flooded().env("DIPYLON_QUEUE_DIRECTORY", "{folder}/queue").start().await;
    let refused = world.try_replica().await.expect_err("one directory, one gateway");
    let pid = format!("used by process {}", world.gateway.pid());
    for word in ["Dipylon.QueueDirectory", &pid] {
        assert!(refused.contains(word), "{refused}");
    }
}

#[tokio::test]
async fn the_newest_is_left_out_of_a_full_queue_and_the_client_sees_no_difference() {
    let world = flooded().env("DIPYLON_QUEUE_MAX_ENTRIES", "10").start().await;
    world.upstream.generate(Flood);
    world.upstream.fault(When::prefix("/example.com/flood/"), Fault::HangBeforeHeaders);
    ask_for(&world, 0..15).await;
    let seen = queue(&world).await;
    assert_eq!((&seen["capacity"], &seen["entries"].as_array().unwrap().len()), (&json!(10), &10));
    let refused = world.metrics().await.metric("dipylon_dispatch_background_refused_total").sum();
    assert_eq!(refused, 5.0);
    assert!(world.logged("the newest are left out"));
}

#[tokio::test]
async fn the_queue_shows_what_runs_what_waits_and_why() {
    let world = flooded().env("ATHENS_GOGET_WORKERS", "2").start().await;
    world.upstream.generate(Flood);
    world.upstream.fault(When::prefix(&format!("/{}/", module(0))), sick());
    world.upstream.fault(When::prefix("/example.com/flood/"), Fault::HangBeforeHeaders);
    let empty = queue(&world).await;
    let wanted = json!({
        "queued": 0, "running": 0, "held": 0, "capacity": 10_000, "oldest_seconds": null, "on_disk": false,
        "entries": [], "left_out": 0,
    });
    assert_eq!(empty, wanted);
    ask_for(&world, 0..4).await;
    until("the first has failed", async || event(&world, "repeated").await == 1.0).await;
    let seen = queue(&world).await;
    let states: Vec<_> = seen["entries"].as_array().unwrap().iter().collect();
    assert_eq!(states.len(), 4, "{seen}");
    assert_eq!((&states[0]["state"], &states[0]["module"]), (&json!("running"), &json!(module(1))));
    let paused = states.iter().find(|entry| entry["state"] == "paused").expect("one is");
    assert_eq!((&paused["module"], &paused["attempts"]), (&json!(module(0)), &json!(1)));
    let few = world.get_ok("/-/queue?limit=1").await;
    let few: Value = serde_json::from_slice(&few.body).expect("JSON");
    assert_eq!((few["entries"].as_array().unwrap().len(), &few["left_out"]), (1, &json!(3)));
}

// === The admin's token ===

pub(crate) const TOKEN: (&str, &str) = ("X-Dipylon-Token", "open sesame");

pub(crate) async fn post(
    world: &World,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, Value) {
    let body = bytes::Bytes::from(body.to_owned());
    let answer = world.client().request(Method::POST, path, headers, body).await;
    let value = serde_json::from_slice(&answer.body);
    (answer.status.as_u16(), value.unwrap_or_else(|_| json!(answer.text())))
}

#[tokio::test]
async fn without_a_token_pages_can_be_read_and_nothing_can_be_changed() {
    let world = Setup::memory().start().await;
    world.get_ok("/-/queue").await;
    world.get_refused("/-/nothing", 404, &["/-/", "queue", "purge"]).await;
    for path in [
        "/-/purge",
        "/-/webhook/purge?module=example.com/a",
        "/-/prefetch",
        "/-/webhook/prefetch?module=example.com/a",
    ] {
        let (status, text) = post(&world, path, &[TOKEN], r#"{"module": "example.com/a"}"#).await;
        let text = text.as_str().unwrap();
        assert_eq!(status, 403, "{text}");
        assert!(text.contains("AdminToken") && text.contains("DIPYLON_ADMIN_TOKEN"), "{text}");
    }
}

#[tokio::test]
async fn with_a_token_nothing_under_the_dash_is_told_or_done_without_it() {
    let world = Setup::memory().env("DIPYLON_ADMIN_TOKEN", TOKEN.1).start().await;
    for wrong in [&[][..], &[("X-Dipylon-Token", "open sesam")], &[("X-Dipylon-Token", "")]] {
        for path in ["/-/queue", "/-/nothing"] {
            let refused = world.request(Method::GET, path, wrong).await;
            assert_eq!(refused.status, 403, "{path} {wrong:?}");
            assert!(refused.text().contains("X-Dipylon-Token"), "{}", refused.text());
        }
        let (status, _) = post(&world, "/-/purge", wrong, r#"{"module": "example.com/a"}"#).await;
        assert_eq!(status, 403);
        assert_eq!(post(&world, "/-/prefetch", wrong, "example.com/a@v1.0.0").await.0, 403);
    }
    assert_eq!(world.request(Method::GET, "/-/queue", &[TOKEN]).await.status, 200);
    assert_eq!(world.request(Method::GET, "/-/nothing", &[TOKEN]).await.status, 404);
    for path in ["/-/purge", "/-/prefetch", "/-/webhook/prefetch"] {
        assert_eq!(world.request(Method::GET, path, &[TOKEN]).await.status, 405, "{path}");
    }
    let body = r#"{"module": "example.com/a"}"#;
    let none = json!({ "files": 0, "lists": 0, "forgotten": 0 });
    assert_eq!(post(&world, "/-/purge", &[TOKEN], body).await, (200, none));
    // Other pages are as they were.
    world.get_ok("/version").await;
    assert!(!world.gateway.stdout().contains(TOKEN.1), "the token is in the log");
}

// === Purges ===

fn purging() -> Setup {
    Setup::memory().env("DIPYLON_ADMIN_TOKEN", TOKEN.1)
}

#[tokio::test]
async fn a_purge_forgets_what_does_not_exist_and_a_version_published_since_is_served() {
    let world = purging().start().await;
    let (info, list) = (file("info"), format!("/{MODULE}/@v/list"));
    for path in [&info, &list] {
        for _ in 0..2 {
            world.get_refused(path, 404, &["not found"]).await;
        }
        assert_eq!(world.asked(path), 1, "{path}: the second is remembered");
    }
    world.add_module();
    world.get_refused(&info, 404, &["not found"]).await;
    let body = json!({ "module": MODULE, "version": VERSION }).to_string();
    let (status, told) = post(&world, "/-/purge", &[TOKEN], &body).await;
    assert_eq!((status, &told), (200, &json!({ "files": 1, "lists": 1, "forgotten": 2 })));
    world.get_ok(&info).await;
    assert_eq!(world.get_ok(&list).await.text(), format!("{VERSION}\n"));
}

#[tokio::test]
async fn who_comes_after_a_purge_waits_for_no_question_from_before_it() {
    let world = purging().start().await;
    let body = json!({ "module": MODULE }).to_string();
    for path in [file("info"), format!("/{MODULE}/@v/list")] {
        let gate = Gate::default();
        world.upstream.fault(When::path(&path).times(1), Fault::Gate(gate.clone()));
        let (client, asked) = (world.client(), path.clone());
        let before = tokio::spawn(async move { client.get(&asked).await });
        until("upstream is asked", async || world.asked(&path) == 1).await;
        world.add_module();
        assert_eq!(post(&world, "/-/purge", &[TOKEN], &body).await.0, 200);
        world.get_ok(&path).await;
        assert_eq!(world.asked(&path), 2, "{path}");
        gate.open();
        before.await.expect("the request is not aborted");
    }
}

#[tokio::test]
async fn a_webhook_forgets_a_module_and_all_below_it_and_nothing_beside() {
    let world = purging().start().await;
    let paths = ["example.com/mono", "example.com/mono/sub", "example.com/monolith"];
    for path in paths {
        world.get_refused(&path_of(path, VERSION, "mod"), 404, &["not found"]).await;
    }
    let push = "/-/webhook/purge?module=example.com/mono";
    let forge = json!({ "ref": "refs/tags/sub/v1.2.3" }).to_string();
    let (status, told) = post(&world, push, &[TOKEN], &forge).await;
    assert_eq!((status, &told["forgotten"]), (200, &json!(2)), "{told}");
    for path in paths {
        world.get_refused(&path_of(path, VERSION, "mod"), 404, &["not found"]).await;
    }
    let asked = paths.map(|path| world.asked(&path_of(path, VERSION, "mod")));
    assert_eq!(asked, [2, 2, 1]);
}

#[tokio::test]
async fn a_purge_that_names_nothing_or_nonsense_is_refused_and_says_what_is_wanted() {
    let world = purging().start().await;
    let rows = [
        ("", "body"),
        ("{}", "\"prefix\""),
        ("[]", "\"module\""),
        (r#"{"module": ""}"#, "module is empty"),
        (r#"{"module": "example.com/a", "prefix": "example.com"}"#, "several"),
        (r#"{"modul": "example.com/a"}"#, "modul"),
        (r#"{"pattern": "["}"#, "GOPRIVATE"),
        (r#"{"pattern": ""}"#, "GOPRIVATE"),
    ];
    for (body, word) in rows {
        let (status, text) = post(&world, "/-/purge", &[TOKEN], body).await;
        assert_eq!(status, 400, "{body}: {text}");
        assert!(text.as_str().unwrap().contains(word), "{body}: {text}");
    }
    let (status, text) = post(&world, "/-/webhook/purge", &[TOKEN], "{}").await;
    assert_eq!(status, 400);
    assert!(text.as_str().unwrap().contains("?module=PATH"), "{text}");
    let large = format!(r#"{{"module": "{}"}}"#, "a".repeat(80_000));
    assert_eq!(post(&world, "/-/purge", &[TOKEN], &large).await.0, 400);
    let all = post(&world, "/-/purge", &[TOKEN], r#"{"pattern": "*"}"#).await;
    assert_eq!(all.0, 200, "{}", all.1);
}

// === What go asks for beside what it wants ===

#[tokio::test]
async fn prefixes_of_an_import_path_are_asked_upstream_once() {
    let world = Setup::memory().start().await;
    world.add_module();
    // What `go get example.com/lib/text@v1.2.3` and `@latest` ask, for each prefix of the path.
    let probes: Vec<String> = ["example.com", "example.com/lib", "example.com/lib/text/sub"]
        .iter()
        .flat_map(|path| {
            [format!("/{path}/@v/list"), format!("/{path}/@latest"), path_of(path, VERSION, "info")]
        })
        .collect();
    for probe in &probes {
        world.get_refused(probe, 404, &["not found"]).await;
    }
    world.upstream.clear_requests();
    for probe in &probes {
        world.get_refused(probe, 404, &["not found"]).await;
    }
    // Nor is any other version of a path asked for that has neither list nor latest.
    for path in ["example.com/lib", "example.com/lib/text/sub"] {
        world.get_refused(&path_of(path, "v9.9.9", "info"), 404, &["not found"]).await;
    }
    assert_eq!(world.module_requests(), 0, "{:?}", world.upstream.requests());
    world.get_ok(&file("info")).await;
}

#[tokio::test]
async fn a_path_that_upstream_could_not_be_asked_about_is_not_remembered() {
    let world = Setup::memory().start().await;
    world.upstream.fault(When::any(), sick());
    for path in [format!("/{MODULE}/@v/list"), format!("/{MODULE}/@latest")] {
        assert_eq!(world.get(&path).await.status, 502, "{path}");
    }
    world.upstream.clear_faults();
    world.add_module();
    world.get_ok(&file("info")).await;
}
