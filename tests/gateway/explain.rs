//! `/-/explain`: what it foretells is what the gateway then does, what it tells is true, and nothing in it is a secret.

use std::time::Duration;

use dipylon_middleware::breaker::state::UPSTREAM_FAILURES_TO_OPEN;
use dipylon_testkit::checksum_db::ChecksumDb;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::{Fault, Gate, Upstream, When};
use http::Method;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::world::{
    DATABASE, MODULE, PROGRAM, Setup, VERSION, World, file, files_below, outcome, path_of, sick,
    stocked,
};

const TOKEN: (&str, &str) = ("x-dipylon-token", "the-operators-word");

async fn explained(world: &World, query: &str) -> Value {
    let answer = world.request(Method::GET, &format!("/-/explain?{query}"), &[TOKEN]).await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
    serde_json::from_slice(&answer.body).expect("JSON")
}

async fn about(world: &World, version: &str) -> Value {
    explained(world, &format!("module={MODULE}&version={version}")).await
}

/// The outcome is foretold, with a reason, and comes true.
async fn comes_true(world: &World, version: &str, kind: &str, want: &str) {
    let told = about(world, version).await;
    assert_eq!(told["now"][kind]["outcome"], want, "{version}.{kind}: {told}");
    assert!(told["now"][kind]["why"].as_str().is_some_and(|why| !why.is_empty()), "{told}");
    let answer = world.get(&path_of(MODULE, version, kind)).await;
    assert_eq!(outcome(&answer), want, "{version}.{kind}");
}

#[tokio::test]
async fn what_is_foretold_of_hits_misses_and_lists_comes_true() {
    let world = Setup::disk().start().await;
    world.add_module();
    comes_true(&world, VERSION, "info", "miss_leader").await;
    comes_true(&world, VERSION, "info", "hit_memory").await;
    comes_true(&world, VERSION, "zip", "miss_leader").await;
    world.until_stored(MODULE, VERSION).await;
    world.until_idle().await;
    comes_true(&world, VERSION, "zip", "hit_storage").await;
    comes_true(&world, VERSION, "mod", "hit_storage").await;
    comes_true(&world, VERSION, "mod", "hit_memory").await;
    for want in ["miss_leader", "hit_memory"] {
        let told = explained(&world, &format!("module={MODULE}")).await;
        assert_eq!(told["now"]["list"]["outcome"], want, "{told}");
        assert_eq!(outcome(&world.get(&format!("/{MODULE}/@v/list")).await), want);
    }
}

#[tokio::test]
async fn a_remembered_no_is_told_with_its_reason_and_comes_true() {
    let world = Setup::disk().start().await;
    world.add_module();
    world.get_refused(&path_of(MODULE, "v1.9.9", "info"), 404, &["not found"]).await;
    comes_true(&world, "v1.9.9", "info", "negative").await;
    let told = about(&world, "v1.9.9").await;
    let no = &told["remembered"]["info"];
    assert!(no["reason"].as_str().is_some_and(|reason| reason.contains("v1.9.9")), "{told}");
    assert!(no["for_another_seconds"].as_u64() > Some(0), "{told}");
}

#[tokio::test]
async fn what_policy_does_is_told_with_its_rule_and_comes_true() {
    let filter = format!("# ours\n- {MODULE} v1.2.3\nD example.com/lib v1.2.4\n");
    let world = Setup::disk()
        .env("ATHENS_FILTER_FILE", "{folder}/filter")
        .with_file("filter", &filter)
        .env("ATHENS_GLOBAL_ENDPOINT", "https://elsewhere.example")
        .start()
        .await;
    comes_true(&world, "v1.2.3", "zip", "deny_filter").await;
    comes_true(&world, "v1.2.4", "zip", "redirected").await;
    let told = about(&world, "v1.2.3").await;
    assert_eq!(told["filter"], json!({ "rule": "exclude", "path": MODULE, "line": 2 }));
    assert!(told["filter_file"].as_str().is_some_and(|file| file.ends_with("/filter")), "{told}");
    assert_eq!(told["validator"], json!(false));

    for (mode, want) in [
        ("none", "not_stored"),
        ("async", "async_accepted"),
        ("redirect", "redirected"),
        ("async_redirect", "redirected"),
    ] {
        let block = format!(
            "mode = \"sync\"\ndownloadURL = \"https://elsewhere.example\"\n\
             download \"example.com/lib/*\" {{\n  mode = \"{mode}\"\n}}\n"
        );
        let world = Setup::disk()
            .env("ATHENS_DOWNLOAD_MODE", "file:{folder}/mode.hcl")
            .env("ATHENS_GONOSUM_PATTERNS", "example.org/*,example.com/lib/*")
            .with_file("mode.hcl", &block)
            .start()
            .await;
        comes_true(&world, VERSION, "zip", want).await;
        let told = about(&world, VERSION).await;
        assert_eq!(told["policy"]["block"], "example.com/lib/*", "{told}");
        assert_eq!(told["policy"]["mode"], mode, "{told}");
        assert_eq!(told["patterns"]["NoSumPatterns"], "example.com/lib/*", "{told}");
        assert_eq!(told["checksums"]["exempt"], true, "{told}");
    }
}

#[tokio::test]
async fn an_upstream_that_is_left_alone_is_told_with_its_breaker_and_is_not_asked() {
    let world = Setup::disk().env("DIPYLON_UPSTREAM_ATTEMPTS", "1").start().await;
    world.upstream.fault(When::prefix("/example.com/"), sick());
    for patch in 0..UPSTREAM_FAILURES_TO_OPEN {
        world.get(&path_of(MODULE, &format!("v1.0.{patch}"), "info")).await;
    }
    comes_true(&world, VERSION, "info", "upstream_unavailable").await;
    let told = about(&world, VERSION).await;
    let upstream = &told["upstreams"]["asked"][0];
    assert_eq!(upstream["name"], world.upstream.url(), "{told}");
    assert_eq!(upstream["breaker"]["open"], true, "{told}");
    assert_eq!(upstream["host_breaker"]["open"], false, "it can be reached: {told}");
    assert_eq!(upstream["slots"]["used"], 0, "{told}");
}

/// What the branch `master` stands for.
const TIP: &str = "v1.2.4-0.20240102030405-aaaaaaaaaaaa";

/// A gateway for which `master` is fresh for a second, and what it stands for is here.
async fn resolved(mode: &str, revalidated_for: &str) -> World {
    let world = Setup::disk()
        .env("ATHENS_DOWNLOAD_MODE", mode)
        .env("DIPYLON_FRESH_FOR", "1")
        .env("DIPYLON_STALE_WHILE_REVALIDATE", revalidated_for)
        .env("DIPYLON_UPSTREAM_ATTEMPTS", "1")
        .start()
        .await;
    world.add(FakeModule::new(MODULE, TIP));
    world.upstream.query(MODULE, "master", TIP);
    if mode == "async" {
        comes_true(&world, "master", "info", "async_accepted").await;
        world.until_stored(MODULE, TIP).await;
    } else {
        comes_true(&world, "master", "info", "miss_leader").await;
        world.get_ok(&path_of(MODULE, TIP, "info")).await;
    }
    world.until_idle().await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    world
}

#[tokio::test]
async fn a_branch_whose_upstream_is_left_alone_is_foretold_to_be_answered_as_before_and_is() {
    for mode in ["sync", "async"] {
        let world = resolved(mode, "0").await;
        // What other modules met opens the breaker, and nothing was asked of this one meanwhile.
        world.upstream.fault(When::prefix("/example.com/"), sick());
        for number in 0..UPSTREAM_FAILURES_TO_OPEN {
            world.get(&format!("/example.com/sick{number}/@v/list")).await;
        }
        comes_true(&world, "master", "info", "stale_error").await;
        // Now it has failed on the branch too.
        comes_true(&world, "master", "info", "stale_error").await;
        // In mode sync nobody has asked for the zip before.
        let zip = if mode == "sync" { "upstream_unavailable" } else { "stale_error" };
        comes_true(&world, "master", "zip", zip).await;
        let told = about(&world, "master").await;
        assert_eq!(told["lists"]["stands_for"], TIP, "{told}");
    }
}

#[tokio::test]
async fn a_branch_that_is_asked_anew_behind_its_answer_is_foretold_so_and_is() {
    for mode in ["sync", "async"] {
        let world = resolved(mode, "1500").await;
        comes_true(&world, "master", "info", "stale_revalidate").await;
    }
}

/// What another upstream there met, which is all that this one's breaker has not seen.
#[tokio::test]
async fn a_host_that_cannot_be_reached_is_told_with_its_breaker_and_is_not_asked() {
    let upstream = Upstream::start().await;
    let block = format!(
        "downloadURL = \"\"\nmode = \"sync\"\n\
         download \"example.com/other\" {{\n  mode = \"sync\"\n  upstreams = \"{}/other\"\n}}\n",
        upstream.url()
    );
    let world = Setup::disk()
        .env("DIPYLON_UPSTREAM_ATTEMPTS", "1")
        .env("GOPROXY", &upstream.url())
        .env("ATHENS_DOWNLOAD_MODE", "file:{folder}/mode.hcl")
        .with_file("mode.hcl", &block)
        .start()
        .await;
    upstream.stop();
    for patch in 0..UPSTREAM_FAILURES_TO_OPEN {
        world.get(&path_of("example.com/other", &format!("v1.0.{patch}"), "info")).await;
    }
    comes_true(&world, VERSION, "info", "upstream_unavailable").await;
    let told = about(&world, VERSION).await;
    let asked = &told["upstreams"]["asked"][0];
    assert_eq!(asked["breaker"]["open"], false, "{told}");
    assert_eq!(asked["host_breaker"]["open"], true, "{told}");
    let left = asked["host_breaker"]["refuses_for_seconds"].as_f64();
    assert!(left.is_some_and(|left| (0.0..=5.0).contains(&left)), "{told}");
}

#[tokio::test]
async fn what_is_under_way_is_told_and_who_asks_then_follows() {
    let world = Setup::disk().start().await;
    world.add_module();
    let gate = Gate::default();
    world.upstream.fault(file("zip").as_str(), Fault::Gate(gate.clone()));
    let client = world.client();
    let (zip, following) = (file("zip"), file("zip"));
    let leads = tokio::spawn(async move { client.get(&zip).await });
    world.until("the zip is asked for", || world.asked(&file("zip")) > 0).await;
    let told = about(&world, VERSION).await;
    assert_eq!(told["flights"][0]["want"], "zip", "{told}");
    assert_eq!(told["now"]["zip"]["outcome"], "miss_follower", "{told}");
    assert_eq!(told["upstreams"]["asked"][0]["slots"]["used"], 1, "{told}");
    let client = world.client();
    let follows = tokio::spawn(async move { client.get(&following).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    gate.open();
    assert_eq!(outcome(&leads.await.unwrap()), "miss_leader");
    assert_eq!(outcome(&follows.await.unwrap()), "miss_follower");
}

#[tokio::test]
async fn where_it_is_and_what_happened_is_told_the_newest_first() {
    let world = Setup::disk().start().await;
    let module = world.add_module();
    world.get_ok(&file("zip")).await;
    world.until_stored(MODULE, VERSION).await;
    world.until_idle().await;
    world.get_ok(&file("info")).await;
    let told = about(&world, VERSION).await;
    let bytes = &told["storage"]["files"]["bytes"];
    let zip = std::fs::metadata(world.root().join(MODULE).join(VERSION).join("source.zip"));
    assert_eq!(bytes["zip"], zip.unwrap().len(), "{told}");
    assert_eq!(told["storage"]["files"]["whole"], true, "{told}");
    assert_eq!(told["storage"]["info"]["Version"], VERSION, "{told}");
    assert_eq!(told["memory"]["info_bytes"], bytes["info"], "{told}");
    assert_eq!(told["checksums"]["zip"], module.h1(), "{told}");
    assert_eq!(told["queue"], json!([]));
    let events = told["events"].as_array().expect("events");
    let seen: Vec<_> = events.iter().map(|event| (&event["what"], &event["outcome"])).collect();
    let [info, zip, stored] =
        [("info", "hit_storage"), ("zip", "miss_leader"), ("stored", "ok")].map(|(a, b)| [a, b]);
    // The client may have the last byte before the version is stored, or after.
    let orders = [[info, zip, stored], [info, stored, zip]];
    let seen: Vec<[&str; 2]> = seen
        .iter()
        .map(|(what, outcome)| [what, outcome].map(|word| word.as_str().unwrap_or_default()))
        .collect();
    assert!(orders.iter().any(|order| *order == *seen), "{told}");
    let came = events.iter().find(|event| event["what"] == "stored").expect("seen above");
    assert_eq!(came["upstream"], world.upstream.url(), "{told}");
    assert!(is_just_now(&told["storage"]["files"]["since"]), "{told}");
    assert_eq!(told["storage"]["files"]["tiers"], json!({}), "there is but one store: {told}");
    for _ in 0..30 {
        world.get_ok(&file("info")).await;
    }
    assert_eq!(about(&world, VERSION).await["events"].as_array().map(Vec::len), Some(20));
}

/// Whether a time that is told is one of the last minute.
fn is_just_now(told: &Value) -> bool {
    let told = told.as_str().and_then(|told| OffsetDateTime::parse(told, &Rfc3339).ok());
    told.is_some_and(|told| (OffsetDateTime::now_utc() - told).abs() < time::Duration::MINUTE)
}

#[tokio::test]
async fn which_of_two_stores_has_it_is_told_and_since_when_where_the_far_one_is_asked() {
    let near = |name: &str| format!("{{folder}}/{name}");
    let setup = Setup::disk().env("DIPYLON_TIERED_DIRECTORY", &near("near"));
    let mut world = stocked(setup).await;
    world.until("it is near", || files_below(&world.file("near")).len() >= 3).await;
    let files = about(&world, VERSION).await["storage"]["files"].clone();
    assert_eq!(files["tiers"], json!({ "info": "near", "mod": "near", "zip": "near" }), "{files}");
    assert_eq!(files["since"], Value::Null, "the far store is not asked: {files}");
    let other = world.file("other").display().to_string();
    world.set("DIPYLON_TIERED_DIRECTORY", &other).await;
    let files = about(&world, VERSION).await["storage"]["files"].clone();
    assert_eq!(files["tiers"], json!({ "info": "far", "mod": "far", "zip": "far" }), "{files}");
    assert!(is_just_now(&files["since"]), "{files}");
}

#[tokio::test]
async fn a_background_fetch_leaves_an_event() {
    let world = Setup::disk().env("ATHENS_DOWNLOAD_MODE", "async").start().await;
    world.add_module();
    world.get_refused(&file("zip"), 404, &["being fetched"]).await;
    world.until_stored(MODULE, VERSION).await;
    world.until_idle().await;
    let told = about(&world, VERSION).await;
    let background = |event: &&Value| event["what"] == "background";
    let event = told["events"].as_array().and_then(|all| all.iter().find(background));
    assert_eq!(event.map(|event| &event["outcome"]), Some(&json!("miss_leader")), "{told}");
}

#[tokio::test]
async fn what_was_refused_for_its_checksum_is_told_and_refused_again() {
    let world = Setup::disk().start().await;
    world.add_module();
    world.database.lie(MODULE, VERSION, &FakeModule::new("example.com/x", VERSION).h1());
    world.get_refused(&file("zip"), 403, &[]).await;
    world.until_idle().await;
    let told = about(&world, VERSION).await;
    assert_eq!(told["storage"]["quarantine"]["outcome"], "checksum_mismatch", "{told}");
    let foretold = told["now"]["zip"]["outcome"].as_str().unwrap_or_default().to_owned();
    assert_eq!(outcome(&world.get(&file("zip")).await), foretold, "{told}");
}

#[tokio::test]
async fn the_page_has_the_rules_of_its_neighbours() {
    let world = Setup::disk().env("DIPYLON_ADMIN_TOKEN", TOKEN.1).start().await;
    let path = format!("/-/explain?module={MODULE}");
    world.get_refused(&path, 403, &["X-Dipylon-Token"]).await;
    let wrong = world.request(Method::GET, &path, &[(TOKEN.0, "another-word")]).await;
    assert_eq!(wrong.status, 403);
    explained(&world, &format!("module={MODULE}")).await;
    let post = world.request(Method::POST, &path, &[TOKEN]).await;
    assert_eq!(post.status, 405);
    for (query, word) in [
        ("", "which module"),
        ("module=", "which module"),
        ("module=%3Cscript%3E", "refused"),
        ("module=example.com/x&version=..%2F..", "refused"),
        ("module=example.com/x&version=v9.9.9", "refused"),
    ] {
        let answer = world.request(Method::GET, &format!("/-/explain?{query}"), &[TOKEN]).await;
        assert_eq!(answer.status, 400, "{query}");
        assert!(answer.text().contains(word), "{query}: {}", answer.text());
    }
}

#[tokio::test]
async fn no_secret_is_told() {
    let upstream = Upstream::start().await;
    let database = ChecksumDb::new(DATABASE, 1);
    upstream.attach(&database);
    let with_secret = |url: &str| url.replace("://", "://gopher:hunter2@");
    let world = Setup::disk()
        .env("GOPROXY", &with_secret(&upstream.url()))
        .env("ATHENS_DOWNLOAD_MODE", "async_redirect")
        .env("ATHENS_DOWNLOAD_URL", "https://gopher:hunter2@elsewhere.example")
        .env("DIPYLON_UPSTREAM_ATTEMPTS", "1")
        .env("DIPYLON_ADMIN_TOKEN", TOKEN.1)
        .start_with(upstream, database)
        .await;
    world.upstream.fault(When::prefix("/"), Fault::Reset);
    world.get(&file("zip")).await;
    for query in [format!("module={MODULE}"), format!("module={MODULE}&version={VERSION}")] {
        let told = explained(&world, &query).await.to_string();
        for secret in ["hunter2", TOKEN.1] {
            assert!(!told.contains(secret), "{told}");
        }
    }
}

/// The command, as an operator runs it beside the gateway: what it prints, what it complains of, and its exit code.
fn command(world: &World, arguments: &[&str], variables: &[(&str, &str)]) -> (String, String, i32) {
    let output = std::process::Command::new(PROGRAM)
        .arg("explain")
        .args(arguments)
        .env_clear()
        .env("ATHENS_PORT", world.gateway.address().to_string())
        .envs(variables.iter().copied())
        .current_dir(world.root())
        .output()
        .expect("the program can be started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.code().expect("an exit code"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_prints_the_facts_and_says_by_its_exit_code_whether_it_can_be_had() {
    let world = Setup::disk().env("DIPYLON_ADMIN_TOKEN", TOKEN.1).start().await;
    world.add_module();
    world.get_ok(&file("zip")).await;
    world.until_stored(MODULE, VERSION).await;
    world.until_idle().await;
    let token = [("DIPYLON_ADMIN_TOKEN", TOKEN.1)];
    let (text, _, code) = command(&world, &[&format!("{MODULE}@{VERSION}")], &token);
    assert_eq!(code, 0, "{text}");
    let from = format!("stored v1.2.3 ok from {}", world.upstream.url());
    let known =
        ["zip     hit_storage: it is stored", "last events", "zip v1.2.3 miss_leader", &from];
    for words in known {
        assert!(text.contains(words), "no {words:?} in {text}");
    }
    let url = world.gateway.url();
    let (text, _, code) = command(&world, &[MODULE, "-url", &url], &token);
    assert!(code == 0 && text.contains("list    miss_leader"), "{code}: {text}");
    world.get_refused(&path_of(MODULE, "v1.9.9", "zip"), 404, &[]).await;
    let (text, _, code) = command(&world, &[&format!("{MODULE}@v1.9.9")], &token);
    assert!(code == 1 && text.contains("zip     negative: "), "{code}: {text}");
    let (text, complaint, code) = command(&world, &[MODULE], &[("DIPYLON_ADMIN_TOKEN", "not-it")]);
    assert_eq!((text.as_str(), code), ("", 2));
    assert!(complaint.contains("403") && !complaint.contains("not-it"), "{complaint}");
    let elsewhere = ["explain.example/m", "-url", "http://192.0.2.1:1"];
    let (_, complaint, code) = command(&world, &elsewhere, &token);
    assert!(code == 2 && complaint.contains("only sent over https"), "{complaint}");
}
