//! The whole program: `dipylon external-storage` with a disk, and gateways over it.

use std::path::Path;
use std::time::Duration;

use dipylon_testkit::gateway::{Builder, Gateway};
use dipylon_testkit::storage_program::{self, StoreProgram};

use crate::foreign_server::Foreign;

const PROGRAM: &str = env!("CARGO_BIN_EXE_dipylon");
/// Time for one large transfer.
const TRANSFER_LIMIT: Duration = Duration::from_secs(180);

/// The store as a server: its credentials are those of the gateway's own configuration.
fn store(root: &Path) -> Builder {
    Gateway::builder(PROGRAM)
        .arg("external-storage")
        .env("ATHENS_STORAGE_TYPE", "disk")
        .env("ATHENS_DISK_STORAGE_ROOT", &root.display().to_string())
        .env("BASIC_AUTH_USER", "robot")
        .env("BASIC_AUTH_PASS", "hush-hush")
        .env("ATHENS_LOG_LEVEL", "info")
}

/// Gateways over the store at this URL.
fn program(url: &str) -> StoreProgram {
    let settings = vec![
        ("ATHENS_STORAGE_TYPE", "external".to_owned()),
        ("ATHENS_EXTERNAL_STORAGE_URL", url.to_owned()),
    ];
    StoreProgram::new(PROGRAM, settings).secret("hush-hush")
}

fn url_of(store: &Gateway) -> String {
    format!("http://robot:hush-hush@{}", store.address())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn external_storage_serves_five_modules_to_gateways_without_an_upstream() {
    let root = tempfile::tempdir().unwrap();
    let mut store = store(root.path()).start().await;
    let gateway = program(&url_of(&store)).serves_five_modules_without_an_upstream().await;
    storage_program::assert_catalogued(&gateway).await;
    for module in storage_program::five_modules() {
        let stored = root.path().join(module.path()).join(module.version()).join("source.zip");
        assert!(std::fs::read(stored).unwrap() == module.zip());
    }
    assert_eq!(store.get("/example.com/one/@v/list").await.status, 401, "it asks for credentials");
    assert!(store.terminate().await.success(), "{}", store.stderr());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_server_serves_five_modules_without_an_upstream_and_has_no_catalogue() {
    let foreign = Foreign::start().await;
    let gateway = program(&foreign.url()).serves_five_modules_without_an_upstream().await;
    let catalog = gateway.get("/catalog").await;
    assert_eq!(catalog.status, 501, "{}", catalog.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_goes_down_costs_an_error_and_never_a_false_absence() {
    let root = tempfile::tempdir().unwrap();
    let mut store = store(root.path()).start().await;
    let gateway = program(&url_of(&store)).offline().start().await;
    assert_eq!(gateway.get("/example.com/one/@v/v1.0.0.mod").await.status, 404);
    store.kill();
    let answer = gateway.get("/example.com/one/@v/v1.1.0.mod").await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.text().contains("external storage cannot read"), "{}", answer.text());
    let ready = gateway.get("/readyz").await;
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("external storage cannot"), "{}", ready.text());
    assert!(!ready.text().contains("hush-hush"), "{}", ready.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn external_storage_listens_where_its_flag_says_and_needs_a_store_of_its_own() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let run = |kind: &str| {
        let mut command = tokio::process::Command::new(PROGRAM);
        command.args(["external-storage", "-listen", &free.to_string()]).env_clear();
        command.env("ATHENS_STORAGE_TYPE", kind).env("ATHENS_EXTERNAL_STORAGE_URL", "http://h");
        command.kill_on_drop(true).stdin(std::process::Stdio::null());
        command
    };
    let refused = run("external").output().await.unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("needs a store of its own"), "{said}");

    let quiet = std::process::Stdio::null;
    let child = run("memory").stdout(quiet()).stderr(quiet()).spawn().unwrap();
    let client = dipylon_testkit::client::Client::new(&format!("http://{free}"));
    for _ in 0..1_000 {
        let asked = client.try_request(http::Method::GET, "/healthz", &[], "").await;
        if asked.is_ok_and(|answer| answer.status == 200) {
            drop(child);
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("nobody listens on {free}");
}

/// A zip larger than the programs may be, in and out: through the gateway, its client, and the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: 400 MB through two programs"]
async fn slow_400_mb_on_external() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path()).start().await;
    program(&url_of(&store)).takes_and_gives_400_mb(TRANSFER_LIMIT).await;
    storage_program::assert_small("external-storage", &store);
}
