//! Temporary trees: one per fetch, removed however the fetch ends.
//!
//! `<parent>/dipylon-go-XXXX/` belongs to one process, which holds a lock on the file `lock` in it;
//! `fetch-N/{mod,path,work,tmp}` in it belongs to one fetch. A process that was killed leaves its
//! directory behind unlocked, and the next one to start removes it.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FlockOperation, flock};
use tokio::runtime::Handle;

/// How the directory of one process begins.
pub(super) const PREFIX: &str = "dipylon-go-";

/// The name it has until its lock is held; never touched by another process.
const NEW_PREFIX: &str = ".dipylon-go-new-";

/// Most leftovers of killed processes that one start removes.
const MAX_LEFTOVERS: usize = 1_000;

/// A main module with no requirements: without it, `go` would take a `go.mod` of some directory
/// above for the main module.
const SCRATCH_GO_MOD: &str = "module scratch.invalid/dipylon\n\ngo 1.16\n";

/// The directory of this process.
#[derive(Debug)]
pub(super) struct Workspaces {
    root: PathBuf,
    next: AtomicU64,
    _lock: File,
}

impl Workspaces {
    /// Removes what dead processes left in `parent`, then makes the directory of this one.
    pub(super) fn open(parent: &Path) -> io::Result<Self> {
        fs::create_dir_all(parent)?;
        remove_leftovers(parent)?;
        let made = tempfile::Builder::new().prefix(NEW_PREFIX).tempdir_in(parent)?;
        let lock = File::create(made.path().join("lock"))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        let unique = made.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let suffix = unique.strip_prefix(NEW_PREFIX).unwrap_or(&unique);
        let root = parent.join(format!("{PREFIX}{suffix}"));
        fs::rename(made.path(), &root)?;
        // The directory has another name now, under which `Workspaces` removes it.
        drop(made.keep());
        Ok(Self { root, next: AtomicU64::new(0), _lock: lock })
    }

    /// The directory: error texts must not show it.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Makes the tree of one fetch; `vcs` is the shared directory of repositories.
    pub(super) fn tree(self: &Arc<Self>, vcs: &Path) -> io::Result<Tree> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let tree = Tree { root: self.root.join(format!("fetch-{number}")), owner: self.clone() };
        for directory in [tree.go_path(), tree.work(), tree.temporary()] {
            fs::create_dir_all(directory)?;
        }
        fs::create_dir_all(tree.module_cache().join("cache"))?;
        std::os::unix::fs::symlink(vcs, tree.module_cache().join("cache/vcs"))?;
        fs::write(tree.work().join("go.mod"), SCRATCH_GO_MOD)?;
        Ok(tree)
    }
}

impl Drop for Workspaces {
    fn drop(&mut self) {
        remove(&self.root);
    }
}

/// The tree of one fetch.
#[derive(Debug)]
pub(super) struct Tree {
    root: PathBuf,
    owner: Arc<Workspaces>,
}

impl Tree {
    /// GOMODCACHE: what is downloaded, and in it the link to the shared repositories.
    pub(super) fn module_cache(&self) -> PathBuf {
        self.root.join("mod")
    }

    /// GOPATH.
    pub(super) fn go_path(&self) -> PathBuf {
        self.root.join("path")
    }

    /// The working directory.
    pub(super) fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    /// TMPDIR.
    pub(super) fn temporary(&self) -> PathBuf {
        self.root.join("tmp")
    }
}

impl Drop for Tree {
    /// A tree may hold thousands of files, so a thread for blocking work removes it where there is one.
    fn drop(&mut self) {
        let doomed = Doomed(std::mem::take(&mut self.root), self.owner.clone());
        if let Ok(runtime) = Handle::try_current() {
            drop(runtime.spawn_blocking(move || drop(doomed)));
        }
    }
}

/// Removes its directory when dropped, so a task that the runtime never ran removes it as well.
struct Doomed(PathBuf, Arc<Workspaces>);

impl Drop for Doomed {
    fn drop(&mut self) {
        debug_assert!(self.0.starts_with(&self.1.root));
        remove(&self.0);
    }
}

fn remove_leftovers(parent: &Path) -> io::Result<()> {
    let ours = |name: &OsStr| name.to_string_lossy().starts_with(PREFIX);
    let entries = fs::read_dir(parent)?.flatten().filter(|entry| ours(&entry.file_name()));
    for entry in entries.take(MAX_LEFTOVERS) {
        let Ok(lock) = File::open(entry.path().join("lock")) else { continue };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            remove(&entry.path());
        }
    }
    Ok(())
}

/// Removes a tree, read-only directories included. A failure is logged: nobody can act on it here.
pub(super) fn remove(path: &Path) {
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

/// A number no other call in this process gets.
pub(super) fn unique() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
