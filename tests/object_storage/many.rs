//! More objects than a page of any store has. `gcp` is not here: its emulator looks at all the objects it has for
//! each that is written.

use dipylon_testkit::module::FakeModule;
use dipylon_testkit::storage_suite::many;

use crate::bench::Bench;
use crate::{azureblob, minio, s3};

/// Three objects each: a hundred thousand and some.
const VERSIONS: u32 = 33_400;
/// Entries of a catalogue page.
const PAGE: usize = 700;

async fn list_and_catalogue_are_whole(bench: Bench) {
    let zip = FakeModule::new(many::MODULE, "v1.0.0").zip();
    let module = |number| FakeModule::new(many::MODULE, &many::version(number));
    bench.lay_out_all((0..VERSIONS).map(|number| module(number).raw_zip(zip.clone()))).await;
    many::list_and_catalogue_are_whole(bench.storage(), VERSIONS, PAGE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs minio: run by cargo xtask test --slow"]
async fn slow_a_hundred_thousand_objects_on_minio() {
    list_and_catalogue_are_whole(minio::bench().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs minio: run by cargo xtask test --slow"]
async fn slow_a_hundred_thousand_objects_on_s3() {
    list_and_catalogue_are_whole(s3::bench("DIPYLON_TEST_MINIO").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs azurite: run by cargo xtask test --slow"]
async fn slow_a_hundred_thousand_objects_on_azureblob() {
    list_and_catalogue_are_whole(azureblob::bench().await).await;
}
