//! A collection with more than 100,000 versions of one module, and as many entries of the catalogue: all of
//! them are handed out, in bounded memory.

use std::time::{Duration, Instant};

use dipylon_testkit::module::FakeModule;
use mongodb::bson::oid::ObjectId;

use crate::bench::{Raw, bench};
use crate::program::program;
use crate::rows;

const VERSIONS: usize = 100_001;
/// So many of them have zips of Athens's, which are looked into.
const BY_ATHENS: usize = 300;
const PAGE: usize = 10_000;
/// Time for one list or page.
const LIMIT: Duration = Duration::from_secs(280);
const MODULE: &str = "example.com/long";

fn version(number: usize) -> String {
    format!("v1.{number}.0")
}

/// The first as Athens has them, the others as the gateway does: a list looks no further there.
async fn lay_out(raw: &Raw) {
    let zip = FakeModule::new(MODULE, "v1.0.0").zip();
    let module = |number| FakeModule::new(MODULE, &version(number));
    for number in 0..BY_ATHENS {
        raw.put(&module(number)).await;
    }
    let ours = (BY_ATHENS..VERSIONS)
        .map(|number| (ObjectId::new(), module(number).raw_zip(zip.clone())))
        .collect::<Vec<_>>();
    rows::lay_out(&raw.database, &ours).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs mongo: run by cargo xtask test --slow"]
async fn slow_100_001_versions_are_listed_and_walked_in_bounded_memory() {
    // Opened once, so that the indexes are there.
    let raw = bench().await.raw;
    let began = Instant::now();
    lay_out(&raw).await;
    println!("laid out in {:?}", began.elapsed());
    let versions = (0..VERSIONS).map(version).collect();
    program(raw.database.name()).lists_and_walks(MODULE, versions, PAGE, LIMIT).await;
}
