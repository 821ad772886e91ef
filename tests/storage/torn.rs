//! What a crash at any step leaves behind reads as absent and is mended by the next save.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use dipylon_middleware::ports::SaveResult;
use dipylon_protocol::route::FileKind;
use dipylon_testkit::module::FakeModule;
use futures::future::join_all;

use super::{Bench, entries, lay_out, open};

const INFO: &str = "v1.0.0.info";

fn module() -> FakeModule {
    FakeModule::new("example.com/torn", "v1.0.0").filler(100_000)
}

/// Tears the version in this directory.
type Tear = fn(&Path);

/// How a tear is told from a whole version.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    /// By kind and length of the three files: neither list nor catalogue believes it.
    ByLooking,
    /// By what is in them, which the catalogue does not read.
    ByReading,
}

use Told::{ByLooking, ByReading};

/// Every way in which a version can be torn, by what is done to a whole one.
const TEARS: &[(&str, Told, Tear)] = &[
    ("an empty directory", ByLooking, |d| {
        ["go.mod", "source.zip", INFO].iter().for_each(|n| remove(d, n))
    }),
    ("only the go.mod, as Athens begins", ByLooking, |d| {
        ["source.zip", INFO].iter().for_each(|n| remove(d, n))
    }),
    ("no info, as Athens ends", ByLooking, |d| remove(d, INFO)),
    ("no go.mod", ByLooking, |d| remove(d, "go.mod")),
    ("no zip", ByLooking, |d| remove(d, "source.zip")),
    ("an empty info", ByLooking, |d| cut(d, INFO, 0)),
    ("half an info", ByReading, |d| cut(d, INFO, 12)),
    ("an info of another version", ByReading, |d| put(d, INFO, br#"{"Version":"v1.0.1"}"#)),
    ("an info of zeros", ByReading, |d| put(d, INFO, &[0; 60])),
    ("an empty go.mod", ByLooking, |d| cut(d, "go.mod", 0)),
    ("a go.mod of zeros", ByReading, |d| put(d, "go.mod", &[0; 30])),
    ("an empty zip", ByLooking, |d| cut(d, "source.zip", 0)),
    ("a zip shorter than any", ByLooking, |d| cut(d, "source.zip", 21)),
    ("half a zip", ByReading, |d| cut(d, "source.zip", 50_000)),
    ("a zip without its last byte", ByReading, |d| {
        cut(d, "source.zip", module().zip().len() as u64 - 1)
    }),
    ("a zip of zeros", ByReading, |d| put(d, "source.zip", &vec![0; module().zip().len()])),
    ("half a zip and no info", ByLooking, |d| {
        cut(d, "source.zip", 50_000);
        remove(d, INFO);
    }),
    ("names that lead nowhere", ByLooking, |d| {
        remove(d, "source.zip");
        std::os::unix::fs::symlink("nowhere", d.join("source.zip")).unwrap();
    }),
];

fn remove(directory: &Path, name: &str) {
    fs::remove_file(directory.join(name)).unwrap();
}

fn cut(directory: &Path, name: &str, length: u64) {
    let file = fs::File::options().write(true).open(directory.join(name)).unwrap();
    assert!(file.metadata().unwrap().len() > length, "{name} is cut");
    file.set_len(length).unwrap();
}

fn put(directory: &Path, name: &str, bytes: &[u8]) {
    fs::write(directory.join(name), bytes).unwrap();
}

#[tokio::test]
async fn whatever_is_torn_is_absent_and_the_next_save_mends_it() {
    for (name, _, tear) in TEARS {
        let bench = Bench::new().await;
        tear(&lay_out(bench.root.path(), &module()));
        assert!(bench.is_absent(&module()).await, "{name}");
        assert!(bench.list("example.com/torn").await.is_empty(), "{name} is listed");
        let saved = bench.subject.save(&module()).await;
        assert_eq!(saved.expect(name), SaveResult::Created, "{name}");
        assert!(bench.is_stored(&module()).await, "{name}");
        assert_eq!(bench.list("example.com/torn").await, ["v1.0.0"], "{name}");
        assert_eq!(bench.files().len(), 3, "{name}: {:?}", bench.files());
        assert!(bench.staged().is_empty(), "{name}: {:?}", bench.staged());
    }
}

#[tokio::test]
async fn a_version_torn_while_the_gateway_runs_is_noticed() {
    for (name, _, tear) in TEARS {
        let bench = Bench::new().await;
        bench.subject.save(&module()).await.unwrap();
        assert!(bench.is_stored(&module()).await, "it is remembered as whole");
        tear(&bench.directory(&module()));
        assert!(bench.list("example.com/torn").await.is_empty(), "{name} is listed");
        assert!(bench.is_absent(&module()).await, "{name}");
    }
}

#[tokio::test]
async fn a_torn_version_is_neither_listed_nor_catalogued_where_looking_tells() {
    let whole = module().with_version("v1.0.1");
    for (name, told, tear) in TEARS {
        let bench = Bench::new().await;
        lay_out(bench.root.path(), &whole);
        tear(&lay_out(bench.root.path(), &module()));
        assert_eq!(bench.list("example.com/torn").await, ["v1.0.1"], "{name}");
        let page = bench.storage().catalog(None, 0).await.unwrap();
        let entries: Vec<&str> = page.entries.iter().map(|entry| &*entry.version).collect();
        let want: &[&str] = if *told == ByLooking { &["v1.0.1"] } else { &["v1.0.0", "v1.0.1"] };
        assert_eq!(entries, want, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_racing_menders_one_mends() {
    let bench = Arc::new(Bench::new().await);
    cut(&lay_out(bench.root.path(), &module()), "source.zip", 70_000);
    let tasks = (0..16).map(|number| {
        let bench = Arc::clone(&bench);
        // Half of them through a store of their own, as another process would have it.
        tokio::spawn(async move {
            let candidate = module().filler(100_000 + number);
            if number % 2 == 0 {
                return (number, bench.subject.save(&candidate).await.unwrap());
            }
            let other = open(bench.root.path()).await;
            let new =
                dipylon_testkit::storage_suite::new_version(bench.subject.spools(), &candidate);
            (number, other.save(new).await.unwrap())
        })
    });
    let results: Vec<_> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
    let created: Vec<usize> =
        results.iter().filter(|(_, r)| *r == SaveResult::Created).map(|(n, _)| *n).collect();
    assert_eq!(created.len(), 1, "{results:?}");
    assert!(bench.is_stored(&module().filler(100_000 + created[0])).await);
    assert_eq!(bench.files().len(), 3);
}

/// The old `.info` may be whole while the zip is not; it must not come back with the new zip.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_never_sees_old_and_new_files_together() {
    let bench = Arc::new(Bench::new().await);
    for patch in 0..20 {
        let fresh = module().with_version(&format!("v1.0.{patch}"));
        let old = fresh.clone().time("2001-02-03T04:05:06Z");
        cut(&lay_out(bench.root.path(), &old), "source.zip", 70_000);
        let reader = tokio::spawn({
            let (bench, fresh) = (Arc::clone(&bench), fresh.clone());
            async move {
                // Ends when the save does, because what was saved stays.
                while !bench.is_stored(&fresh).await {
                    let info = bench.read(&fresh, FileKind::Info).await;
                    assert!(info.is_none_or(|info| info == fresh.info().as_bytes()));
                }
            }
        });
        assert_eq!(bench.subject.save(&fresh).await.unwrap(), SaveResult::Created);
        reader.await.expect("no reader saw the old info");
    }
}

#[tokio::test]
async fn mending_leaves_nested_modules_and_strangers_alone() {
    let bench = Bench::new().await;
    let nested = FakeModule::new("example.com/torn/v1.0.0/nested", "v0.1.0");
    bench.subject.save(&nested).await.unwrap();
    let directory = lay_out(bench.root.path(), &module());
    put(&directory, "notes.txt", b"of the operator");
    cut(&directory, "source.zip", 10);
    assert_eq!(bench.subject.save(&module()).await.unwrap(), SaveResult::Created);
    assert!(bench.is_stored(&module()).await);
    assert!(bench.is_stored(&nested).await);
    assert_eq!(fs::read(directory.join("notes.txt")).unwrap(), b"of the operator");
}

/// The steps of mending, each as the crash right after it leaves the tree: the `.info` is removed,
/// then the `.mod`, the zip and the `.info` of the new bytes come in.
#[tokio::test]
async fn a_crash_while_mending_leaves_a_torn_version() {
    let fresh = module().filler(120_000).go_mod("module example.com/torn\n\n// fresh\n");
    for steps in 1..=3 {
        let bench = Bench::new().await;
        let directory = lay_out(bench.root.path(), &module());
        cut(&directory, "source.zip", 50_000);
        remove(&directory, INFO);
        if steps >= 2 {
            put(&directory, "go.mod", &fresh.go_mod_bytes());
        }
        if steps >= 3 {
            put(&directory, "source.zip", &fresh.zip());
        }
        assert!(bench.is_absent(&module()).await, "after {steps} steps");
        assert_eq!(bench.subject.save(&fresh).await.unwrap(), SaveResult::Created);
        assert!(bench.is_stored(&fresh).await, "after {steps} steps");
    }
}

/// The steps of a plain save: a staged directory with one to three files, then the version.
#[tokio::test]
async fn a_crash_before_the_rename_leaves_no_trace_among_the_versions() {
    for files in 0..=3 {
        let bench = Bench::new().await;
        let stage = bench.root.path().join(".dipylon/staging/save-dead");
        fs::create_dir(&stage).unwrap();
        for name in ["go.mod", INFO, "source.zip"].iter().take(files) {
            put(&stage, name, b"half");
        }
        fs::create_dir_all(bench.root.path().join("example.com/torn")).unwrap();
        assert!(bench.is_absent(&module()).await);
        assert!(bench.list("example.com/torn").await.is_empty());
        assert!(bench.storage().catalog(None, 0).await.unwrap().entries.is_empty());
        assert_eq!(bench.subject.save(&module()).await.unwrap(), SaveResult::Created);
        assert!(bench.is_stored(&module()).await);
        assert!(stage.exists(), "it is young: another process may be at it");
    }
}

#[tokio::test]
async fn what_is_not_whole_is_not_stored() {
    let bench = Bench::new().await;
    let half = module().zip().slice(..50_000);
    for bad in [
        module().raw_zip(half),
        module().raw_zip("<html>"),
        module().info_json(r#"{"Version":"v1.0.1"}"#),
        module().info_json(""),
        module().go_mod(""),
    ] {
        let error = bench.subject.save(&bad).await.unwrap_err();
        assert!(error.message().contains("not a whole version"), "{error}");
        assert!(bench.is_absent(&module()).await);
    }
    assert_eq!(bench.files(), Vec::<String>::new());
    assert_eq!(entries(&bench.root.path().join(".dipylon/staging")).len(), 0);
}
