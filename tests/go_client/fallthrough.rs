//! GOPROXY lists with the gateway in front: when `go` goes on to the next entry, and when it stops.

use bytes::Bytes;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::{Fault, Upstream, When};

use crate::world::{World, assert_failed, assert_same};

const MODULE: &str = "example.com/elsewhere";
const ASKED: &str = "example.com/elsewhere@v1.0.0";

/// Another proxy, which has the module, and the database behind the gateway knows it.
async fn other(world: &World) -> (Upstream, FakeModule) {
    let module = FakeModule::new(MODULE, "v1.0.0");
    let other = Upstream::start().await;
    other.add(module.clone());
    world.database.register(&module);
    (other, module)
}

/// Downloads through `gateway SEPARATOR other`.
fn download(world: &World, other: &Upstream, separator: &str) -> serde_json::Value {
    let list = format!("{}{separator}{}", world.gateway.url(), other.url());
    world.go().goproxy(&list).mod_download_json(&[ASKED]).remove(0)
}

#[tokio::test]
#[ignore = "needs the go command: run by cargo xtask test"]
async fn what_does_not_exist_here_is_asked_of_the_next() {
    let world = World::start().await;
    let (other, module) = other(&world).await;
    assert_same(&download(&world, &other, ","), &module);
    assert_eq!(other.count("/example.com/elsewhere/@v/v1.0.0.zip"), 1);
}

#[tokio::test]
#[ignore = "needs the go command: run by cargo xtask test"]
async fn trouble_behind_the_gateway_stops_the_walk() {
    let world = World::start().await;
    let (other, _) = other(&world).await;
    for status in [500, 503, 429] {
        world.upstream.clear_faults();
        let page = Fault::Status(status, "text/plain", Bytes::from_static(b"down\n"));
        world.upstream.fault(When::prefix("/example.com/"), page);
        let got = download(&world, &other, ",");
        assert!(got["Error"].as_str().is_some_and(|error| error.contains(MODULE)), "{got}");
        assert_eq!(other.total(), 0, "{status} sent the client on to the next proxy");
    }
}

#[tokio::test]
#[ignore = "needs the go command: run by cargo xtask test"]
async fn no_upstream_at_all_stops_the_walk() {
    // Neither GOPROXY nor a `go` command that could say what it is.
    let unset = [("GOPROXY", ""), ("GO_BINARY_PATH", "{folder}/there-is-no-go")];
    let world = World::start_with(&unset).await;
    let (other, _) = other(&world).await;
    let got = download(&world, &other, ",");
    let error = got["Error"].as_str().unwrap_or_default();
    assert!(error.contains("503") && error.contains("no upstream: set GOPROXY"), "{got}");
    assert_eq!(other.total(), 0);
}

#[tokio::test]
#[ignore = "needs the go command: run by cargo xtask test"]
async fn a_refusal_stops_the_walk() {
    let filter = tempfile::NamedTempFile::new().expect("a filter file");
    std::fs::write(filter.path(), "- example.com/elsewhere\n").expect("a filter file");
    let path = filter.path().display().to_string();
    let world = World::start_with(&[("ATHENS_FILTER_FILE", &path)]).await;
    let (other, _) = other(&world).await;
    let got = download(&world, &other, ",");
    let error = got["Error"].as_str().unwrap_or_default();
    assert!(error.contains("403 Forbidden"), "{got}");
    assert_eq!(other.total(), 0, "a refusal sent the client on to the next proxy");
}

#[tokio::test]
#[ignore = "needs the go command: run by cargo xtask test"]
async fn a_bar_goes_on_after_any_error() {
    let world = World::start().await;
    let (other, module) = other(&world).await;
    let page = Fault::Status(500, "text/plain", Bytes::from_static(b"down\n"));
    world.upstream.fault(When::prefix("/example.com/"), page);
    assert_same(&download(&world, &other, "|"), &module);
    assert_eq!(other.count("/example.com/elsewhere/@v/v1.0.0.zip"), 1);
}

#[tokio::test]
#[ignore = "needs the go command: run by cargo xtask test"]
async fn each_file_may_come_from_another_entry() {
    let world = World::start().await;
    let (other, module) = other(&world).await;
    world.add(module.clone());
    // The zip is missing behind the gateway only: info and mod come through it all the same.
    world.upstream.fault(
        When::suffix(".zip"),
        Fault::Status(404, "text/plain", Bytes::from_static(b"not found: no zip here\n")),
    );
    assert_same(&download(&world, &other, ","), &module);
    let asked: Vec<String> = other.requests().iter().map(|seen| seen.path.clone()).collect();
    assert_eq!(asked, ["/example.com/elsewhere/@v/v1.0.0.zip"]);
}

#[tokio::test]
#[ignore = "needs the go command: run by cargo xtask test"]
async fn a_gateway_that_is_gone_stops_the_walk_at_a_comma() {
    let mut world = World::start().await;
    let (other, _) = other(&world).await;
    let go = world.go().gosumdb("off");
    let list = format!("{},{}", world.gateway.url(), other.url());
    world.gateway.kill();
    let go = go.goproxy(&list);
    let said = go.run(&go.scratch(), &["list", "-m", ASKED]);
    assert_failed(&said, &["connection refused"]);
    assert_eq!(other.total(), 0);
}
