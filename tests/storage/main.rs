//! The storage backends that need no server: the compliance suite, and what is special to a disk.

mod killed;
mod layout;
mod program;
mod refused;
mod synced;
mod torn;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dipylon::storage;
use dipylon_middleware::ports::Storage;
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::storage_suite::{Subject, read_range};
use futures::FutureExt as _;
use http_body_util::BodyExt as _;
use tempfile::TempDir;

mod suite_on_disk {
    dipylon_testkit::storage_suite!(super::fresh_disk);
}

mod suite_in_memory {
    dipylon_testkit::storage_suite!(super::fresh_memory);
}

async fn fresh_disk() -> Subject {
    let root = tempfile::tempdir().unwrap();
    let disk = storage::disk(root.path().to_owned()).await.unwrap();
    Subject::new(disk).refusing_token("no bar").keep(root)
}

#[tokio::test]
async fn a_disk_says_since_when_it_has_a_zip() {
    fresh_disk().await.assert_says_since_when().await;
}

/// A version that was read before is in the kernel's memory: a hit costs no hop to a thread, and waits for none.
#[test]
fn what_is_remembered_and_cached_is_read_without_a_blocking_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build();
    runtime.unwrap().block_on(async {
        let bench = Bench::new().await;
        let module = FakeModule::new("example.com/lib", "v1.0.0");
        bench.subject.save(&module).await.unwrap();
        let (path, version) =
            (ModulePath::parse(module.path()).unwrap(), Version::parse(module.version()).unwrap());
        let storage = open(bench.root.path()).await;
        let first = storage.read(&path, &version, FileKind::Info).await.unwrap();
        assert!(first.is_some());
        let (lets_go, held) = std::sync::mpsc::channel::<()>();
        let thread = tokio::task::spawn_blocking(move || held.recv());
        for (kind, bytes) in [
            (FileKind::Info, module.info().into_bytes()),
            (FileKind::Mod, module.go_mod_bytes().to_vec()),
            (FileKind::Zip, module.zip().to_vec()),
        ] {
            let blob = storage.read(&path, &version, kind).now_or_never();
            let blob = blob.expect("it waits for no thread").unwrap().unwrap();
            let body = dipylon_middleware::body::blob(&blob, 0..blob.length());
            let body = body.collect().now_or_never().expect("nor does its body");
            assert_eq!(body.unwrap().to_bytes(), bytes, "{kind:?}");
        }
        // One that has gone is looked for by a thread, which says that the version is torn.
        fs::remove_file(bench.directory(&module).join("go.mod")).unwrap();
        let torn = storage.read(&path, &version, FileKind::Zip);
        lets_go.send(()).unwrap();
        thread.await.unwrap().unwrap();
        assert!(torn.await.unwrap().is_none());
    });
}

async fn fresh_memory() -> Subject {
    Subject::new(storage::memory().await.unwrap()).refusing_token("no bar")
}

/// A disk store in a directory that the test looks into.
struct Bench {
    root: TempDir,
    subject: Subject,
}

impl Bench {
    async fn new() -> Self {
        Self::over(tempfile::tempdir().unwrap()).await
    }

    /// Opens the store that lies in `root` already.
    async fn over(root: TempDir) -> Self {
        let subject = Subject::new(open(root.path()).await);
        Self { root, subject }
    }

    fn storage(&self) -> &Arc<dyn Storage> {
        self.subject.storage()
    }

    fn directory(&self, module: &FakeModule) -> PathBuf {
        self.root.path().join(module.path()).join(module.version())
    }

    async fn read(&self, module: &FakeModule, kind: FileKind) -> Option<Vec<u8>> {
        read(self.storage(), module, kind).await
    }

    async fn is_stored(&self, module: &FakeModule) -> bool {
        self.read(module, FileKind::Info).await == Some(module.info().into_bytes())
            && self.read(module, FileKind::Mod).await == Some(module.go_mod_bytes().to_vec())
            && self.read(module, FileKind::Zip).await == Some(module.zip().to_vec())
    }

    async fn is_absent(&self, module: &FakeModule) -> bool {
        for kind in FileKind::ALL {
            if self.read(module, kind).await.is_some() {
                return false;
            }
        }
        true
    }

    async fn list(&self, module: &str) -> Vec<String> {
        let module = ModulePath::parse(module).unwrap();
        let listed = self.storage().list(&module).await.unwrap();
        listed.iter().map(ToString::to_string).collect()
    }

    /// Every file below the root but the ones of ours.
    fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        walk(self.root.path(), &mut files);
        let root = self.root.path();
        let mut names: Vec<String> = files
            .iter()
            .map(|path| path.strip_prefix(root).unwrap().to_str().unwrap().to_owned())
            .filter(|name| !name.starts_with(".dipylon/"))
            .collect();
        names.sort();
        names
    }

    /// What lies in staging.
    fn staged(&self) -> Vec<PathBuf> {
        entries(&self.root.path().join(".dipylon/staging"))
    }
}

async fn open(root: &Path) -> Arc<dyn Storage> {
    storage::disk(root.to_owned()).await.unwrap()
}

async fn read(storage: &Arc<dyn Storage>, module: &FakeModule, kind: FileKind) -> Option<Vec<u8>> {
    let (path, version) = names(module);
    let blob = storage.read(&path, &version, kind).await.unwrap()?;
    Some(read_range(&blob, 0..blob.length()).await.unwrap().to_vec())
}

fn names(module: &FakeModule) -> (ModulePath, Version) {
    (ModulePath::parse(module.path()).unwrap(), Version::parse(module.version()).unwrap())
}

/// Lays a version out by hand, as Athens writes it.
fn lay_out(root: &Path, module: &FakeModule) -> PathBuf {
    let directory = root.join(module.path()).join(module.version());
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("go.mod"), module.go_mod_bytes()).unwrap();
    fs::write(directory.join("source.zip"), module.zip()).unwrap();
    fs::write(directory.join(format!("{}.info", module.version())), module.info()).unwrap();
    directory
}

fn walk(directory: &Path, files: &mut Vec<PathBuf>) {
    for path in entries(directory) {
        if path.is_dir() { walk(&path, files) } else { files.push(path) }
    }
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
}
