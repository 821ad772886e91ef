//! Real modules of many shapes through the gateway, with the public checksum database on, and the
//! same ones past it. The list is `modules.txt`.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use dipylon_testkit::gateway::Gateway;
use dipylon_testkit::go::Go;
use serde_json::Value;

use crate::world::{PROGRAM, field};

const MODULES: &str = include_str!("modules.txt");
/// All modules, one after the other on a slow line.
const LIMIT: Duration = Duration::from_secs(900);
/// What a way out of this machine may need; everything else of the environment stays outside.
const WAY_OUT: [&str; 8] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// `MODULE@VERSION` of each line; a line that ends in ` quick` is in the short list too.
fn modules(quick_only: bool) -> Vec<String> {
    let lines = MODULES.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .filter(|line| !quick_only || line.ends_with(" quick"))
        .map(|line| {
            let mut words = line.split(' ');
            let (path, version) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
            format!("{path}@{version}")
        })
        .collect()
}

/// A setting of this machine's `go`.
fn go_env(name: &str) -> String {
    let said = Command::new("go").args(["env", name]).output().expect("go can be run");
    String::from_utf8_lossy(&said.stdout).trim().to_owned()
}

fn way_out() -> Vec<(&'static str, String)> {
    WAY_OUT.iter().filter_map(|name| Some((*name, std::env::var(name).ok()?))).collect()
}

fn client(proxy: &str) -> Go {
    let go = Go::new().goproxy(proxy).gosumdb(&go_env("GOSUMDB")).limit(LIMIT);
    way_out().iter().fold(go, |go, (name, value)| go.env(name, value))
}

/// Path, version, and both hashes or the error, by what was asked.
fn download(go: &Go, asked: &[String]) -> BTreeMap<String, [String; 3]> {
    let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
    let line = |object: &Value| {
        let key = format!("{}@{}", field(object, "Path"), field(object, "Version"));
        (key, ["Sum", "GoModSum", "Error"].map(|name| field(object, name).to_owned()))
    };
    go.mod_download_json(&asked).iter().map(line).collect()
}

async fn compare(asked: &[String]) {
    let store = tempfile::tempdir().expect("a folder for the store");
    let mut builder = Gateway::builder(PROGRAM)
        .env("ATHENS_STORAGE_TYPE", "disk")
        .env("ATHENS_DISK_STORAGE_ROOT", &store.path().display().to_string())
        .env("ATHENS_LOG_LEVEL", "info")
        .env("GOPROXY", &go_env("GOPROXY"))
        .env("GOSUMDB", &go_env("GOSUMDB"));
    for (name, value) in way_out() {
        builder = builder.env(name, &value);
    }
    let gateway = builder.start().await;
    let through = download(&client(&gateway.url()), asked);
    let metrics = gateway.metrics().await;
    let past = download(&client(&go_env("GOPROXY")), asked);
    for (module, want) in &past {
        assert_eq!(want[2], "", "{module} cannot be had without the gateway either");
        assert_eq!(through.get(module), Some(want), "{module}");
    }
    assert_eq!((past.len(), through.len()), (asked.len(), asked.len()));
    // The gateway compared each version with the database before it kept it.
    let verified = metrics.metric("dipylon_stash_verifications_total").label("result", "verified");
    let verified = verified.value().unwrap_or_default() as usize;
    assert!(verified >= asked.len(), "{verified} files verified of {} modules", asked.len());
    // The client made its own checks, through the gateway.
    let lookups =
        metrics.metric("dipylon_http_server_requests_total").label("route", "sumdb").sum();
    assert!(lookups >= asked.len() as f64, "{lookups} questions of the client to the database");
    assert_eq!(
        metrics.metric("dipylon_stash_saves_total").label("result", "created").sum() as usize,
        asked.len()
    );
    assert!(!gateway.stderr().contains("panicked at"), "{}", gateway.stderr());
}

#[tokio::test]
#[ignore = "needs the go command and network: run by cargo xtask test"]
async fn twelve_real_modules_are_the_same_through_the_gateway() {
    let quick = modules(true);
    assert_eq!(quick.len(), 12);
    compare(&quick).await;
}

#[tokio::test]
#[ignore = "needs the go command and network: run by cargo xtask test --slow"]
async fn slow_every_real_module_is_the_same_through_the_gateway() {
    let all = modules(false);
    assert!(all.len() >= 40, "{} modules in the list", all.len());
    compare(&all).await;
}
