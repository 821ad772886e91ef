//! Temporary directories that do not outlive their process by more than one start.
//!
//! `<parent>/<prefix><pid>-XXXX/` belongs to one process, which holds a lock on the file `lock` in it. A
//! process that was killed leaves its directory behind unlocked, and the next one to start with the
//! same parent and prefix removes it.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// Most leftovers of killed processes that one start removes.
const MAX_LEFTOVERS: usize = 1_000;

/// A directory of this process, removed when dropped.
#[derive(Debug)]
pub(crate) struct ProcessDir {
    path: PathBuf,
    _lock: File,
}

impl ProcessDir {
    /// Removes what dead processes left in `parent`, then makes a directory that nobody else can read.
    /// Blocks.
    pub(crate) fn open(parent: &Path, prefix: &str) -> io::Result<Self> {
        fs::create_dir_all(parent)?;
        remove_leftovers(parent, prefix)?;
        // Its name until its lock is held; never touched by another process.
        let new_prefix = format!(".{prefix}new-");
        let made = tempfile::Builder::new()
            .prefix(&new_prefix)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(parent)?;
        let lock = File::create(made.path().join("lock"))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        let unique = made.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let suffix = unique.strip_prefix(&new_prefix).unwrap_or(&unique);
        let path = parent.join(format!("{prefix}{}-{suffix}", std::process::id()));
        fs::rename(made.path(), &path)?;
        // The directory has another name now, under which `ProcessDir` removes it.
        drop(made.keep());
        Ok(Self { path, _lock: lock })
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ProcessDir {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

fn remove_leftovers(parent: &Path, prefix: &str) -> io::Result<()> {
    let entries = fs::read_dir(parent)?.flatten();
    let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    for entry in ours.take(MAX_LEFTOVERS) {
        let Ok(lock) = File::open(entry.path().join("lock")) else { continue };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            remove(&entry.path());
        }
    }
    Ok(())
}

/// Removes a tree, read-only directories included. A failure is logged: nobody can act on it here.
pub(crate) fn remove(path: &Path) {
    let first = fs::remove_dir_all(path);
    let result = match first {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            make_writable(path);
            fs::remove_dir_all(path)
        }
        other => other,
    };
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, path = %path.display(), "cannot remove a temporary directory");
        }
        _ => {}
    }
}

/// Gives the owner every right on each directory of a tree; links are not followed.
fn make_writable(root: &Path) {
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        // What cannot be opened even so is reported by the removal that follows.
        if fs::set_permissions(&directory, Permissions::from_mode(0o700)).is_err() {
            continue;
        }
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        let is_directory = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
        pending.extend(entries.flatten().filter(is_directory).map(|entry| entry.path()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIX: &str = "dipylon-test-";

    fn names(parent: &Path) -> Vec<String> {
        let entries = fs::read_dir(parent).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_directory_goes_with_its_owner_and_stays_while_it_lives() {
        let parent = tempfile::tempdir().unwrap();
        let one = ProcessDir::open(parent.path(), PREFIX).unwrap();
        let two = ProcessDir::open(parent.path(), PREFIX).unwrap();
        assert!(one.path().is_dir() && two.path().is_dir(), "the living are left alone");
        let mode = fs::metadata(one.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        drop((one, two));
        assert_eq!(names(parent.path()), [""; 0]);
    }

    #[test]
    fn what_a_killed_process_left_is_removed_at_the_next_start() {
        let parent = tempfile::tempdir().unwrap();
        let dead = parent.path().join(format!("{PREFIX}1-dead"));
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join("lock"), "").unwrap();
        fs::write(dead.join("spool-1"), "half a zip").unwrap();
        let other = parent.path().join("somebody-elses");
        fs::create_dir(&other).unwrap();
        let _ours = ProcessDir::open(parent.path(), PREFIX).unwrap();
        assert!(!dead.exists() && other.exists());
    }
}
