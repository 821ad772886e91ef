//! Lists and queries.

use dipylon_testkit::go::Output;
use dipylon_testkit::module::FakeModule;

use crate::world::{World, assert_failed, field};

const PATH: &str = "example.com/Lib";
const PSEUDO: &str = "v1.3.1-0.20240405060708-abcdefabcdef";

async fn world() -> World {
    world_with(&[]).await
}

async fn world_with(variables: &[(&str, &str)]) -> World {
    let world = World::start_with(variables).await;
    for version in ["v1.0.0", "v1.2.0", "v1.3.0", "v1.4.0-rc1", PSEUDO] {
        world.add(FakeModule::new(PATH, version));
    }
    for query in ["master", "abcdefabcdef", "abcdefa"] {
        world.upstream.query(PATH, query, PSEUDO);
    }
    world
}

fn list(world: &World, args: &[&str]) -> Output {
    let go = world.go();
    go.run(&go.scratch(), &[&["list", "-m"], args].concat())
}

#[tokio::test]
#[ignore = "needs the go command: run by cargo xtask test"]
async fn versions_are_listed_without_pseudo_versions() {
    let world = world().await;
    let said = list(&world, &["-versions", PATH]);
    assert_eq!(said.expect_success().trim(), "example.com/Lib v1.0.0 v1.2.0 v1.3.0 v1.4.0-rc1");
}

#[tokio::test]
#[ignore = "needs the go command: run by cargo xtask test"]
async fn queries_resolve_as_they_do_without_the_gateway() {
    let world = world().await;
    let queries =
        ["latest", "master", "abcdefa", "v1", "v1.2", "<v1.3.0", ">=v1.1.0", "v1.4.0-rc1"];
    let want = ["v1.3.0", PSEUDO, PSEUDO, "v1.3.0", "v1.2.0", "v1.2.0", "v1.2.0", "v1.4.0-rc1"];
    for (query, want) in queries.iter().zip(want) {
        let asked = format!("{PATH}@{query}");
        let through = list(&world, &[&asked]);
        assert_eq!(through.expect_success().trim(), format!("{PATH} {want}"), "@{query}");
        let go = world.go().goproxy(&world.upstream.url());
        let past = go.run(&go.scratch(), &["list", "-m", &asked]);
        assert_eq!(through.stdout, past.stdout, "@{query}");
    }
}

#[tokio::test]
#[ignore = "needs the go command: run by cargo xtask test"]
async fn a_branch_is_downloaded_as_its_pseudo_version() {
    let world = world().await;
    let got = world.go().mod_download_json(&["example.com/Lib@master"]);
    crate::world::assert_same(&got[0], &FakeModule::new(PATH, PSEUDO));
}

#[tokio::test]
#[ignore = "needs the go command: run by cargo xtask test"]
async fn a_module_without_tags_has_a_latest_all_the_same() {
    let world = World::start().await;
    let version = "v0.0.0-20230101000000-0123456789ab";
    world.add(FakeModule::new("example.com/untagged", version));
    let said = list(&world, &["example.com/untagged@latest"]);
    assert_eq!(said.expect_success().trim(), format!("example.com/untagged {version}"));
    assert_eq!(
        list(&world, &["-versions", "example.com/untagged"]).expect_success().trim(),
        "example.com/untagged"
    );
}

#[tokio::test]
#[ignore = "needs the go command: run by cargo xtask test"]
async fn retracted_and_deprecated_are_shown() {
    let world = World::start().await;
    world.add(FakeModule::new("example.com/r", "v1.0.0"));
    world.add(FakeModule::new("example.com/r", "v1.0.1").go_mod(
        "// Deprecated: use example.com/s.\nmodule example.com/r\n\ngo 1.21\n\n\
         retract v1.0.0 // It lost data.\n",
    ));
    let said = list(&world, &["-u", "-retracted", "-json", "example.com/r@v1.0.0"]);
    let text = said.expect_success();
    assert!(text.contains("It lost data."), "{text}");
    assert!(text.contains("use example.com/s."), "{text}");
}

#[tokio::test]
#[ignore = "needs the go command: run by cargo xtask test"]
async fn an_update_is_announced_even_where_latest_is_unknown() {
    let world = World::start().await;
    world.upstream.add_path("example.com/empty");
    let said = list(&world, &["-versions", "example.com/empty"]);
    assert_eq!(said.expect_success().trim(), "example.com/empty");
    assert_failed(&list(&world, &["example.com/empty@latest"]), &["no matching versions"]);
}

/// What `go` makes of a list is `go`'s own rule: by the go.mod of the newest compatible version.
#[tokio::test]
#[ignore = "needs the go command: run by cargo xtask test"]
async fn incompatible_versions_are_listed_as_upstream_has_them_and_go_chooses_by_its_own_rule() {
    const INCOMPATIBLE: &str = "v3.0.0+incompatible";
    let mut world = World::start().await;
    let (modern, old) = ("example.com/modern", "example.com/old");
    world.add(FakeModule::new(modern, "v1.2.0"));
    world.add(FakeModule::new(old, "v1.2.0").no_go_mod());
    for path in [modern, old] {
        world.add(FakeModule::new(path, INCOMPATIBLE).no_go_mod());
    }
    let rows = [(modern, "v1.2.0"), (old, INCOMPATIBLE)];
    for (path, chosen) in rows {
        let asks = [
            (
                vec!["-versions".to_owned(), path.to_owned()],
                format!("{path} v1.2.0 {INCOMPATIBLE}"),
            ),
            (vec![format!("{path}@latest")], format!("{path} {chosen}")),
            (vec![format!("{path}@{INCOMPATIBLE}")], format!("{path} {INCOMPATIBLE}")),
        ];
        for (args, want) in asks {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            assert_eq!(list(&world, &args).expect_success().trim(), want, "{args:?}");
            let go = world.go().goproxy(&world.upstream.url());
            let past = go.run(&go.scratch(), &[&["list", "-m"], &args[..]].concat());
            assert_eq!(past.expect_success().trim(), want, "{args:?} past the gateway");
        }
        for version in ["v1.2.0", INCOMPATIBLE] {
            let got = world.go().mod_download_json(&[&format!("{path}@{version}")]);
            assert_eq!(field(&got[0], "Version"), version);
        }
    }
    // And the same by what is stored alone.
    world.restart_with(&[("ATHENS_NETWORK_MODE", "offline")]).await;
    for (path, chosen) in rows {
        let said = list(&world, &[&format!("{path}@latest")]);
        assert_eq!(said.expect_success().trim(), format!("{path} {chosen}"), "offline");
    }
}

/// What is listed, resolved and downloaded, by a `go` with empty caches.
fn all_of_it(world: &World) -> Vec<String> {
    let asked = |query: &str| format!("{PATH}@{query}");
    let (latest, master) = (asked("latest"), asked("master"));
    let asks: [&[&str]; 3] = [&["-versions", PATH], &[&latest], &[&master]];
    let listed = |args: &&[&str]| list(world, args).expect_success().trim().to_owned();
    let mut all: Vec<String> = asks.iter().map(listed).collect();
    for query in ["v1.3.0", "master"] {
        let go = world.go();
        let said = go.run(&go.scratch(), &["mod", "download", "-json", &asked(query)]);
        let said: serde_json::Value = serde_json::from_str(said.expect_success()).expect("JSON");
        all.push(["Version", "Sum", "GoModSum"].map(|name| field(&said, name)).join(" "));
    }
    all
}

#[tokio::test]
#[ignore = "needs the go command: run by cargo xtask test"]
async fn who_had_asked_before_lists_resolves_and_downloads_without_an_upstream() {
    for revalidated_for in ["1500", "0"] {
        let variables = [
            ("DIPYLON_FRESH_FOR", "1"),
            ("DIPYLON_STALE_WHILE_REVALIDATE", revalidated_for),
            ("DIPYLON_UPSTREAM_ATTEMPTS", "2"),
        ];
        let world = world_with(&variables).await;
        let before = all_of_it(&world);
        world.upstream.stop();
        // Nothing is fresh any more.
        tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
        for _ in 0..2 {
            assert_eq!(all_of_it(&world), before, "revalidated for {revalidated_for} s");
        }
    }
}
