//! Saving: one rename publishes a version, and a torn one is mended file by file.
//!
//! The rename of a directory onto a directory with something in it fails on every file system, and
//! onto an empty one it replaces it: create-if-absent without flags that network file systems lack.
//!
//! A torn version is mended inside its directory, because nested modules may live there and because
//! an exchange of directories is not to be had everywhere either. The `.info` goes first and comes
//! last, so the version is absent until it is whole. Menders of all processes take turns by a lock
//! on one file; the first mends, the next finds a whole version.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use dipylon_middleware::error::Error;
use dipylon_middleware::ports::{NewVersion, SaveResult};
use dipylon_protocol::route::FileKind;

use super::Store;
use super::failure::{failed, wrong};
use super::layout::{MEND_LOCK, module_directory, ours};
use super::whole::VersionDirectory;

/// Longest wait for another mender, who needs a few syncs.
pub const MEND_WAIT_MAX: Duration = Duration::from_secs(30);
/// Pause between two looks at the lock.
const MEND_POLL: Duration = Duration::from_millis(5);

impl Store {
    /// Saves a version whose zip is complete, unless it is there.
    pub(super) fn save(&self, new: &NewVersion) -> Result<SaveResult, Error> {
        self.may_write()?;
        let target = self.version_directory(&new.module, &new.version)?;
        // The end of many a race between replicas: nothing is staged for what is there.
        if let Some(existed) = self.existing(new, &target)? {
            return Ok(existed);
        }
        let stage = self.stage(new)?;
        let parent = module_directory(&self.root, &new.module)?;
        self.make_directories(&parent)?;
        match fs::rename(stage.path(), target.path()) {
            Ok(()) => {
                // The name in staging is gone: there is nothing left to remove.
                let _published = stage.keep();
                self.sync_directory(&parent)?;
                Ok(SaveResult::Created)
            }
            Err(error) if is_taken(&error) => self.mend(new, stage.path(), &target),
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                let what = "is on another file system than the storage root; keep the store on one";
                Err(wrong(&parent, what))
            }
            Err(error) => Err(failed("publish", target.path(), &error)),
        }
    }

    /// `Existed` where the version is there and whole.
    fn existing(
        &self,
        new: &NewVersion,
        target: &VersionDirectory<'_>,
    ) -> Result<Option<SaveResult>, Error> {
        let Some(stamps) = self.remembered.whole(&new.module, target)? else { return Ok(None) };
        let go_mod = target.small(FileKind::Mod)?;
        let same = go_mod.is_some_and(|stored| stored == new.go_mod)
            && stamps.zip_bytes() == new.zip.written();
        Ok(Some(SaveResult::Existed { same }))
    }

    /// Makes a torn version whole from the staged files, unless somebody else just did.
    fn mend(
        &self,
        new: &NewVersion,
        stage: &Path,
        target: &VersionDirectory<'_>,
    ) -> Result<SaveResult, Error> {
        let _turn = lock(&ours(&self.root).join(MEND_LOCK))?;
        if let Some(existed) = self.existing(new, target)? {
            return Ok(existed);
        }
        let info = target.file(FileKind::Info);
        match fs::remove_file(&info) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("mend", &info, &error));
            }
            _ => {}
        }
        let staged = VersionDirectory::new(stage.to_owned(), &new.version);
        for kind in [FileKind::Mod, FileKind::Zip, FileKind::Info] {
            // The other two must be on the disk before the one that makes the version whole.
            if kind == FileKind::Info {
                self.sync_directory(target.path())?;
            }
            let path = target.file(kind);
            fs::rename(staged.file(kind), &path).map_err(|error| failed("mend", &path, &error))?;
        }
        self.sync_directory(target.path())?;
        Ok(SaveResult::Created)
    }
}

/// Whether a rename failed because its target is a directory with something in it.
fn is_taken(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, DirectoryNotEmpty};
    matches!(error.kind(), AlreadyExists | DirectoryNotEmpty)
}

/// Takes the lock on the file at `path`; it is released when the file is closed, at the latest when
/// the process ends.
pub(super) fn lock(path: &Path) -> Result<File, Error> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(|error| failed("open", path, &error))?;
    let begin = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if begin.elapsed() < MEND_WAIT_MAX => {
                thread::sleep(MEND_POLL);
            }
            Err(TryLockError::WouldBlock) => {
                let text = format!("has been locked by another process for {MEND_WAIT_MAX:?}");
                return Err(wrong(path, &text));
            }
            Err(TryLockError::Error(error)) => return Err(failed("lock", path, &error)),
        }
    }
}
