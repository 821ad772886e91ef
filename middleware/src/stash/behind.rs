//! Zips whose content is checked behind their answers.

use std::sync::Arc;

use dipylon_protocol::path::ModulePath;
use dipylon_protocol::version::Version;
use dipylon_protocol::zip::{ZipCheck, ZipError, ZipSummary};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::aside::aside;
use crate::error::{Error, ErrorKind};
use crate::spool::Spool;

/// Zips that may wait for their check, or be checked, behind their answers. The next is checked before its last bytes
/// are shown, which holds its clients up until the others are done.
pub const CHECKS_BEHIND_MAX: usize = 64;

/// Bytes of a zip that are read at a time.
const READ_BYTES: u64 = 256 * 1024;

/// What is wrong with a zip, or with reading it.
#[derive(Debug)]
pub(super) enum Refusal {
    Zip(ZipError),
    Other(Error),
}

/// The room that there is for checks behind answers. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Behind {
    room: Arc<Semaphore>,
    at_once: Arc<Semaphore>,
}

/// A place for one.
pub(super) struct Room {
    at_once: Arc<Semaphore>,
    _place: OwnedSemaphorePermit,
}

impl Default for Behind {
    fn default() -> Self {
        // Half of the processors: a machine that has much to do with misses still has some for others.
        let at_once = std::thread::available_parallelism().map_or(1, |all| all.get().div_ceil(2));
        let places = |count| Arc::new(Semaphore::new(count));
        Self { room: places(CHECKS_BEHIND_MAX), at_once: places(at_once) }
    }
}

impl Behind {
    /// A place, where there is one.
    pub(super) fn room(&self) -> Option<Room> {
        let place = Arc::clone(&self.room).try_acquire_owned().ok()?;
        Some(Room { at_once: Arc::clone(&self.at_once), _place: place })
    }
}

impl Room {
    /// Checks a spool that is whole.
    pub(super) async fn check(
        self,
        spool: Spool,
        module: &ModulePath,
        version: &Version,
    ) -> Result<ZipSummary, Refusal> {
        let check = ZipCheck::new(module, version);
        let turn = self.at_once.acquire().await;
        let checked = aside(move || whole(&spool, check)).await;
        drop(turn);
        checked.unwrap_or_else(|_| {
            // The panic itself is in the log: the hook of the process writes it.
            let text = "the check of a zip ended without a result";
            Err(Refusal::Other(Error::new(ErrorKind::Internal, text)))
        })
    }
}

/// Checks every byte of a spool; blocking.
pub(super) fn whole(spool: &Spool, mut check: ZipCheck) -> Result<ZipSummary, Refusal> {
    let (mut at, end) = (0, spool.written());
    while at < end {
        let bytes = READ_BYTES.min(end - at);
        let length = usize::try_from(bytes).unwrap_or(usize::MAX);
        check.push(&spool.read_at(at, length).map_err(Refusal::Other)?).map_err(Refusal::Zip)?;
        at += bytes;
    }
    check.finish().map_err(Refusal::Zip)
}
