//! A store with more than 100,000 versions of one module, and as many entries of the catalogue: all of them
//! are handed out, in bounded memory.

use std::time::{Duration, Instant};

use dipylon_testkit::gateway::Gateway;
use futures::StreamExt as _;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::bench::Bench;
use crate::gcp;
use crate::program::peak_kib;

const VERSIONS: usize = 100_001;
const PAGE: usize = 10_000;
/// Objects that are written at once.
const WRITES: usize = 64;
/// Time for one list or page.
const LIMIT: Duration = Duration::from_secs(280);
/// The most that the gateway may have resident.
const MAX_PEAK_MIB: u64 = 100;
const MODULE: &str = "example.com/long";

fn version(number: usize) -> String {
    format!("v1.{number}.0")
}

/// Versions laid out as Athens has them, as short as they may be.
async fn lay_out(bench: &Bench) {
    let objects = (0..VERSIONS).flat_map(|number| {
        let version = version(number);
        let info = format!(r#"{{"Version":"{version}"}}"#);
        [("info", info), ("mod", "module x\n".to_owned()), ("zip", "z".repeat(22))]
            .map(|(suffix, bytes)| (format!("{MODULE}/@v/{version}.{suffix}"), bytes))
    });
    let writes = objects.map(|(name, bytes)| async move { bench.raw.put(&name, bytes).await });
    futures::stream::iter(writes).buffer_unordered(WRITES).for_each(|()| async {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs gcs: run by cargo xtask test --slow"]
async fn slow_100_001_versions_are_listed_and_walked_in_bounded_memory() {
    let bench = gcp::bench().await;
    let began = Instant::now();
    lay_out(&bench).await;
    println!("laid out in {:?}", began.elapsed());
    let mut gateway = Gateway::builder(env!("CARGO_BIN_EXE_dipylon"))
        .env("GOPROXY", "off")
        .env("ATHENS_NETWORK_MODE", "offline");
    for (name, value) in &bench.settings {
        gateway = gateway.env(name, value);
    }
    let gateway = gateway.start().await;
    let client = gateway.client().limit(LIMIT);

    let began = Instant::now();
    let list = client.get(&format!("/{MODULE}/@v/list")).await;
    assert_eq!(list.status, 200, "{}\n{}", list.text(), gateway.stderr());
    let mut listed: Vec<&str> = list.text().lines().collect();
    listed.sort_unstable();
    let mut want: Vec<String> = (0..VERSIONS).map(version).collect();
    want.sort_unstable();
    assert!(listed == want, "{} versions", listed.len());
    println!("listed in {:?}", began.elapsed());

    let (began, mut walked, mut token) = (Instant::now(), Vec::new(), String::new());
    loop {
        let page = client.get(&format!("/catalog?pagesize={PAGE}&token={token}")).await;
        assert_eq!(page.status, 200, "{}", page.text());
        let page: serde_json::Value = serde_json::from_slice(&page.body).unwrap();
        let entries = page["modules"].as_array().unwrap();
        assert!(entries.len() <= PAGE);
        walked.extend(entries.iter().map(|entry| entry["version"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) if !next.is_empty() => {
                token = utf8_percent_encode(next, NON_ALPHANUMERIC).to_string();
            }
            _ => break,
        }
    }
    walked.sort_unstable();
    assert!(walked == want, "{} entries", walked.len());
    println!("walked in {:?}", began.elapsed());

    let peak_mib = peak_kib(gateway.pid()) >> 10;
    println!("peak resident memory: {peak_mib} MiB");
    assert!(peak_mib < MAX_PEAK_MIB, "{peak_mib} MiB");
}
