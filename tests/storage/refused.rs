//! Errors that are not "absent", and roots that cannot be used.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use dipylon::storage;
use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_protocol::route::FileKind;
use dipylon_testkit::module::FakeModule;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::{Bench, lay_out, names, open};

/// The user that owns nothing, on any system.
const NOBODY: u32 = 65_534;
/// Far longer than a look at a few files takes.
const SOON: Duration = Duration::from_secs(20);

fn module() -> FakeModule {
    FakeModule::new("example.com/a", "v1.0.0")
}

async fn read_error(bench: &Bench, kind: FileKind) -> Error {
    let (path, version) = names(&module());
    bench.storage().read(&path, &version, kind).await.unwrap_err()
}

#[tokio::test]
async fn a_directory_in_place_of_a_file_is_an_error_and_no_miss() {
    for name in ["go.mod", "source.zip", "v1.0.0.info"] {
        let bench = Bench::new().await;
        let file = lay_out(bench.root.path(), &module()).join(name);
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        for kind in FileKind::ALL {
            let error = read_error(&bench, kind).await;
            assert_eq!(error.kind(), ErrorKind::Storage);
            assert!(error.message().starts_with("disk storage: "), "{error}");
            assert!(error.message().contains(file.to_str().unwrap()), "{error}");
        }
        bench.subject.save(&module()).await.expect_err("nothing is overwritten");
    }
}

/// Whoever opens a pipe waits for its other end, so it must not be opened.
#[tokio::test]
async fn a_pipe_in_place_of_a_file_is_an_error_at_once_and_in_no_catalogue() {
    for name in ["go.mod", "source.zip", "v1.0.0.info"] {
        let bench = Bench::new().await;
        let file = lay_out(bench.root.path(), &module()).join(name);
        fs::remove_file(&file).unwrap();
        mknodat(CWD, &file, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
        let looks = async {
            for kind in FileKind::ALL {
                let error = read_error(&bench, kind).await;
                assert!(error.message().contains("is not a regular file"), "{error}");
            }
            let (path, _) = names(&module());
            assert!(bench.storage().list(&path).await.is_err());
            assert!(bench.storage().catalog(None, 0).await.unwrap().entries.is_empty());
        };
        tokio::time::timeout(SOON, looks).await.expect("nothing hangs");
    }
}

#[tokio::test]
async fn a_name_below_a_file_or_too_long_for_the_disk_is_absent() {
    let bench = Bench::new().await;
    fs::write(bench.root.path().join("example.com"), "a file").unwrap();
    assert!(bench.is_absent(&module()).await);
    assert!(bench.list("example.com/a").await.is_empty());
    let element = "x".repeat(300);
    let long = FakeModule::new(&format!("example.org/{element}"), "v1.0.0");
    assert!(bench.is_absent(&long).await);
    let error = bench.subject.save(&long).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
}

#[tokio::test]
async fn a_root_that_went_away_is_an_error_and_no_empty_store() {
    let bench = Bench::new().await;
    bench.subject.save(&module()).await.unwrap();
    let moved = bench.root.path().with_extension("moved");
    fs::rename(bench.root.path(), &moved).unwrap();
    // What an unmounted volume leaves: the mount point.
    fs::create_dir(bench.root.path()).unwrap();
    let error = read_error(&bench, FileKind::Info).await;
    assert!(error.message().contains("is the volume mounted?"), "{error}");
    let (path, _) = names(&module());
    assert!(bench.storage().list(&path).await.is_err());
    assert!(bench.storage().catalog(None, 0).await.is_err());
    assert!(bench.storage().read_extra("queue").await.is_err());
    assert!(bench.storage().check().await.is_err());
    fs::remove_dir(bench.root.path()).unwrap();
    fs::rename(&moved, bench.root.path()).unwrap();
    assert!(bench.is_stored(&module()).await);
    bench.storage().check().await.unwrap();
}

#[tokio::test]
async fn a_root_that_does_not_exist_is_refused_in_athenss_words() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    let error = storage::disk(missing.clone()).await.err().expect("it is refused");
    let athens = format!(
        "could not create new storage from os fs (root directory `{}` does not exist)",
        missing.display()
    );
    assert!(error.message().starts_with(&athens), "{error}");
    assert!(error.message().contains("ATHENS_DISK_STORAGE_ROOT"), "it says what to do: {error}");
    assert!(!missing.exists());
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let error = storage::disk(file).await.err().expect("it is refused");
    assert!(error.message().contains("is not a directory"), "{error}");
}

#[tokio::test]
async fn staging_that_cannot_be_made_is_an_error_at_start() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join(".dipylon"), "a file").unwrap();
    let error = storage::disk(root.path().to_owned()).await.err().expect("it is refused");
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(error.message().contains(".dipylon"), "{error}");
}

/// The superuser may do everything, so these run as somebody else, in a process of their own.
#[test]
#[ignore = "needs another user: run by cargo xtask test"]
fn what_only_an_ordinary_user_sees() {
    for test in [
        "refused::as_ordinary_user_a_file_that_may_not_be_read_is_no_miss",
        "refused::as_ordinary_user_a_read_only_root_is_served",
    ] {
        run_as_ordinary_user(test);
    }
}

fn run_as_ordinary_user(test: &str) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--ignored", "--nocapture"]);
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command.output().unwrap_or_else(|error| panic!("{test}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{test}:\n{text}\n{errors}");
    assert!(text.contains("1 passed"), "{test} did not run:\n{text}");
}

/// The superuser may do everything: as that, the test would see nothing.
fn assert_ordinary_user() {
    assert!(!rustix::process::geteuid().is_root(), "only its parent runs it, as an ordinary user");
}

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
#[ignore = "run by what_only_an_ordinary_user_sees"]
async fn as_ordinary_user_a_file_that_may_not_be_read_is_no_miss() {
    assert_ordinary_user();
    for name in ["go.mod", "source.zip", "v1.0.0.info"] {
        let bench = Bench::new().await;
        let file = lay_out(bench.root.path(), &module()).join(name);
        allow(&file, 0o000);
        for kind in FileKind::ALL {
            let error = read_error(&bench, kind).await;
            assert_eq!(error.kind(), ErrorKind::Storage);
            assert!(error.message().contains("Permission denied"), "{error}");
        }
        assert!(bench.subject.save(&module()).await.is_err(), "nothing is overwritten");
        allow(&file, 0o644);
        assert!(bench.is_stored(&module()).await);
    }
}

#[tokio::test]
#[ignore = "run by what_only_an_ordinary_user_sees"]
async fn as_ordinary_user_a_read_only_root_is_served() {
    assert_ordinary_user();
    let root = tempfile::tempdir().unwrap();
    lay_out(root.path(), &module());
    allow(root.path(), 0o555);
    let storage = open(root.path()).await;
    assert_eq!(storage.staging_directory(), None);
    storage.check().await.unwrap();
    let info = super::read(&storage, &module(), FileKind::Info).await;
    assert_eq!(info, Some(module().info().into_bytes()));
    let other = module().with_version("v1.0.1");
    assert_eq!(super::read(&storage, &other, FileKind::Info).await, None);
    assert_eq!(storage.list(&names(&module()).0).await.unwrap().len(), 1);
    assert_eq!(storage.catalog(None, 0).await.unwrap().entries.len(), 1);
    assert_eq!(storage.read_extra("queue").await.unwrap(), None);
    let spools = tempfile::tempdir().unwrap();
    let spools = dipylon_testkit::storage_suite::spools_in(spools.path());
    let new = dipylon_testkit::storage_suite::new_version(&spools, &other);
    let error = storage.save(new).await.unwrap_err();
    assert!(error.message().contains("read-only"), "{error}");
    assert!(storage.write_extra("queue", "x".into()).await.is_err());
    allow(root.path(), 0o755);
}
