//! Versions that are fetched before a client asks for them.

use std::time::Duration;

use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::{Fault, Gate, Generator, When};
use serde_json::{Value, json};

use crate::background::{TOKEN, event, post, queue, zips_asked};
use crate::world::{MODULE, Setup, VERSION, World, file, list, outcome, path_of, stocked};

/// The module with many versions.
const MANY: &str = "example.com/many";
/// Versions that one request may bring into the queue.
const VERSIONS_MAX: usize = 1_000;

fn setup() -> Setup {
    Setup::disk().env("DIPYLON_ADMIN_TOKEN", TOKEN.1)
}

/// What is said to these lines: always with 202.
async fn prefetch(world: &World, lines: &str) -> Value {
    let (status, said) = post(world, "/-/prefetch", &[TOKEN], lines).await;
    assert_eq!(status, 202, "{said}");
    said
}

/// Accepted, stored, queued, refused and left out.
fn counts(said: &Value) -> [u64; 5] {
    ["accepted", "stored", "queued", "refused", "left_out"]
        .map(|name| said[name].as_u64().expect("a count"))
}

/// The lines that were not taken whole: number, reason, versions.
fn reasons(said: &Value) -> Vec<(u64, String, u64)> {
    let reasons = said["reasons"].as_array().expect("an array").iter();
    let number = |reason: &Value, name: &str| reason[name].as_u64().expect("a number");
    reasons
        .map(|reason| {
            assert!(!reason["why"].as_str().expect("a text").is_empty(), "{reason}");
            let name = reason["reason"].as_str().expect("a name").to_owned();
            (number(reason, "line"), name, number(reason, "versions"))
        })
        .collect()
}

fn minor(number: usize) -> String {
    format!("v1.{number}.0")
}

/// So many versions of [`MANY`].
fn add_many(world: &World, count: usize) {
    for number in 0..count {
        world.add(FakeModule::new(MANY, &minor(number)));
    }
}

#[tokio::test]
async fn a_version_that_is_named_is_stored_though_no_client_has_asked_and_not_fetched_again() {
    let world = setup().start().await;
    world.add_module();
    let line = format!("{MODULE}@{VERSION}\n");
    let said = prefetch(&world, &line).await;
    let wanted = json!({
        "accepted": 1, "on_disk": 0, "stored": 0, "queued": 0, "refused": 0, "left_out": 0, "reasons": [],
    });
    assert_eq!(said, wanted);
    world.until_stored(MODULE, VERSION).await;
    world.until_idle().await;
    assert_eq!(counts(&prefetch(&world, &line).await), [0, 1, 0, 0, 0]);
    let answer = world.get_ok(&file("zip")).await;
    assert_eq!((outcome(&answer), world.asked(&file("zip"))), ("hit_storage", 1));
    assert_eq!(world.asked(&list()), 0, "a version that is named needs no list");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_versions_of_a_module_are_fetched_once_each_while_hits_and_misses_are_served() {
    let setup = setup().env("ATHENS_PROTOCOL_WORKERS", "1").env("ATHENS_GOGET_WORKERS", "4");
    let world = stocked(setup).await;
    add_many(&world, 30);
    world.add(FakeModule::new("example.com/other", VERSION));
    let gate = Gate::default();
    world.upstream.fault(When::prefix(&format!("/{MANY}/@v/v")), Fault::Gate(gate.clone()));
    assert_eq!(counts(&prefetch(&world, MANY).await), [30, 0, 0, 0, 0]);
    world.until("the queue is at work", || world.upstream.in_flight() > 0).await;
    // All that the gateway fetches now is silent: hits and the one miss that is allowed at a time pass by it.
    for _ in 0..20 {
        let hit = world.get_ok(&file("zip")).await;
        assert!(["hit_storage", "hit_memory"].contains(&outcome(&hit)), "{}", outcome(&hit));
    }
    world.get_ok(&path_of("example.com/other", VERSION, "zip")).await;
    let seen = queue(&world).await;
    assert_eq!((&seen["running"], &seen["queued"]), (&json!(2), &json!(28)), "half of the slots");
    // Who asks again is told that they are on their way.
    assert_eq!(
        counts(&prefetch(&world, &format!("{MANY}\n{MANY}@v1.7.0")).await),
        [0, 0, 31, 0, 0]
    );
    gate.open();
    for number in 0..30 {
        world.until_stored(MANY, &minor(number)).await;
    }
    world.until_idle().await;
    let zips = zips_asked(&world);
    let once = (0..30).all(|number| zips.get(&path_of(MANY, &minor(number), "zip")) == Some(&1));
    assert!(once, "{zips:?}");
    assert_eq!((event(&world, "accepted").await, event(&world, "stored").await), (30.0, 30.0));
    assert_eq!(counts(&prefetch(&world, MANY).await), [0, 30, 0, 0, 0]);
}

#[tokio::test]
async fn what_was_accepted_on_disk_is_stored_though_the_gateway_is_killed_right_after_the_answer() {
    let setup = setup().env("DIPYLON_QUEUE_DIRECTORY", "{folder}/queue");
    let mut world = setup.start().await;
    add_many(&world, 30);
    world.upstream.fault(When::prefix(&format!("/{MANY}/@v/v")), Fault::HangBeforeHeaders);
    let said = prefetch(&world, MANY).await;
    assert_eq!((counts(&said), &said["on_disk"]), ([30, 0, 0, 0, 0], &json!(30)));
    world.kill().await;
    assert!((0..30).all(|number| !world.is_stored(MANY, &minor(number))), "it was killed too late");
    world.upstream.clear_faults();
    world.start_again().await;
    for number in 0..30 {
        world.until_stored(MANY, &minor(number)).await;
    }
    assert_eq!(event(&world, "recovered").await, 30.0);
}

/// A module with more versions than one request takes.
struct Endless(usize);

impl Generator for Endless {
    fn module(&self, path: &str, version: &str) -> Option<FakeModule> {
        (path == MANY).then(|| FakeModule::new(path, version))
    }

    fn versions(&self, _: &str) -> Vec<String> {
        (0..self.0).map(minor).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_over_the_limit_is_counted_and_comes_with_the_next_request() {
    let world = setup().start().await;
    world.upstream.generate(Endless(VERSIONS_MAX + 50));
    world.upstream.fault(When::prefix(&format!("/{MANY}/@v/v")), Fault::HangBeforeHeaders);
    let said = prefetch(&world, &format!("{MANY}\nexample.com/next")).await;
    assert_eq!(counts(&said), [1_000, 0, 0, 0, 51], "{said}");
    let limit = |line, versions| (line, "versions_limit".to_owned(), versions);
    assert_eq!(reasons(&said), [limit(1, 50), limit(2, 1)]);
    let why = said["reasons"][0]["why"].as_str().expect("a text");
    assert!(why.contains("1000") && why.contains("again"), "{why}");
    let seen = queue(&world).await;
    let entries = seen["entries"].as_array().expect("an array").iter();
    let running: Vec<_> = entries.filter(|entry| entry["state"] == "running").collect();
    let newest: Vec<_> = (50..VERSIONS_MAX + 50).rev().map(minor).take(running.len()).collect();
    assert!(!newest.is_empty(), "{seen}");
    let is_new = |entry: &&Value| newest.iter().any(|version| entry["version"] == json!(version));
    assert!(running.iter().all(is_new), "the newest come first: {seen}");
    assert_eq!(counts(&prefetch(&world, MANY).await), [50, 0, 1_000, 0, 0]);
}

#[tokio::test]
async fn so_many_modules_are_asked_for_their_versions_and_no_more() {
    let world = setup().start().await;
    let lines: Vec<String> = (0..103).map(|number| format!("example.com/no/{number}")).collect();
    let said = prefetch(&world, &lines.join("\n")).await;
    assert_eq!(counts(&said), [0, 0, 0, 100, 3], "{said}");
    let reasons = reasons(&said);
    assert_eq!(reasons[0], (1, "list".to_owned(), 1));
    assert_eq!(reasons[102], (103, "modules_limit".to_owned(), 1));
    let why = said["reasons"][0]["why"].as_str().expect("a text");
    assert!(why.contains("not found"), "{why}");
    assert!((0..103).all(|number| {
        world.asked(&format!("/example.com/no/{number}/@v/list")) == usize::from(number < 100)
    }));
}

#[tokio::test]
async fn a_malformed_line_is_told_by_its_number_and_the_others_are_taken() {
    let world = setup().start().await;
    world.add_module();
    let said =
        prefetch(&world, &format!("not a module\n\n{MODULE}@\r\n{MODULE}@{VERSION}\r\nfmt\n"))
            .await;
    assert_eq!(counts(&said), [1, 0, 0, 3, 0], "{said}");
    let malformed = |line| (line, "malformed".to_owned(), 1);
    assert_eq!(reasons(&said), [malformed(1), malformed(3), malformed(5)]);
    assert_eq!(said["reasons"][0]["asked"], json!("not a module"));
    world.until_stored(MODULE, VERSION).await;
    for (body, words) in [("", "empty"), ("\n \n", "empty"), (&"a.io/m\n".repeat(2_001), "2000")] {
        let (status, text) = post(&world, "/-/prefetch", &[TOKEN], body).await;
        assert_eq!(status, 400, "{text}");
        assert!(text.as_str().expect("a text").contains(words), "{text}");
    }
    let (status, text) = post(&world, "/-/webhook/prefetch", &[TOKEN], "{}").await;
    assert_eq!(status, 400);
    assert!(text.as_str().expect("a text").contains("?module=PATH"), "{text}");
}

const POLICY: &str = r#"
downloadURL = "https://elsewhere.test"
mode        = "sync"
download "example.com/none" {
  mode = "none"
}
download "example.com/redirect" {
  mode = "redirect"
}
download "example.com/both" {
  mode = "async_redirect"
}
download "example.com/quiet" {
  mode = "sync"
  list = "storage"
}
"#;

#[tokio::test]
async fn what_policy_forbids_is_refused_by_name_and_no_upstream_sees_it() {
    let world = setup()
        .with_file("mode.hcl", POLICY)
        .env("ATHENS_DOWNLOAD_MODE", "file:{folder}/mode.hcl")
        .with_file("filter", "- example.com/out\nD example.com/direct\n")
        .env("ATHENS_FILTER_FILE", "{folder}/filter")
        .env("ATHENS_GLOBAL_ENDPOINT", "https://elsewhere.test")
        .start()
        .await;
    let rows = [
        ("example.com/none@v1.0.0", "download mode none"),
        ("example.com/none", "download mode none"),
        ("example.com/redirect@v1.0.0", "download mode redirect"),
        ("example.com/out@v1.0.0", "filter file excludes"),
        ("example.com/out", "filter file excludes"),
        ("example.com/direct", "filter file sends"),
        ("example.com/quiet@main", "list = \"storage\""),
    ];
    let lines = rows.map(|(line, _)| line).join("\n");
    let said = prefetch(&world, &lines).await;
    assert_eq!(counts(&said), [0, 0, 0, rows.len() as u64, 0], "{said}");
    for ((line, words), reason) in rows.iter().zip(said["reasons"].as_array().expect("an array")) {
        assert_eq!((&reason["asked"], &reason["reason"]), (&json!(line), &json!("policy")));
        assert!(reason["why"].as_str().expect("a text").contains(words), "{reason}");
    }
    assert_eq!(queue(&world).await["queued"], json!(0));
    assert_eq!(world.module_requests(), 0, "{:?}", world.upstream.requests());
    // What clients are sent elsewhere for, and what is kept beside, may come ahead as well; so may a name whose
    // list no upstream is asked for.
    for path in ["example.com/both", "example.com/quiet"] {
        world.add(FakeModule::new(path, VERSION));
    }
    let said = prefetch(&world, &format!("example.com/both\nexample.com/quiet@{VERSION}")).await;
    assert_eq!(counts(&said), [2, 0, 0, 0, 0], "{said}");
    world.until_stored("example.com/both", VERSION).await;
    world.until_stored("example.com/quiet", VERSION).await;
    assert_eq!(world.asked("/example.com/quiet/@v/list"), 0);
}

#[tokio::test]
async fn offline_nothing_is_fetched_ahead() {
    let world = setup().env("ATHENS_NETWORK_MODE", "offline").start().await;
    world.add_module();
    let said = prefetch(&world, &format!("{MODULE}@{VERSION}\n{MODULE}")).await;
    assert_eq!(counts(&said), [0, 0, 0, 2, 0], "{said}");
    assert!(said["reasons"][0]["why"].as_str().expect("a text").contains("offline"), "{said}");
    assert_eq!(world.upstream.total(), 0);
}

#[tokio::test]
async fn what_is_remembered_not_to_exist_is_refused_until_it_is_purged() {
    let world = setup().start().await;
    world.get_refused(&file("zip"), 404, &["not found"]).await;
    world.add_module();
    let line = format!("{MODULE}@{VERSION}");
    let said = prefetch(&world, &line).await;
    assert_eq!(reasons(&said), [(1, "remembered".to_owned(), 1)], "{said}");
    assert_eq!(said["reasons"][0]["such_as"], json!(VERSION));
    assert!(said["reasons"][0]["why"].as_str().expect("a text").contains("/-/purge"), "{said}");
    let purge = json!({ "module": MODULE }).to_string();
    assert_eq!(post(&world, "/-/purge", &[TOKEN], &purge).await.0, 200);
    assert_eq!(counts(&prefetch(&world, &line).await), [1, 0, 0, 0, 0]);
    world.until_stored(MODULE, VERSION).await;
}

#[tokio::test]
async fn what_a_full_queue_has_no_room_for_is_refused_or_left_out_and_said() {
    let world = setup().env("DIPYLON_QUEUE_MAX_ENTRIES", "2").start().await;
    add_many(&world, 100);
    world.upstream.fault(When::prefix(&format!("/{MANY}/@v/v")), Fault::HangBeforeHeaders);
    let said =
        prefetch(&world, &format!("{MANY}@v1.0.0\n{MANY}@v1.1.0\n{MANY}@v1.2.0\n{MANY}")).await;
    // The list is not even asked for.
    assert_eq!(counts(&said), [2, 0, 0, 1, 1], "{said}");
    assert_eq!(world.asked(&format!("/{MANY}/@v/list")), 0);
    let full = |line| (line, "queue_full".to_owned(), 1);
    let said = reasons(&said);
    // The three are offered at the same time: which of them comes last is the scheduler's.
    assert!((1..=3).any(|line| said == [full(line), full(4)]), "{said:?}");
    let refused = world.metrics().await.metric("dipylon_dispatch_background_refused_total").sum();
    assert_eq!(refused, 1.0);
    let said = prefetch(&world, MANY).await;
    let [accepted, stored, queued, refused, left_out] = counts(&said);
    assert_eq!((accepted, stored, queued + refused + left_out), (0, 0, 100), "{said}");
    assert!(reasons(&said).iter().all(|(_, reason, _)| reason == "queue_full"), "{said}");
}

#[tokio::test]
async fn a_branch_and_the_newest_come_ahead_as_the_versions_that_they_stand_for() {
    let world = setup().start().await;
    let pseudo = "v1.3.1-0.20240405060708-abcdefabcdef";
    for version in ["v1.0.0", "v1.3.0", pseudo] {
        world.add(FakeModule::new(MODULE, version));
    }
    world.upstream.query(MODULE, "main", pseudo);
    let said = prefetch(&world, &format!("{MODULE}@main\n{MODULE}@latest")).await;
    assert_eq!(counts(&said), [2, 0, 0, 0, 0], "{said}");
    world.until_stored(MODULE, pseudo).await;
    world.until_stored(MODULE, "v1.3.0").await;
    world.until_idle().await;
    assert!(!world.is_stored(MODULE, "v1.0.0"));
    // What a branch stands for is asked anew, and what is stored is not fetched again.
    assert_eq!(counts(&prefetch(&world, &format!("{MODULE}@main")).await), [1, 0, 0, 0, 0]);
    world.until_idle().await;
    assert_eq!(world.asked(&path_of(MODULE, pseudo, "zip")), 1);
}

#[tokio::test]
async fn a_webhook_names_a_module_or_a_version_of_it() {
    let world = setup().start().await;
    add_many(&world, 3);
    let forge = json!({ "ref": "refs/tags/v1.1.0" }).to_string();
    let push = format!("/-/webhook/prefetch?module={MANY}&version=v1.1.0");
    let (status, said) = post(&world, &push, &[TOKEN], &forge).await;
    assert_eq!((status, counts(&said)), (202, [1, 0, 0, 0, 0]));
    world.until_stored(MANY, "v1.1.0").await;
    let push = format!("/-/webhook/prefetch?module={MANY}");
    let (status, said) = post(&world, &push, &[TOKEN], "").await;
    assert_eq!((status, counts(&said)), (202, [2, 1, 0, 0, 0]));
    world.until_stored(MANY, "v1.2.0").await;
}

#[tokio::test]
async fn an_upstream_that_is_down_refuses_the_list_and_delays_what_is_named() {
    let world = setup().env("DIPYLON_UPSTREAM_ATTEMPTS", "1").start().await;
    world.add_module();
    world.upstream.fault(When::prefix(&format!("/{MODULE}/")), crate::world::sick());
    let said = prefetch(&world, &format!("{MODULE}\n{MODULE}@{VERSION}")).await;
    assert_eq!(counts(&said), [1, 0, 0, 1, 0], "{said}");
    assert_eq!(reasons(&said), [(1, "list".to_owned(), 1)]);
    tokio::time::sleep(Duration::from_millis(200)).await;
    world.upstream.clear_faults();
    world.until_stored(MODULE, VERSION).await;
}
