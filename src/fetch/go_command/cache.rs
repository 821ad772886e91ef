//! What outlives a fetch: clones of repositories, downloaded toolchains, the build cache.
//!
//! `<cache_dir>/slot-N/` belongs to one process, which holds a lock on the file `lock` in it; the
//! next process on the same directory takes the next slot. Within a slot, go's own lock files keep
//! concurrent `go` commands apart, so that a repository is cloned once.
//!
//! # Limits
//! The clones are bounded by a number of bytes. Above it the repositories unused for longest are
//! removed whole when no fetch is running; a quarter above it, new fetches wait until the running ones
//! have ended and the removal is done.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock};
use tokio::sync::{OwnedRwLockReadGuard, RwLock};
use tokio::time::Instant;

use super::workspace;

/// Processes that can share one cache directory.
const MAX_SLOTS: usize = 64;

/// Time between two measurements of the clones.
const MIN_SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// Addresses of repositories whose directory is remembered.
const MAX_REMEMBERED_ADDRESSES: usize = 4_096;

/// Longest note of what a directory holds (`git3:https://…`), in bytes.
const MAX_NOTE_BYTES: u64 = 4_096;

/// Attempts to take go's lock on a damaged repository, and the pause between them.
const EVICT_ATTEMPTS: usize = 20;
const EVICT_PAUSE: Duration = Duration::from_millis(50);

/// Mode of the cache directory: the owner's alone.
const PRIVATE_MODE: u32 = 0o700;

/// The bits of a mode that let others than the owner write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Held while a `go` command runs.
pub(super) type InUse = OwnedRwLockReadGuard<()>;

/// One slot of the cache directory.
#[derive(Debug)]
pub(super) struct Cache {
    root: PathBuf,
    limit_bytes: u64,
    gate: Arc<RwLock<()>>,
    last_sweep: Mutex<Option<Instant>>,
    directories: Mutex<HashMap<String, PathBuf>>,
    _lock: File,
}

impl Cache {
    /// Takes the first free slot of `directory`, which must be ours alone: what another user puts there
    /// would run.
    pub(super) fn open(directory: &Path, limit_bytes: u64) -> io::Result<Self> {
        make_private(directory)?;
        let (root, lock) = take_slot(directory)?;
        let cache = Self {
            root,
            limit_bytes,
            gate: Arc::default(),
            last_sweep: Mutex::default(),
            directories: Mutex::default(),
            _lock: lock,
        };
        // What a crash left half removed.
        workspace::remove(&cache.trash());
        for directory in [cache.clones(), cache.build(), cache.toolchains(), cache.trash()] {
            fs::create_dir_all(directory)?;
        }
        Ok(cache)
    }

    /// The slot: error texts must not show it.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Shared `cache/vcs` of every fetch's module cache.
    pub(super) fn clones(&self) -> PathBuf {
        self.root.join("vcs")
    }

    /// GOCACHE.
    pub(super) fn build(&self) -> PathBuf {
        self.root.join("build")
    }

    /// The module cache that toolchains are downloaded into.
    pub(super) fn toolchains(&self) -> PathBuf {
        self.root.join("toolchain")
    }

    fn trash(&self) -> PathBuf {
        self.root.join("trash")
    }

    /// Enters: nothing is swept until the guard is dropped.
    pub(super) async fn enter(&self) -> InUse {
        self.gate.clone().read_owned().await
    }

    /// Notes that the clone of `address` was used. Blocks.
    pub(super) fn touch(&self, address: &str) {
        let Some(directory) = self.directory_of(address) else { return };
        let touched =
            File::open(note_of(&directory)).and_then(|file| file.set_modified(SystemTime::now()));
        if let Err(error) = touched {
            self.directories.lock().remove(address);
            tracing::debug!(%error, "cannot note the use of a clone");
        }
    }

    /// Finds the directory by go's own notes, whatever rule named it.
    pub(super) fn directory_of(&self, address: &str) -> Option<PathBuf> {
        if let Some(known) = self.directories.lock().get(address) {
            return Some(known.clone());
        }
        let found = clones_in(&self.clones()).into_iter().find(|clone| {
            let note = read_note(&note_of(clone));
            note.split_once(':').is_some_and(|(_, rest)| rest == address)
        })?;
        let mut directories = self.directories.lock();
        if directories.len() >= MAX_REMEMBERED_ADDRESSES {
            directories.clear();
        }
        directories.insert(address.to_owned(), found.clone());
        Some(found)
    }

    /// Removes what is over the limit, unless that was looked at a moment ago.
    pub(super) async fn sweep_if_due(self: Arc<Self>) {
        {
            let mut last = self.last_sweep.lock();
            if last.is_some_and(|at| at.elapsed() < MIN_SWEEP_INTERVAL) {
                return;
            }
            *last = Some(Instant::now());
        }
        self.sweep().await;
    }

    async fn sweep(self: Arc<Self>) {
        let cache = self.clone();
        let Some((total_bytes, clones)) = blocking(move || measure(&cache.clones())).await else {
            return;
        };
        if total_bytes <= self.limit_bytes {
            return;
        }
        let hard_limit = self.limit_bytes.saturating_add(self.limit_bytes / 4);
        let alone = match self.gate.clone().try_write_owned() {
            Ok(alone) => alone,
            Err(_) if total_bytes > hard_limit => self.gate.clone().write_owned().await,
            Err(_) => {
                // Looked at again after the next fetch.
                *self.last_sweep.lock() = None;
                return;
            }
        };
        let mut excess = total_bytes - self.limit_bytes;
        blocking(move || {
            for clone in clones {
                if excess == 0 {
                    break;
                }
                if self.discard(&clone.directory) {
                    excess = excess.saturating_sub(clone.bytes);
                }
            }
            drop(alone);
            self.empty_trash();
        })
        .await;
    }

    /// Removes a clone that git calls damaged, so that the next fetch makes it anew. Only when go's own
    /// lock on it can be had; says whether it is gone.
    pub(super) async fn evict(self: &Arc<Self>, directory: PathBuf) -> bool {
        for _ in 0..EVICT_ATTEMPTS {
            let cache = self.clone();
            let target = directory.clone();
            if blocking(move || cache.discard_locked(&target)).await == Some(true) {
                return true;
            }
            tokio::time::sleep(EVICT_PAUSE).await;
        }
        false
    }

    fn discard_locked(&self, directory: &Path) -> bool {
        let Ok(lock) = File::create(directory.with_extension("lock")) else { return false };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return false;
        }
        let gone = self.discard(directory);
        drop(lock);
        self.empty_trash();
        gone
    }

    /// Moves a clone out of the way in one step, so that a crash never leaves a part of one. Its lock
    /// file stays: another process may have it open.
    fn discard(&self, directory: &Path) -> bool {
        let Some(name) = directory.file_name() else { return false };
        let unique = format!("{}-{}", name.to_string_lossy(), workspace::unique());
        if let Err(error) = fs::rename(directory, self.trash().join(unique)) {
            tracing::warn!(%error, "cannot remove a clone from the cache");
            return false;
        }
        if let Err(error) = fs::remove_file(note_of(directory)) {
            tracing::debug!(%error, "a clone had no note");
        }
        true
    }

    fn empty_trash(&self) {
        for entry in fs::read_dir(self.trash()).into_iter().flatten().flatten() {
            workspace::remove(&entry.path());
        }
    }

    /// Whether a toolchain is there already, or one more may be.
    pub(super) fn has_room_for_toolchain(&self, name: &str, most: usize) -> bool {
        let entries = fs::read_dir(self.toolchains().join("golang.org"));
        let names = entries.into_iter().flatten().flatten().map(|entry| entry.file_name());
        // `toolchain@v0.0.1-go1.27.0.linux-amd64`
        let names: Vec<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
        let marked = format!("-{name}.");
        names.len() < most || names.iter().any(|name| name.contains(&marked))
    }

    /// Removes every toolchain, when no `go` command runs.
    pub(super) async fn clear_toolchains(self: &Arc<Self>) {
        let alone = self.gate.clone().write_owned().await;
        let cache = self.clone();
        blocking(move || {
            let unique = format!("toolchain-{}", workspace::unique());
            if let Err(error) = fs::rename(cache.toolchains(), cache.trash().join(unique)) {
                tracing::warn!(%error, "cannot remove old toolchains");
            }
            if let Err(error) = fs::create_dir_all(cache.toolchains()) {
                tracing::warn!(%error, "cannot make the directory of toolchains");
            }
            drop(alone);
            cache.empty_trash();
        })
        .await;
    }
}

/// Makes a directory that only we can read, or checks that one is ours and only we can write to it.
fn make_private(directory: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(PRIVATE_MODE).create(directory)?;
    let ours = rustix::process::geteuid().as_raw();
    // A link that somebody else made may lead elsewhere tomorrow.
    for metadata in [fs::symlink_metadata(directory)?, fs::metadata(directory)?] {
        let owner = metadata.uid();
        if owner != ours {
            let text = format!(
                "it belongs to user {owner} and this process is user {ours}: set GoCacheDir \
                 (DIPYLON_GO_CACHE_DIR) to a directory of its own"
            );
            return Err(io::Error::other(text));
        }
        let mode = metadata.mode() & 0o777;
        if metadata.is_dir() && mode & WRITABLE_BY_OTHERS != 0 {
            let text = format!(
                "other users can write to it (mode {mode:03o}): chmod it to 700, or set GoCacheDir \
                 (DIPYLON_GO_CACHE_DIR) to a directory of its own"
            );
            return Err(io::Error::other(text));
        }
    }
    Ok(())
}

fn take_slot(directory: &Path) -> io::Result<(PathBuf, File)> {
    for number in 0..MAX_SLOTS {
        let root = directory.join(format!("slot-{number}"));
        fs::create_dir_all(&root)?;
        let lock = File::create(root.join("lock"))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok((root, lock)),
            Err(rustix::io::Errno::WOULDBLOCK) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let text = format!("all {MAX_SLOTS} slots of {} are in use", directory.display());
    Err(io::Error::other(text))
}

/// A clone with what it takes and when it was last used.
struct Measured {
    directory: PathBuf,
    bytes: u64,
    used: SystemTime,
}

/// All clones, unused for longest first, and the sum of their bytes.
fn measure(clones: &Path) -> (u64, Vec<Measured>) {
    let mut found: Vec<Measured> = clones_in(clones)
        .into_iter()
        .map(|directory| {
            let used = fs::metadata(note_of(&directory)).and_then(|data| data.modified());
            let used = used.unwrap_or(SystemTime::UNIX_EPOCH);
            Measured { bytes: bytes_in(&directory), directory, used }
        })
        .collect();
    found.sort_by_key(|clone| clone.used);
    (found.iter().map(|clone| clone.bytes).sum(), found)
}

fn clones_in(clones: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(clones).into_iter().flatten().flatten();
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    directories.map(|entry| entry.path()).collect()
}

fn bytes_in(root: &Path) -> u64 {
    let mut bytes = 0;
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(data) if data.is_dir() => pending.push(entry.path()),
                Ok(data) => bytes += data.len(),
                // Git removed it meanwhile.
                Err(_) => {}
            }
        }
    }
    bytes
}

/// Where go notes what a directory holds.
fn note_of(directory: &Path) -> PathBuf {
    directory.with_extension("info")
}

fn read_note(path: &Path) -> String {
    use std::io::Read as _;
    let mut text = String::new();
    match File::open(path).map(|file| file.take(MAX_NOTE_BYTES).read_to_string(&mut text)) {
        Ok(Ok(_)) => text.trim_end().to_owned(),
        // No note, no match: the clone counts as unused.
        _ => String::new(),
    }
}

/// Runs blocking work; `None` where the runtime is shutting down.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => Some(value),
        Err(error) => {
            tracing::warn!(%error, "a task of the clone cache did not end");
            None
        }
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
