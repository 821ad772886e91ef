//! What a person reads when the gateway says no: our one line, inside what `go` prints.

use bytes::Bytes;
use dipylon_testkit::go::Output;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::{Fault, When};

use crate::world::{World, assert_failed};

const PATH: &str = "example.com/lib";
const ASKED: &str = "example.com/lib@v1.0.0";
/// Another module's hash: a well-formed one that these bytes do not have.
const WRONG: &str = "h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

fn download(world: &World) -> Output {
    let go = world.go();
    go.run(&go.scratch(), &["mod", "download", ASKED])
}

#[tokio::test]
#[ignore = "needs the go command: run by cargo xtask test"]
async fn a_version_that_does_not_exist_is_named() {
    let world = World::start().await;
    world.add(FakeModule::new(PATH, "v1.1.0"));
    assert_failed(&download(&world), &["404 Not Found", "unknown to this upstream"]);
    let go = world.go();
    let said = go.run(&go.scratch(), &["list", "-m", "github.com/acme@latest"]);
    assert_failed(&said, &["github.com/acme", "404 Not Found"]);
    assert_eq!(world.upstream.count("/github.com/acme/@v/list"), 0, "it cannot exist");
}

#[tokio::test]
#[ignore = "needs the go command: run by cargo xtask test"]
async fn an_upstreams_failure_is_a_bad_gateway_with_its_words() {
    let world = World::start().await;
    let page = Fault::Status(500, "text/plain", Bytes::from_static(b"the disk is full\n"));
    world.upstream.fault(When::prefix("/example.com/"), page);
    assert_failed(&download(&world), &["502 Bad Gateway", "500", "the disk is full"]);
}

#[tokio::test]
#[ignore = "needs the go command: run by cargo xtask test"]
async fn a_filtered_module_says_who_refuses() {
    let filter = tempfile::NamedTempFile::new().expect("a filter file");
    std::fs::write(filter.path(), "- example.com\n").expect("a filter file");
    let path = filter.path().display().to_string();
    let world = World::start_with(&[("ATHENS_FILTER_FILE", &path)]).await;
    world.add(FakeModule::new(PATH, "v1.0.0"));
    assert_failed(&download(&world), &["403 Forbidden", PATH, "filter"]);
    assert_eq!(world.module_requests(), 0);
}

#[tokio::test]
#[ignore = "needs the go command: run by cargo xtask test"]
async fn a_mode_that_forbids_to_fetch_says_so() {
    let world = World::start_with(&[("ATHENS_DOWNLOAD_MODE", "none")]).await;
    world.add(FakeModule::new(PATH, "v1.0.0"));
    assert_failed(&download(&world), &["404 Not Found", "not found: example.com/lib@v1.0.0"]);
    assert_eq!(world.module_requests(), 0);
}

#[tokio::test]
#[ignore = "needs the go command: run by cargo xtask test"]
async fn other_bytes_than_the_database_knows_never_reach_the_client() {
    let world = World::start().await;
    let module = world.add(FakeModule::new(PATH, "v1.0.0"));
    world.database.lie(PATH, "v1.0.0", WRONG);
    let said = download(&world);
    assert_failed(&said, &["403 Forbidden", "checksum mismatch for example.com/lib@v1.0.0"]);
    // Both hashes, so that a person can tell which side is wrong.
    assert_failed(&said, &[WRONG, &module.h1()]);
    let kept = world.folder("store").join(PATH).join("v1.0.0");
    assert!(!kept.exists(), "what was refused is stored under {}", kept.display());
    // The refusal is remembered: the second client costs no second download.
    let zips = world.upstream.count("/example.com/lib/@v/v1.0.0.zip");
    assert_failed(&download(&world), &["checksum mismatch for example.com/lib@v1.0.0"]);
    assert_eq!(world.upstream.count("/example.com/lib/@v/v1.0.0.zip"), zips);
}

#[tokio::test]
#[ignore = "needs the go command: run by cargo xtask test"]
async fn a_client_still_checks_for_itself_where_the_gateway_does_not() {
    let world = World::start_with(&[("GONOSUMDB", "example.com/*")]).await;
    world.add(FakeModule::new(PATH, "v1.0.0"));
    world.database.lie(PATH, "v1.0.0", WRONG);
    // Asked directly, because the gateway does not look up what it takes for private.
    let database = world.database.start().await;
    let go = world.go().gosumdb(&format!("{} {}", world.database.verifier_key(), database.url()));
    let said = go.run(&go.scratch(), &["mod", "download", ASKED]);
    assert_failed(&said, &["SECURITY ERROR", "checksum mismatch"]);
}

#[tokio::test]
#[ignore = "needs the go command: run by cargo xtask test"]
async fn a_truncated_zip_is_no_module() {
    let world = World::start().await;
    world.add(FakeModule::new(PATH, "v1.0.0").filler(300_000));
    world.upstream.fault(When::suffix(".zip"), Fault::TruncateAt(150_000));
    assert_failed(&download(&world), &["502 Bad Gateway", ASKED]);
    // Upstream is well again: the next client has it, and nothing of the failure is left.
    world.upstream.clear_faults();
    let go = world.go();
    go.run(&go.scratch(), &["mod", "download", ASKED]).expect_success();
}

#[tokio::test]
#[ignore = "needs the go command: run by cargo xtask test"]
async fn a_zip_that_breaks_the_rules_is_refused_with_the_reason() {
    let world = World::start().await;
    let other = FakeModule::new("example.com/other", "v1.0.0");
    world.add(FakeModule::new(PATH, "v1.0.0").raw_zip(other.zip()));
    assert_failed(&download(&world), &["502 Bad Gateway", "wrong zip for example.com/lib@v1.0.0"]);
}
