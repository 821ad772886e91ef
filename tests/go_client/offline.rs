//! A build with no upstream: what was fetched once is enough, the checksum database included.

use dipylon_testkit::module::FakeModule;

use crate::world::{World, assert_failed};

/// The disk, and nothing else.
const OFFLINE: &[(&str, &str)] = &[("ATHENS_NETWORK_MODE", "offline")];

const MAIN: &str = "package main\n\nimport (\n\t_ \"example.com/One\"\n\t_ \"example.com/two\"\n)\n\n\
    func main() { println(\"built\") }\n";

async fn warmed() -> (World, std::path::PathBuf) {
    let world = World::start().await;
    // Enough records that the proofs need tiles of more than one level.
    world.database.pad(600);
    for (path, version) in [("example.com/One", "v1.0.0"), ("example.com/two", "v0.2.0")] {
        world.add(FakeModule::new(path, version).filler(40_000));
    }
    let go_mod = "module example.com/app\n\ngo 1.21\n\nrequire (\n\texample.com/One v1.0.0\n\
        \texample.com/two v0.2.0\n)\n";
    let app = world.project("app", &[("go.mod", go_mod), ("main.go", MAIN)]);
    // `tidy` looks at everything, so the store has all that a build can ask for.
    world.go().run(&app, &["mod", "tidy"]).expect_success();
    (world, app)
}

#[tokio::test]
#[ignore = "needs the go command: run by cargo xtask test"]
async fn a_build_with_checksums_needs_no_upstream_once_it_is_warm() {
    let (mut world, app) = warmed().await;
    world.upstream.stop();
    world.restart_with(OFFLINE).await;
    let asked = (world.upstream.total(), world.database.requests().len());
    // No go.sum: every hash is looked up in the database again, by a client that has never seen it.
    std::fs::remove_file(app.join("go.sum")).expect("tidy wrote go.sum");
    let go = world.go();
    go.run(&app, &["mod", "tidy"]).expect_success();
    go.run(&app, &["build", "-o", "app", "."]).expect_success();
    go.run(&app, &["mod", "verify"]).expect_success();
    let sums = std::fs::read_to_string(app.join("go.sum")).expect("tidy wrote it again");
    assert_eq!(sums.lines().count(), 4, "{sums}");
    assert_eq!((world.upstream.total(), world.database.requests().len()), asked);
}

#[tokio::test]
#[ignore = "needs the go command: run by cargo xtask test"]
async fn vendoring_and_lists_work_offline_too() {
    let (mut world, app) = warmed().await;
    world.upstream.stop();
    world.restart_with(OFFLINE).await;
    let go = world.go();
    go.run(&app, &["mod", "vendor"]).expect_success();
    assert!(app.join("vendor/example.com/One/fake.go").is_file());
    go.run(&app, &["build", "-mod=vendor", "-o", "app", "."]).expect_success();
    let list = go.run(&app, &["list", "-mod=mod", "-m", "-versions", "example.com/One"]);
    assert_eq!(list.expect_success().trim(), "example.com/One v1.0.0");
    let latest = go.run(&go.scratch(), &["list", "-m", "example.com/One@latest"]);
    assert_eq!(latest.expect_success().trim(), "example.com/One v1.0.0");
}

#[tokio::test]
#[ignore = "needs the go command: run by cargo xtask test"]
async fn what_is_not_stored_is_a_clear_no() {
    let (mut world, _) = warmed().await;
    world.restart_with(OFFLINE).await;
    let asked = world.upstream.total();
    let go = world.go();
    let said = go.run(&go.scratch(), &["mod", "download", "example.com/One@v1.0.1"]);
    assert_failed(&said, &["404 Not Found", "example.com/One@v1.0.1"]);
    assert_eq!(world.upstream.total(), asked, "offline asked its upstream");
}

#[tokio::test]
#[ignore = "needs the go command: run by cargo xtask test"]
async fn an_upstream_that_is_down_hurts_only_what_is_not_stored() {
    let (world, app) = warmed().await;
    world.upstream.stop();
    let go = world.go();
    go.run(&app, &["build", "-o", "app", "."]).expect_success();
    let said = go.run(&go.scratch(), &["mod", "download", "example.com/One@v1.0.1"]);
    // Not 404: that would send a client with `GOPROXY=gateway,direct` to the origin.
    assert_failed(&said, &["502 Bad Gateway"]);
}
