//! More objects than a page of any store has; of `gcp` in `long.rs`, through the whole program.

use dipylon_protocol::route::FileKind;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::storage_suite::many;
use futures::StreamExt as _;

use crate::bench::Bench;
use crate::{azureblob, minio, s3};

/// Three objects each: a hundred thousand and some.
const VERSIONS: u32 = 33_400;
/// Entries of a catalogue page.
const PAGE: usize = 700;
/// Objects written at once.
const PUTS_AT_ONCE: usize = 64;

async fn list_and_catalogue_are_whole(bench: Bench) {
    let (zip, go_mod) = {
        let module = FakeModule::new(many::MODULE, "v1.0.0");
        (module.zip(), module.go_mod_bytes())
    };
    let bench = &bench;
    let puts = (0..VERSIONS).map(|number| {
        let (zip, go_mod) = (zip.clone(), go_mod.clone());
        async move {
            let module = FakeModule::new(many::MODULE, &many::version(number));
            let name = |kind| bench.names.of(&module, kind);
            bench.raw.put(&name(FileKind::Mod), go_mod).await;
            bench.raw.put(&name(FileKind::Zip), zip).await;
            bench.raw.put(&name(FileKind::Info), module.info()).await;
        }
    });
    futures::stream::iter(puts).buffer_unordered(PUTS_AT_ONCE).collect::<Vec<()>>().await;
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
