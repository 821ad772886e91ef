//! A store with more than 100,000 versions of one module, and as many entries of the catalogue: all of them
//! are handed out, in bounded memory.

use std::time::{Duration, Instant};

use futures::StreamExt as _;

use crate::bench::Bench;
use crate::gcp;
use crate::program::program;

const VERSIONS: usize = 100_001;
const PAGE: usize = 10_000;
/// Objects that are written at once.
const WRITES: usize = 64;
/// Time for one list or page.
const LIMIT: Duration = Duration::from_secs(280);
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
    let versions = (0..VERSIONS).map(version).collect();
    program(&bench).lists_and_walks(MODULE, versions, PAGE, LIMIT).await;
}
