//! The whole program over a disk, and over the memory store.

use std::time::Duration;

use dipylon_testkit::storage_program::{self, StoreProgram};

/// Time for one large transfer.
const TRANSFER_LIMIT: Duration = Duration::from_secs(180);

fn program(settings: Vec<(&'static str, String)>) -> StoreProgram {
    StoreProgram::new(env!("CARGO_BIN_EXE_dipylon"), settings)
}

fn over_disk(root: &tempfile::TempDir) -> StoreProgram {
    let root = root.path().display().to_string();
    program(vec![("ATHENS_STORAGE_TYPE", "disk".to_owned()), ("ATHENS_DISK_STORAGE_ROOT", root)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disk_serves_five_modules_without_an_upstream() {
    let root = tempfile::tempdir().unwrap();
    let gateway = over_disk(&root).serves_five_modules_without_an_upstream().await;
    storage_program::assert_catalogued(&gateway).await;
    for module in storage_program::five_modules() {
        let stored = root.path().join(module.path()).join(module.version()).join("source.zip");
        assert!(std::fs::read(stored).unwrap() == module.zip(), "{}", module.path());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: 400 MB through the program"]
async fn slow_400_mb_on_disk() {
    let root = tempfile::tempdir().unwrap();
    over_disk(&root).takes_and_gives_400_mb(TRANSFER_LIMIT).await;
}

/// What is in it ends with the process, so there is nothing to serve after a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: 400 MB through the program"]
async fn slow_400_mb_in_memory() {
    let settings = vec![("ATHENS_STORAGE_TYPE", "memory".to_owned())];
    program(settings).takes_and_gives_400_mb(TRANSFER_LIMIT).await;
}
