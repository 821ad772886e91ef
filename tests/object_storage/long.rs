//! A store with more than 100,000 versions of one module, and as many entries of the catalogue: all of them
//! are handed out, in bounded memory. Over MinIO: the emulator of `gcp` looks at all the objects it has for each
//! that is written, and a hundred thousand never get in.

use std::time::{Duration, Instant};

use dipylon_testkit::module::FakeModule;

use crate::minio;
use crate::program::program;

const VERSIONS: usize = 100_001;
const PAGE: usize = 10_000;
/// Time for one list or page.
const LIMIT: Duration = Duration::from_secs(280);
const MODULE: &str = "example.com/long";

fn version(number: usize) -> String {
    format!("v1.{number}.0")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs minio: run by cargo xtask test --slow"]
async fn slow_100_001_versions_are_listed_and_walked_in_bounded_memory() {
    let bench = minio::bench().await;
    let began = Instant::now();
    let zip = FakeModule::new(MODULE, "v1.0.0").zip();
    let module = |number| FakeModule::new(MODULE, &version(number)).raw_zip(zip.clone());
    bench.lay_out_all((0..VERSIONS).map(module)).await;
    println!("laid out in {:?}", began.elapsed());
    let versions = (0..VERSIONS).map(version).collect();
    program(&bench).lists_and_walks(MODULE, versions, PAGE, LIMIT).await;
}
