//! More versions than a page has, through the protocol and on the disk behind it.

use std::path::Path;
use std::sync::Arc;

use dipylon_middleware::ports::Storage;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::storage_suite::many;

use crate::bench;

/// Entries of a catalogue page.
const PAGE: usize = 700;

/// Versions as Athens lays them out on a disk.
fn lay_out(root: &Path, versions: u32) {
    let zip = FakeModule::new(many::MODULE, "v1.0.0").zip();
    for number in 0..versions {
        let module = FakeModule::new(many::MODULE, &many::version(number));
        let folder = root.join(module.path()).join(module.version());
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("go.mod"), module.go_mod_bytes()).unwrap();
        std::fs::write(folder.join("source.zip"), &zip).unwrap();
        std::fs::write(folder.join(format!("{}.info", module.version())), module.info()).unwrap();
    }
}

async fn list_and_catalogue_are_whole(versions: u32) {
    let page = PAGE.max(versions as usize / 10);
    let (root, served) = bench::served_disk().await;
    lay_out(root.path(), versions);
    let disk: Arc<dyn Storage> = dipylon::storage::disk(root.path().to_owned()).await.unwrap();
    many::list_and_catalogue_are_whole(&disk, versions, page).await;
    let external = bench::client(&served.url()).await;
    many::list_and_catalogue_are_whole(&external, versions, page).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disk_and_external_list_and_catalogue_more_than_a_thousand_versions() {
    list_and_catalogue_are_whole(1_500).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: a hundred thousand folders"]
async fn slow_disk_and_external_list_and_catalogue_a_hundred_thousand_versions() {
    list_and_catalogue_are_whole(100_000).await;
}
