//! An upstream that is dead, or that hangs: what a client had before it still has, and nobody waits longer than
//! the configuration says.

use std::time::{Duration, Instant};

use dipylon_middleware::versions::STALE_PATIENCE;
use dipylon_testkit::client::Response;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::{Fault, Gate, When};

use crate::world::{
    MODULE, Setup, VERSION, World, assert_refusal, file, latest, list, outcome, path_of, until,
};

/// What the branch `master` stands for.
const TIP: &str = "v1.2.4-0.20240102030405-aaaaaaaaaaaa";
/// A version of which a client has asked for `.info` and `.mod` alone.
const SMALL: &str = "v1.1.0";
/// Longer than any answer takes that waits for nobody, on a machine that has other work.
const MARGIN: Duration = Duration::from_secs(4);

/// A module that upstream has never been asked about.
const NEW: &str = "example.com/never/asked";

/// Everything that can be asked of [`MODULE`], and all of it that may change.
fn asks() -> ([String; 3], Vec<String>) {
    let mut files: Vec<String> = ["info", "mod", "zip"].map(file).to_vec();
    files.extend(["info", "mod"].map(|kind| path_of(MODULE, SMALL, kind)));
    files.push(path_of(MODULE, TIP, "info"));
    ([list(), latest(), path_of(MODULE, "master", "info")], files)
}

/// A gateway that has answered all of it, before an upstream that has died since.
async fn widowed(setup: Setup) -> (World, Vec<(String, Response)>) {
    let world = setup.env("DIPYLON_UPSTREAM_ATTEMPTS", "2").start().await;
    for version in [VERSION, SMALL, TIP] {
        world.add(FakeModule::new(MODULE, version));
    }
    world.upstream.query(MODULE, "master", TIP);
    let (changing, files) = asks();
    let mut before = Vec::new();
    for path in changing.into_iter().chain(files) {
        let answer = world.get_ok(&path).await;
        before.push((path, answer));
    }
    world.until_stored(MODULE, VERSION).await;
    world.until_idle().await;
    world.upstream.stop();
    (world, before)
}

/// Waits until what may change is fresh no more, then asks for all of it: what may change is as it was before
/// and says that it is stale in its own way, and the files are as ever.
async fn all_is_there(world: &World, before: &[(String, Response)], stale: &str) {
    let (changing, _) = asks();
    for path in &changing {
        until("it is stale", async || outcome(&world.get_ok(path).await) == stale).await;
    }
    for (path, answer) in before {
        let began = Instant::now();
        let now = world.get_ok(path).await;
        assert_eq!(now.body, answer.body, "{path}");
        assert!(began.elapsed() < MARGIN, "{path}: {:?}", began.elapsed());
        let (age, detail) = (now.header("age"), outcome(&now));
        if changing.contains(path) {
            assert_eq!(detail, stale, "{path}");
            let age = age.and_then(|seconds| seconds.parse::<u64>().ok());
            assert!(age.is_some_and(|seconds| seconds >= 1), "{path}: {age:?}");
        } else {
            assert!(["hit_memory", "hit_storage"].contains(&detail), "{path}: {detail}");
            assert_eq!(age, None, "{path}");
        }
    }
}

#[tokio::test]
async fn who_had_asked_before_a_death_lists_resolves_and_downloads_and_is_told_that_it_is_stale() {
    for (revalidated_for, stale, status) in [
        ("1500", "stale_revalidate", "; detail=stale_revalidate"),
        ("0", "stale_error", "; detail=stale_error"),
    ] {
        let setup = Setup::disk()
            .env("DIPYLON_FRESH_FOR", "1")
            .env("DIPYLON_STALE_WHILE_REVALIDATE", revalidated_for);
        let (world, before) = widowed(setup).await;
        // Twice: the second time upstream has just failed, and is left alone.
        for _ in 0..2 {
            all_is_there(&world, &before, stale).await;
        }
        // On a slow machine the time is over for which upstream is left alone.
        let answer = world.get_ok(&list()).await;
        let told = answer.header("cache-status").unwrap_or_default();
        let is_asked = told.starts_with("dipylon; fwd=stale; ttl=-") && stale == "stale_error";
        assert!(told.starts_with("dipylon; hit; ttl=-") || is_asked, "{told}");
        assert!(told.ends_with(status), "{told}");
        // What nobody had asked for is not there, which is never a 404.
        let new = world.get(&path_of(NEW, VERSION, "info")).await;
        assert!(["upstream_error", "upstream_unavailable"].contains(&outcome(&new)));
        assert_refusal(&new, new.status.as_u16(), &[&world.upstream.url()]);
        // And upstream is asked again when it lives again.
        world.upstream.restart();
        world.upstream.query(MODULE, "master", VERSION);
        let master = path_of(MODULE, "master", "info");
        until("the branch has moved", async || {
            world.get_ok(&master).await.text().contains(&format!("\"{VERSION}\""))
        })
        .await;
    }
}

#[tokio::test]
async fn what_is_stored_and_files_that_were_asked_for_survive_a_restart_beside_a_dead_upstream() {
    let (mut world, before) = widowed(Setup::disk()).await;
    world.restart().await;
    let (changing, _) = asks();
    for (path, answer) in before.iter().filter(|(path, _)| !changing.contains(path)) {
        assert_eq!(world.get_ok(path).await.body, answer.body, "{path}");
    }
    // What the answers to the rest were is not written down. Mode strict says so, with the reason.
    for path in &changing {
        let refused = world.get(path).await;
        assert_refusal(&refused, refused.status.as_u16(), &[&world.upstream.url()]);
        assert!(refused.status.is_server_error(), "{path}: {}", refused.status);
    }
    // Mode fallback answers from what is stored.
    world.set("ATHENS_NETWORK_MODE", "fallback").await;
    assert_eq!(world.get_ok(&list()).await.text(), format!("{VERSION}\n"));
    assert!(world.get_ok(&latest()).await.text().contains(VERSION));
}

#[tokio::test]
async fn beside_an_upstream_that_hangs_an_older_answer_comes_soon_and_what_was_asked_still_freshens_it()
 {
    let setup = Setup::disk()
        .env("DIPYLON_FRESH_FOR", "3")
        .env("DIPYLON_STALE_WHILE_REVALIDATE", "0")
        .env("DIPYLON_UPSTREAM_ATTEMPTS", "1");
    let world = setup.start().await;
    for version in [VERSION, TIP] {
        world.add(FakeModule::new(MODULE, version));
    }
    world.upstream.query(MODULE, "master", TIP);
    let (changing, _) = asks();
    for path in &changing {
        world.get_ok(path).await;
    }
    world.until_idle().await;
    let gate = Gate::default();
    for path in &changing {
        world.upstream.fault(When::path(path), Fault::Gate(gate.clone()));
    }
    world.upstream.clear_requests();
    for path in &changing {
        // However often it is asked for, from when it is fresh no more.
        until("it is stale", async || {
            let began = Instant::now();
            let now = world.get_ok(path).await;
            assert!(began.elapsed() < STALE_PATIENCE + MARGIN, "{path}: {:?}", began.elapsed());
            let is_stale = outcome(&now) == "stale_error";
            assert!(is_stale || now.header("age").is_some(), "{path}: {}", outcome(&now));
            is_stale
        })
        .await;
        // While it is late nobody else waits for it, nor is it asked again.
        let again = world.get_ok(path).await;
        let told = again.header("cache-status").unwrap_or_default();
        let ends = told.ends_with("; detail=stale_error");
        assert!(told.starts_with("dipylon; hit; ttl=-") && ends, "{path}: {told}");
    }
    const NEWER: &str = "v1.9.0";
    world.add(FakeModule::new(MODULE, NEWER));
    world.upstream.query(MODULE, "master", NEWER);
    gate.open();
    for path in &changing {
        until("it is fresh", async || world.get_ok(path).await.text().contains(NEWER)).await;
    }
    world.until_idle().await;
    let asked: Vec<_> = changing.iter().map(|path| world.upstream.count(path)).collect();
    assert!(asked.iter().all(|times| (1..=2).contains(times)), "{asked:?}");
}

/// Asks for all of a module that is new to the gateway, at the same time; what each says, and how long it takes.
async fn ask_for_what_is_new(world: &World) -> Vec<(String, Response, Duration)> {
    let files = ["info", "mod", "zip"].map(|kind| path_of(NEW, VERSION, kind));
    let others = [format!("/{NEW}/@v/list"), format!("/{NEW}/@latest")];
    let paths = others.into_iter().chain(files).chain([path_of(NEW, "master", "info")]);
    let asks = paths.map(|path| async move {
        let began = Instant::now();
        let answer = world.get(&path).await;
        (path, answer, began.elapsed())
    });
    futures::future::join_all(asks).await
}

/// Every answer is a 5xx that has one of the words, and came within `deadline` and the margin.
fn all_say_why_in_time(answers: &[(String, Response, Duration)], deadline: Duration, why: &[&str]) {
    assert_eq!(answers.len(), 6);
    for (path, answer, took) in answers {
        eprintln!("{path}: {took:.1?}: {} {}", answer.status, answer.text().trim_end());
        let status = answer.status.as_u16();
        assert_refusal(answer, status, &[]);
        assert!((500..=504).contains(&status), "{path}: {status}");
        let text = answer.text();
        assert!(why.iter().any(|words| text.contains(words)), "{path}: {text}");
        assert!(*took < deadline + MARGIN, "{path}: {took:?}, and {deadline:?} are allowed");
    }
}

/// Hits go on, each in far less than the deadlines of what hangs.
async fn hits_go_on(world: &World) {
    for kind in ["info", "mod", "zip"].repeat(4) {
        let began = Instant::now();
        world.get_ok(&file(kind)).await;
        assert!(began.elapsed() < MARGIN, "{kind}: {:?}", began.elapsed());
    }
}

/// A store that has [`MODULE`], before an upstream that breaks on what is about the new module.
async fn before_trouble(setup: Setup, fault: Fault) -> World {
    let world = crate::world::stocked(setup).await;
    world.add(FakeModule::new(NEW, VERSION));
    world.upstream.query(NEW, "master", VERSION);
    world.upstream.fault(When::prefix(&format!("/{NEW}/")), fault);
    world
}

#[tokio::test]
async fn an_upstream_that_hangs_costs_each_attempt_its_time_and_the_answer_names_it() {
    let setup = Setup::disk()
        .env("DIPYLON_UPSTREAM_HEADER_TIMEOUT", "1")
        .env("DIPYLON_UPSTREAM_ATTEMPTS", "2");
    let world = before_trouble(setup, Fault::HangBeforeHeaders).await;
    let (answers, ()) = tokio::join!(ask_for_what_is_new(&world), hits_go_on(&world));
    let two_attempts = 2 * Duration::from_secs(1);
    all_say_why_in_time(&answers, two_attempts, &["upstream did not begin to answer within 1s"]);
    for (path, answer, took) in &answers {
        assert_eq!((answer.status.as_u16(), outcome(answer)), (504, "upstream_timeout"), "{path}");
        assert!(*took >= two_attempts && answer.text().contains(&world.upstream.url()), "{path}");
    }
    // It has failed often enough to be left alone after the next round: then the answer comes at once, and
    // still says why.
    ask_for_what_is_new(&world).await;
    let answers = ask_for_what_is_new(&world).await;
    let why = "is left alone for a while: it did not begin to answer within 1s";
    all_say_why_in_time(&answers, Duration::ZERO, &[why]);
    hits_go_on(&world).await;
}

#[tokio::test]
async fn an_upstream_that_falls_silent_within_a_body_costs_each_attempt_its_time() {
    let setup = Setup::disk()
        .env("DIPYLON_UPSTREAM_IDLE_TIMEOUT", "1")
        .env("DIPYLON_UPSTREAM_ATTEMPTS", "2");
    let world = before_trouble(setup, Fault::StallAfter(5)).await;
    let (answers, ()) = tokio::join!(ask_for_what_is_new(&world), hits_go_on(&world));
    all_say_why_in_time(&answers, 2 * Duration::from_secs(1), &["sent nothing"]);
}

#[tokio::test]
async fn a_request_has_a_deadline_of_its_own_however_long_upstream_may_take() {
    let setup = Setup::disk().env("DIPYLON_REQUEST_TIMEOUT", "2");
    let world = before_trouble(setup, Fault::HangBeforeHeaders).await;
    let (answers, ()) = tokio::join!(ask_for_what_is_new(&world), hits_go_on(&world));
    all_say_why_in_time(&answers, Duration::from_secs(2), &["takes longer", "took longer than 2"]);
    for (path, answer, _) in &answers {
        assert_eq!((answer.status.as_u16(), outcome(answer)), (504, "deadline"), "{path}");
    }
}

#[tokio::test]
async fn a_checksum_database_that_hangs_costs_no_longer_and_is_named() {
    let setup = Setup::disk()
        .env("DIPYLON_UPSTREAM_HEADER_TIMEOUT", "1")
        .env("DIPYLON_UPSTREAM_ATTEMPTS", "1");
    let world = setup.start().await;
    world.add_module();
    world.upstream.fault(When::prefix("/sumdb/"), Fault::HangBeforeHeaders);
    for kind in ["mod", "zip"] {
        let began = Instant::now();
        let refused = world.get(&file(kind)).await;
        eprintln!("{kind}: {:.1?}: {} {}", began.elapsed(), refused.status, refused.text());
        assert_refusal(&refused, refused.status.as_u16(), &["checksum database"]);
        assert_eq!(outcome(&refused), "checksum_unavailable", "{kind}");
        assert!(began.elapsed() < Duration::from_secs(2) + MARGIN, "{kind}: {:?}", began.elapsed());
    }
    // The `.info` is under no checksum.
    world.get_ok(&file("info")).await;
}
