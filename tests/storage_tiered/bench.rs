//! A tier over a store that can be watched, and made to fail.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dipylon::config::TieredKeys;
use dipylon::storage::{self, tiered};
use dipylon_middleware::blob::{Blob, ByteStream, OpenRange};
use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_middleware::ports::{BoxFuture, CatalogPage, NewVersion, SaveResult, Storage};
use dipylon_middleware::telemetry::{NearFill, NearRead, Telemetry};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::storage_suite::{new_version, read_range, spools_in};
use futures::StreamExt as _;
use tempfile::TempDir;

/// What a chunk of a far stream has.
const CHUNK_BYTES: u64 = 32 * 1024;
/// What a file takes on the disk is a multiple of this.
const BLOCK_BYTES: u64 = 4096;
/// The longest that a test waits for what happens on the side.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(10);

/// Enough for any test that does not look at the limit.
pub(crate) fn room() -> u64 {
    256 << 20
}

pub(crate) fn keys(directory: &Path, max_bytes: u64) -> TieredKeys {
    TieredKeys { directory: Some(directory.to_owned()), max_bytes }
}

/// A tier in `directory` over `far`.
pub(crate) async fn opened(
    far: Arc<dyn Storage>,
    directory: &Path,
    max_bytes: u64,
) -> (Arc<dyn Storage>, Telemetry) {
    opened_over(far, "far", directory, max_bytes).await
}

/// A tier over the store that `whose` names.
pub(crate) async fn opened_over(
    far: Arc<dyn Storage>,
    whose: &str,
    directory: &Path,
    max_bytes: u64,
) -> (Arc<dyn Storage>, Telemetry) {
    let telemetry = Telemetry::new().unwrap();
    let keys = keys(directory, max_bytes);
    let tiered = tiered::over(far, whose, &keys, &telemetry).await.unwrap();
    (tiered, telemetry)
}

/// A real store, whose zips come as if over a network; it counts what it is asked.
pub(crate) struct Far {
    inner: Arc<dyn Storage>,
    pub(crate) reads: AtomicUsize,
    pub(crate) opened: Arc<AtomicUsize>,
    pub(crate) is_down: AtomicBool,
    /// A stream breaks off after this many bytes; 0 for never.
    pub(crate) cut_after: Arc<AtomicU64>,
}

impl Far {
    pub(crate) async fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: storage::memory().await.unwrap(),
            reads: AtomicUsize::new(0),
            opened: Arc::default(),
            is_down: AtomicBool::new(false),
            cut_after: Arc::default(),
        })
    }

    pub(crate) fn goes_down(&self) {
        self.is_down.store(true, Ordering::Relaxed);
    }

    pub(crate) fn comes_back(&self) {
        self.is_down.store(false, Ordering::Relaxed);
    }

    fn is_up(&self) -> Result<(), Error> {
        match self.is_down.load(Ordering::Relaxed) {
            true => Err(down()),
            false => Ok(()),
        }
    }
}

fn down() -> Error {
    Error::new(ErrorKind::StorageUnavailable, "the far store is down on purpose")
}

impl Storage for Far {
    fn kind(&self) -> &'static str {
        "far"
    }

    fn list<'a>(&'a self, module: &'a ModulePath) -> BoxFuture<'a, Result<Vec<Version>, Error>> {
        Box::pin(async move {
            self.is_up()?;
            self.inner.list(module).await
        })
    }

    fn read<'a>(
        &'a self,
        module: &'a ModulePath,
        version: &'a Version,
        kind: FileKind,
    ) -> BoxFuture<'a, Result<Option<Blob>, Error>> {
        Box::pin(async move {
            self.is_up()?;
            self.reads.fetch_add(1, Ordering::Relaxed);
            let Some(blob) = self.inner.read(module, version, kind).await? else { return Ok(None) };
            if kind != FileKind::Zip {
                return Ok(Some(blob));
            }
            let (length, opened) = (blob.length(), Arc::clone(&self.opened));
            let remote = Remote { blob, opened, cut_after: Arc::clone(&self.cut_after) };
            Ok(Some(Blob::remote(Arc::new(remote), length)))
        })
    }

    fn save(&self, version: NewVersion) -> BoxFuture<'_, Result<SaveResult, Error>> {
        Box::pin(async move {
            self.is_up()?;
            self.inner.save(version).await
        })
    }

    fn catalog<'a>(
        &'a self,
        token: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<CatalogPage, Error>> {
        self.inner.catalog(token, limit)
    }

    fn read_extra<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, Error>> {
        self.inner.read_extra(key)
    }

    fn write_extra<'a>(&'a self, key: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<(), Error>> {
        self.inner.write_extra(key, bytes)
    }

    fn remove_extra<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        self.inner.remove_extra(key)
    }

    fn check(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(std::future::ready(self.is_up()))
    }
}

struct Remote {
    blob: Blob,
    opened: Arc<AtomicUsize>,
    cut_after: Arc<AtomicU64>,
}

impl OpenRange for Remote {
    fn open(&self, range: Range<u64>) -> ByteStream {
        self.opened.fetch_add(1, Ordering::Relaxed);
        let (blob, cut) = (self.blob.clone(), self.cut_after.load(Ordering::Relaxed));
        let begin = range.start;
        futures::stream::unfold(range, move |range| {
            let blob = blob.clone();
            async move {
                if range.is_empty() {
                    return None;
                }
                if cut > 0 && range.start - begin >= cut {
                    return Some((Err(down()), range.end..range.end));
                }
                let next = range.end.min(range.start + CHUNK_BYTES);
                Some((read_range(&blob, range.start..next).await, next..range.end))
            }
        })
        .boxed()
    }
}

/// A tier, the store behind it, and the directory of its copies.
pub(crate) struct Bench {
    pub(crate) far: Arc<Far>,
    pub(crate) tiered: Arc<dyn Storage>,
    pub(crate) telemetry: Telemetry,
    pub(crate) near: TempDir,
    max_bytes: u64,
    spools: TempDir,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::with_room(room()).await
    }

    pub(crate) async fn with_room(max_bytes: u64) -> Self {
        let (far, near) = (Far::new().await, tempfile::tempdir().unwrap());
        let (tiered, telemetry) = opened(far.clone(), near.path(), max_bytes).await;
        let spools = tempfile::tempdir().unwrap();
        Self { far, tiered, telemetry, near, max_bytes, spools }
    }

    /// As after the end of the process: another tier in the same directory.
    pub(crate) async fn restarted(self) -> Self {
        let far = Arc::clone(&self.far);
        self.restarted_over(far, "far").await
    }

    /// As after a start with another store in the configuration.
    pub(crate) async fn restarted_over(mut self, far: Arc<Far>, whose: &str) -> Self {
        self.far = far;
        let idle = storage::memory().await.unwrap();
        drop(std::mem::replace(&mut self.tiered, idle));
        (self.tiered, self.telemetry) =
            opened_over(self.far.clone(), whose, self.near.path(), self.max_bytes).await;
        self
    }

    /// The limit from the next start on.
    pub(crate) fn limited(mut self, max_bytes: u64) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    /// Stores a version far, past the tier.
    pub(crate) async fn put_far(&self, module: &FakeModule) {
        let spools = spools_in(self.spools.path());
        let saved = self.far.save(new_version(&spools, module)).await.unwrap();
        assert_eq!(saved, SaveResult::Created);
    }

    /// Stores a version through the tier.
    pub(crate) async fn save(&self, module: &FakeModule) -> Result<SaveResult, Error> {
        let spools = spools_in(self.spools.path());
        self.tiered.save(new_version(&spools, module)).await
    }

    pub(crate) async fn blob(&self, module: &FakeModule, kind: FileKind) -> Result<Blob, Error> {
        let (path, version) = names(module);
        let found = self.tiered.read(&path, &version, kind).await?;
        Ok(found.expect("it is stored"))
    }

    /// Reads a whole file and holds it to what it must be.
    pub(crate) async fn read(&self, module: &FakeModule, kind: FileKind) -> Result<(), Error> {
        let blob = self.blob(module, kind).await?;
        let bytes = read_range(&blob, 0..blob.length()).await?;
        assert!(bytes == bytes_of(module, kind), "{}@{} {kind:?}", module.path(), module.version());
        Ok(())
    }

    pub(crate) async fn read_all(&self, module: &FakeModule) -> Result<(), Error> {
        for kind in FileKind::ALL {
            self.read(module, kind).await?;
        }
        Ok(())
    }

    pub(crate) fn fills(&self, result: NearFill) -> u64 {
        self.telemetry.metrics.tier_fills.get((result,)).get()
    }

    pub(crate) fn looks(&self, result: NearRead) -> u64 {
        self.telemetry.metrics.tier_reads.get((result,)).get()
    }

    pub(crate) fn far_reads(&self) -> usize {
        self.far.reads.load(Ordering::Relaxed)
    }

    /// Waits until so many copies have arrived.
    pub(crate) async fn filled(&self, copies: u64) {
        self.until("the copies have arrived", || self.fills(NearFill::Filled) >= copies).await;
    }

    pub(crate) async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let began = std::time::Instant::now();
        while !holds() {
            assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The files of all copies, those on their way in included.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut left = vec![self.near.path().to_owned()];
        while let Some(directory) = left.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let entry = entry.unwrap();
                match entry.file_type().unwrap().is_dir() {
                    true => left.push(entry.path()),
                    false if entry.file_name() == "lock" => {}
                    false => found.push(entry.path()),
                }
            }
        }
        found
    }

    /// What they take on the disk, in bytes.
    pub(crate) fn bytes_on_disk(&self) -> u64 {
        // A file that goes between two looks takes nothing.
        let sizes = self.files().into_iter().filter_map(|path| std::fs::metadata(path).ok());
        sizes.map(|metadata| metadata.len().next_multiple_of(BLOCK_BYTES)).sum()
    }
}

pub(crate) fn names(module: &FakeModule) -> (ModulePath, Version) {
    (ModulePath::parse(module.path()).unwrap(), Version::parse(module.version()).unwrap())
}

pub(crate) fn bytes_of(module: &FakeModule, kind: FileKind) -> Bytes {
    match kind {
        FileKind::Info => module.info().into(),
        FileKind::Mod => module.go_mod_bytes(),
        FileKind::Zip => module.zip(),
    }
}
