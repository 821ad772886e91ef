//! The near tier: finding copies, and taking new ones on the side. None of its troubles is a caller's: what
//! it cannot do, the far store does.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use dipylon_middleware::blob::Blob;
use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_middleware::telemetry::{NearFill, NearRead, Telemetry};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::Standing;
use super::directory::{Directory, refused};
use super::fill::Fill;
use super::shelf::{Copied, Key, Shelf};
use crate::config::TieredKeys;

/// Copies in the near tier, about 80 bytes of memory each.
pub const MAX_NEAR_FILES: usize = 200_000;
/// Looks for copies on the disk at once; beyond it the far store is asked.
pub const MAX_NEAR_READS: usize = 128;
/// Parts of zips that are read from the disk at once; beyond it a reader waits, and goes far in the end.
pub const MAX_NEAR_PARTS: usize = 128;
/// Writes of copies at once.
pub const MAX_NEAR_WRITES: usize = 8;
/// What all copies on their way in hold in memory together.
pub const MAX_FILLING_BYTES: usize = 16 * 1024 * 1024;
/// What a copy counts for at least, so that the smallest have a limit too.
const MIN_FILLING_BYTES: usize = 4096;
/// The longest wait for the disk until the far store is asked instead.
pub const NEAR_PATIENCE: Duration = Duration::from_secs(1);
/// How long a disk that failed is left alone: a full one takes no copies, another is not read either.
pub const NEAR_REST: Duration = Duration::from_secs(15);

/// What a file of a version is found by.
pub(super) fn key(module: &ModulePath, version: &Version, kind: FileKind) -> Key {
    let text = format!("{}\n{module}\n{version}", kind.as_str());
    let hash: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    std::array::from_fn(|at| hash[at])
}

/// A bounded directory of copies.
pub(super) struct Near {
    pub(super) directory: Directory,
    pub(super) shelf: Mutex<Shelf>,
    /// Keys of copies on their way in: a stampede of readers fills once.
    pub(super) filling: Mutex<HashSet<Key>>,
    pub(super) held: Arc<Semaphore>,
    pub(super) writes: Arc<Semaphore>,
    pub(super) parts: Arc<Semaphore>,
    reads: Arc<Semaphore>,
    no_fills: Rest,
    no_reads: Rest,
    pub(super) telemetry: Telemetry,
}

/// A time for which something is left alone.
#[derive(Default)]
struct Rest(Mutex<Option<Instant>>);

impl Rest {
    fn is_on(&self) -> bool {
        let mut until = self.0.lock();
        if until.is_some_and(|until| until <= Instant::now()) {
            *until = None;
        }
        until.is_some()
    }

    /// `true` where it was not on before.
    fn begin(&self) -> bool {
        self.0.lock().replace(Instant::now() + NEAR_REST).is_none()
    }
}

impl Near {
    /// Opens the directory and takes up what is in it of the store that `whose` names; blocks.
    ///
    /// # Errors
    /// `Storage` when the directory cannot be used.
    pub(super) fn open(
        keys: &TieredKeys,
        whose: &str,
        telemetry: &Telemetry,
    ) -> Result<Self, Error> {
        let Some(path) = &keys.directory else {
            return Err(Error::new(ErrorKind::Internal, "a near tier without a directory"));
        };
        let directory = Directory::open(path, whose)?;
        let mut shelf = Shelf::new(keys.max_bytes, MAX_NEAR_FILES);
        let failed = |error: io::Error| refused(path, &error.to_string());
        directory.adopt(&mut shelf, MAX_NEAR_FILES).map_err(failed)?;
        let free = directory.free_bytes().map_err(failed)?;
        let (bytes, files) = (shelf.bytes(), shelf.files());
        if free.saturating_add(bytes) < keys.max_bytes {
            tracing::warn!(
                directory = %path.display(), free_bytes = free, max_bytes = keys.max_bytes,
                "the near tier may grow beyond what its disk has: once that is full, nothing new is kept"
            );
        }
        tracing::info!(directory = %path.display(), files, bytes, "the near tier is open");
        let near = Self {
            directory,
            shelf: Mutex::new(shelf),
            filling: Mutex::default(),
            held: Arc::new(Semaphore::new(MAX_FILLING_BYTES)),
            writes: Arc::new(Semaphore::new(MAX_NEAR_WRITES)),
            parts: Arc::new(Semaphore::new(MAX_NEAR_PARTS)),
            reads: Arc::new(Semaphore::new(MAX_NEAR_READS)),
            no_fills: Rest::default(),
            no_reads: Rest::default(),
            telemetry: telemetry.clone(),
        };
        near.tell_size();
        near.telemetry.metrics.tier_paused.get(()).set(0);
        Ok(near)
    }

    /// A copy, if there is one and the disk gives it in time.
    pub(super) async fn find(self: &Arc<Self>, key: Key, kind: FileKind) -> Option<Blob> {
        let (result, blob) = self.look(key, kind).await;
        let metrics = &self.telemetry.metrics;
        metrics.tier_reads.get((result,)).inc();
        if let Some(blob) = &blob {
            metrics.tier_found_bytes.get(()).inc_by(blob.length());
        }
        blob
    }

    async fn look(self: &Arc<Self>, key: Key, kind: FileKind) -> (NearRead, Option<Blob>) {
        let Some(length) = self.shelf.lock().touch(&key) else { return (NearRead::Miss, None) };
        if self.no_reads.is_on() {
            return (NearRead::Failed, None);
        }
        let Ok(place) = Arc::clone(&self.reads).try_acquire_owned() else {
            return (NearRead::Failed, None);
        };
        let (near, copy) = (Arc::clone(self), Copied { key, length });
        let task = tokio::task::spawn_blocking(move || {
            // A look that hangs keeps its place, although nobody waits for it any more.
            let _place = place;
            let found = near.directory.read(&copy, kind);
            if matches!(found, Ok(None)) {
                tracing::warn!(length, "a near copy is gone or torn: the far store is asked");
            }
            // What cannot be read now is not asked for again and again.
            let is_useless = found.as_ref().map_or_else(is_of_the_file, Option::is_none);
            if is_useless {
                near.forget(&copy);
            }
            found
        });
        match timeout(NEAR_PATIENCE, task).await {
            Ok(Ok(Ok(Some(blob)))) => (NearRead::Hit, Some(blob)),
            Ok(Ok(Ok(None))) => (NearRead::Miss, None),
            Ok(Ok(Err(error))) => {
                self.trouble("read", &error);
                (NearRead::Failed, None)
            }
            Ok(Err(error)) => {
                self.trouble("read", &io::Error::other(error));
                (NearRead::Failed, None)
            }
            Err(_) => {
                let text = format!("no answer within {NEAR_PATIENCE:?}");
                self.trouble("read", &io::Error::new(io::ErrorKind::TimedOut, text));
                (NearRead::Failed, None)
            }
        }
    }

    /// Room for a copy of a file, unless there is one, or no room now. `held` is what the copy holds in
    /// memory while it is on its way.
    pub(super) fn begin(self: &Arc<Self>, key: Key, length: u64, held: usize) -> Option<Fill> {
        let refuse = |why: NearFill| {
            self.telemetry.metrics.tier_fills.get((why,)).inc();
            None
        };
        if self.shelf.lock().has(&key) || self.filling.lock().contains(&key) {
            return None;
        }
        if self.no_fills.is_on() {
            return refuse(NearFill::Paused);
        }
        let paused = self.telemetry.metrics.tier_paused.get(());
        paused.set(i64::from(self.no_reads.is_on()));
        if !self.shelf.lock().takes(length) {
            return refuse(NearFill::Large);
        }
        let held = held.clamp(MIN_FILLING_BYTES, MAX_FILLING_BYTES);
        let held = u32::try_from(held).unwrap_or(u32::MAX);
        let Ok(held) = Arc::clone(&self.held).try_acquire_many_owned(held) else {
            return refuse(NearFill::Busy);
        };
        if !self.filling.lock().insert(key) {
            return None;
        }
        let room = self.shelf.lock().reserve(length);
        self.telemetry.metrics.tier_evictions.get(()).inc_by(room.victims.len() as u64);
        self.tell_size();
        let fill = Fill::new(Arc::clone(self), Copied { key, length }, room, held);
        Some(fill)
    }

    /// A copy broke off while it was read: it goes, on the side. The disk is left alone for a while, unless
    /// the copy itself was torn.
    pub(super) fn broke_off(self: &Arc<Self>, copy: Copied, error: &io::Error) {
        self.telemetry.metrics.tier_reads.get((NearRead::Failed,)).inc();
        match error.kind() {
            io::ErrorKind::WouldBlock => return,
            io::ErrorKind::UnexpectedEof => {
                let length = copy.length;
                tracing::warn!(
                    length,
                    "a near copy was torn while it was read: the rest comes from far"
                );
            }
            _ => self.trouble("read", error),
        }
        let near = Arc::clone(self);
        tokio::spawn(async move {
            let Ok(place) = Arc::clone(&near.writes).acquire_owned().await else { return };
            let task = tokio::task::spawn_blocking(move || {
                let _place = place;
                near.forget(&copy);
            });
            if let Err(error) = task.await {
                tracing::error!(%error, "forgetting a near copy was cut off");
            }
        });
    }

    /// Removes a copy and its file; blocks.
    pub(super) fn forget(&self, copy: &Copied) {
        self.shelf.lock().remove(&copy.key);
        self.unlink(copy);
        self.tell_size();
    }

    /// Removes the file of a copy that is no longer on the shelf; blocks.
    pub(super) fn unlink(&self, copy: &Copied) {
        if let Err(error) = self.directory.remove(copy) {
            self.shelf.lock().stuck(copy.length);
            self.trouble("remove a copy from", &error);
        }
    }

    /// Leaves the disk alone for a while, and says why once.
    pub(super) fn trouble(&self, what: &str, error: &io::Error) {
        let is_full = is_full(error);
        let is_new = self.no_fills.begin();
        if !is_full {
            self.no_reads.begin();
        }
        self.telemetry.metrics.tier_paused.get(()).set(1);
        if is_new {
            tracing::warn!(
                %error, rest_s = NEAR_REST.as_secs(), is_full,
                "the near tier cannot {what} its disk: the far store serves alone for a while"
            );
        }
    }

    /// How it stands; of the far store it knows nothing.
    pub(super) fn standing(&self) -> Standing {
        let shelf = self.shelf.lock();
        let (files, bytes, bytes_max) = (shelf.files(), shelf.bytes(), shelf.bytes_max());
        drop(shelf);
        Standing {
            files,
            bytes,
            bytes_max,
            is_not_filled: self.no_fills.is_on(),
            is_not_read: self.no_reads.is_on(),
            is_far_failing: false,
        }
    }

    pub(super) fn tell_size(&self) {
        // Told under the lock: the last to tell has the last word.
        let shelf = self.shelf.lock();
        let metrics = &self.telemetry.metrics;
        metrics.tier_bytes.get(()).set(i64::try_from(shelf.bytes()).unwrap_or(i64::MAX));
        metrics.tier_files.get(()).set(i64::try_from(shelf.files()).unwrap_or(i64::MAX));
    }
}

/// Whether an error is about a file, and not about what this process may open.
fn is_of_the_file(error: &io::Error) -> bool {
    let of_the_process =
        [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE, rustix::io::Errno::NOMEM];
    let number = error.raw_os_error();
    !of_the_process.iter().any(|errno| number == Some(errno.raw_os_error()))
}

/// Whether the disk has no room: copies that are there can be read all the same.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
