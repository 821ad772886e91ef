//! `StorageType = "disk"`: Athens's layout, with commits that a crash cannot tear.
//!
//! ```text
//! <root>/<module path>/<version>/go.mod
//!                               /source.zip
//!                               /<version>.info
//! <root>/.dipylon/staging/…     spools and versions on their way in
//!                /mend.lock     held while a torn version is mended
//!                /<key>         extras
//! ```
//!
//! A version is staged as a directory and published by one rename, which fails where a version is
//! there already: the first save stays, and a reader sees all of it or nothing. What a crash, or
//! Athens, left half-written reads as absent, and the next save mends it.
//!
//! Every error of the file system but "no such name" is an error naming the path, never a miss; and
//! a miss is believed only while the root itself is still there, so that an unmounted volume does
//! not look like an empty store.
//!
//! Calls run on blocking threads. One whose future is dropped runs to its end, which is as good as
//! not dropped: a save is atomic either way. Reads, writes and walks of the catalogue each have places
//! of their own ([`MAX_READS`], [`MAX_WRITES`], [`MAX_WALKS`]), so that no hit waits for a miss.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use dipylon_middleware::blob::Blob;
use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_middleware::ports::{BoxFuture, CatalogPage, NewVersion, SaveResult, Storage};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use tokio::sync::Semaphore;

#[cfg(target_os = "linux")]
mod cached;
mod catalog;
mod extra;
mod failure;
mod layout;
mod list;
mod names;
mod publish;
mod read;
mod stage;
mod start;
#[cfg(test)]
mod tests;
mod whole;

pub(super) use failure::failed;
use whole::Remembered;

pub use publish::MEND_WAIT_MAX;
pub use start::STAGING_AGE_MAX;

/// Whether a save is on the disk, or only on its way there, when it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Files and directories are synced before a save returns.
    Synced,
    /// Nothing is synced: for a store that does not outlive the process.
    Volatile,
}

/// Whether the root could be written at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    ReadWrite,
    /// A store filled beforehand, for a site without an upstream: reads work, saves fail.
    ReadOnly,
}

/// Reads that run at once, those included that nobody waits for any more; so for all three.
pub const MAX_READS: usize = 256;
/// Saves, and writes of extras, that run at once.
pub const MAX_WRITES: usize = 128;
/// Walks of the catalogue that run at once.
pub const MAX_WALKS: usize = 4;

/// Places for calls, by what they do: a slow write or a long walk takes none from a read.
#[derive(Debug)]
struct Lanes {
    reads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
    walks: Arc<Semaphore>,
}

impl Lanes {
    fn new() -> Self {
        let places = |max| Arc::new(Semaphore::new(max));
        Self { reads: places(MAX_READS), writes: places(MAX_WRITES), walks: places(MAX_WALKS) }
    }
}

/// A store in a directory.
#[derive(Clone, Debug)]
pub struct Disk {
    store: Arc<Store>,
}

/// What the blocking side works with.
#[derive(Debug)]
struct Store {
    root: PathBuf,
    access: Access,
    durability: Durability,
    remembered: Remembered,
    lanes: Lanes,
}

impl Disk {
    /// Opens the store in `root`; blocking. Leftovers of a crash are removed from the staging
    /// directory once they are older than [`STAGING_AGE_MAX`].
    ///
    /// # Errors
    /// `Storage` when `root` does not exist, cannot be read, or does not tell capitals from small
    /// letters. A root that cannot be written opens with a warning, and saves fail.
    pub fn open(root: &Path) -> Result<Self, Error> {
        Self::open_with(root, Durability::Synced)
    }

    /// Whether `root` is a directory that can be read; blocking, and writes nothing.
    ///
    /// # Errors
    /// As [`Disk::open`], of what can be seen without writing.
    pub fn check_root(root: &Path) -> Result<(), Error> {
        start::check_root(root).map(drop)
    }

    /// Opens the store in `root` with the given durability; blocking.
    ///
    /// # Errors
    /// Those of [`Disk::open`].
    pub fn open_with(root: &Path, durability: Durability) -> Result<Self, Error> {
        let (root, access) = start::open(root)?;
        let remembered = Remembered::default();
        let lanes = Lanes::new();
        Ok(Self { store: Arc::new(Store { root, access, durability, remembered, lanes }) })
    }

    fn blocking<T: Send + 'static>(
        &self,
        lane: fn(&Lanes) -> &Arc<Semaphore>,
        work: impl FnOnce(&Store) -> Result<T, Error> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, Error>> {
        let store = Arc::clone(&self.store);
        Box::pin(async move {
            let calls = Arc::clone(lane(&store.lanes));
            // The place goes along to the thread: a call that hangs keeps it, although nobody waits for
            // it any more, so a file system that hangs does not collect threads.
            let Ok(place) = calls.acquire_owned().await else {
                return Err(Error::new(ErrorKind::Internal, "the store on disk is closed"));
            };
            let task = tokio::task::spawn_blocking(move || {
                let _place = place;
                work(&store)
            });
            task.await.unwrap_or_else(|error| {
                let text = format!("a storage call on disk was cut off: {error}");
                Err(Error::new(ErrorKind::Internal, text))
            })
        })
    }
}

impl Storage for Disk {
    fn kind(&self) -> &'static str {
        "disk"
    }

    fn list<'a>(&'a self, module: &'a ModulePath) -> BoxFuture<'a, Result<Vec<Version>, Error>> {
        let module = module.clone();
        self.blocking(|lanes| &lanes.reads, move |store| store.list(&module))
    }

    fn read<'a>(
        &'a self,
        module: &'a ModulePath,
        version: &'a Version,
        kind: FileKind,
    ) -> BoxFuture<'a, Result<Option<Blob>, Error>> {
        #[cfg(target_os = "linux")]
        if let Some(blob) = self.store.read_cached(module, version, kind) {
            return Box::pin(std::future::ready(Ok(Some(blob))));
        }
        let (module, version) = (module.clone(), version.clone());
        self.blocking(|lanes| &lanes.reads, move |store| store.read(&module, &version, kind))
    }

    fn save(&self, version: NewVersion) -> BoxFuture<'_, Result<SaveResult, Error>> {
        Box::pin(async move {
            version.zip.complete().await?;
            self.blocking(|lanes| &lanes.writes, move |store| store.save(&version)).await
        })
    }

    fn catalog<'a>(
        &'a self,
        token: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<CatalogPage, Error>> {
        let token = token.map(str::to_owned);
        self.blocking(|lanes| &lanes.walks, move |store| store.catalog(token.as_deref(), limit))
    }

    fn read_extra<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, Error>> {
        let key = key.to_owned();
        self.blocking(|lanes| &lanes.reads, move |store| store.read_extra(&key))
    }

    fn write_extra<'a>(&'a self, key: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<(), Error>> {
        let key = key.to_owned();
        self.blocking(|lanes| &lanes.writes, move |store| store.write_extra(&key, &bytes))
    }

    fn remove_extra<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        let key = key.to_owned();
        self.blocking(|lanes| &lanes.writes, move |store| store.remove_extra(&key))
    }

    fn check(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.blocking(|lanes| &lanes.reads, Store::check)
    }

    fn staging_directory(&self) -> Option<PathBuf> {
        (self.store.access == Access::ReadWrite).then(|| layout::staging(&self.store.root))
    }
}
