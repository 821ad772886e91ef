//! More objects than a page of any store has. `gcp` has fewer: its emulator looks at all the objects it has for
//! each that is written.

use dipylon_testkit::module::FakeModule;
use dipylon_testkit::storage_suite::many;

use crate::bench::Bench;
use crate::{azureblob, gcp, minio, s3};

/// Three objects each: a hundred thousand and some.
const VERSIONS: u32 = 33_400;
/// More versions than a page has names, on a store that takes long to fill.
const VERSIONS_ON_GCP: u32 = 1_100;
/// Entries of a catalogue page.
const PAGE: usize = 700;

async fn list_and_catalogue_are_whole(bench: Bench, versions: u32) {
    let zip = FakeModule::new(many::MODULE, "v1.0.0").zip();
    let module = |number| FakeModule::new(many::MODULE, &many::version(number));
    bench.lay_out_all((0..versions).map(|number| module(number).raw_zip(zip.clone()))).await;
    many::list_and_catalogue_are_whole(bench.storage(), versions, PAGE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs minio: run by cargo xtask test --slow"]
async fn slow_a_hundred_thousand_objects_on_minio() {
    list_and_catalogue_are_whole(minio::bench().await, VERSIONS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs minio: run by cargo xtask test --slow"]
async fn slow_a_hundred_thousand_objects_on_s3() {
    list_and_catalogue_are_whole(s3::bench("DIPYLON_TEST_MINIO").await, VERSIONS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs azurite: run by cargo xtask test --slow"]
async fn slow_a_hundred_thousand_objects_on_azureblob() {
    list_and_catalogue_are_whole(azureblob::bench().await, VERSIONS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs gcs: run by cargo xtask test --slow"]
async fn slow_three_thousand_objects_on_gcp() {
    list_and_catalogue_are_whole(gcp::bench().await, VERSIONS_ON_GCP).await;
}
