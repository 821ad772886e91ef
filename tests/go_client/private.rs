//! Private modules: exempt from the checksum database, on the gateway and on the client.

use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::Upstream;

use crate::world::{World, assert_failed, assert_same};

const PRIVATE: &str = "git.corp.example/Team/secret";
const ASKED: &str = "git.corp.example/Team/secret@v1.0.0";

/// A gateway that is told which modules are private, with one private and one public module.
async fn world(variables: &[(&str, &str)]) -> (World, FakeModule, FakeModule) {
    let world = World::start_with(variables).await;
    let private = world.add(FakeModule::new(PRIVATE, "v1.0.0"));
    let public = world.add(FakeModule::new("example.com/lib", "v1.0.0"));
    (world, private, public)
}

fn asked_about_private(world: &World) -> usize {
    world.database.requests().iter().filter(|path| path.contains("corp")).count()
}

#[tokio::test]
#[ignore = "needs the go command: run by cargo xtask test"]
async fn a_private_module_comes_unverified_and_a_public_one_verified() {
    let (world, private, public) = world(&[("GONOSUMDB", "git.corp.example/*")]).await;
    let clients = [
        world.go().gonosumdb("git.corp.example/*"),
        // A client that sets GOPRIVATE goes direct unless GONOPROXY says otherwise.
        world.go().goprivate("git.corp.example/*").env("GONOPROXY", "none"),
    ];
    for go in clients {
        let got = go.mod_download_json(&[ASKED, "example.com/lib@v1.0.0"]);
        assert_same(&got[0], &private);
        assert_same(&got[1], &public);
    }
    assert_eq!(asked_about_private(&world), 0, "the name of a private module left the house");
    assert_eq!(world.database.count("/lookup/example.com/lib"), 1);
}

#[tokio::test]
#[ignore = "needs the go command: run by cargo xtask test"]
async fn athens_patterns_exempt_as_well() {
    let (world, private, _) = world(&[("ATHENS_GONOSUM_PATTERNS", "git.corp.example/*")]).await;
    let got = world.go().gonosumdb("git.corp.example").mod_download_json(&[ASKED]);
    assert_same(&got[0], &private);
    assert_eq!(asked_about_private(&world), 0);
}

#[tokio::test]
#[ignore = "needs the go command: run by cargo xtask test"]
async fn a_client_that_forgot_the_pattern_is_told_which_to_set() {
    let (world, _, _) = world(&[("GONOSUMDB", "git.corp.example/*")]).await;
    let go = world.go();
    let said = go.run(&go.scratch(), &["mod", "download", ASKED]);
    assert_failed(&said, &["403 Forbidden", "is private here", "set GONOSUMDB or GOPRIVATE"]);
    assert_eq!(asked_about_private(&world), 0, "the lookup was forwarded");
}

#[tokio::test]
#[ignore = "needs the go command: run by cargo xtask test"]
async fn a_module_that_the_database_does_not_know_is_refused_with_advice() {
    let mut world = World::start().await;
    // Behind another upstream than the database looks at, so that it has no record.
    let hidden = Upstream::start().await;
    hidden.add(FakeModule::new(PRIVATE, "v1.0.0"));
    let list = format!("{}|{}", hidden.url(), world.upstream.url());
    world.restart_with(&[("GOPROXY", &list)]).await;
    let go = world.go().gonosumdb("git.corp.example");
    let said = go.run(&go.scratch(), &["mod", "download", ASKED]);
    assert_failed(&said, &["403 Forbidden", PRIVATE, "GONOSUMDB"]);
}
