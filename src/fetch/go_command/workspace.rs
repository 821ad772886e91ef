//! Temporary trees: one per fetch, removed however the fetch ends.
//!
//! The directory of the process is a [`ProcessDir`]; `fetch-N/{mod,path,work,tmp}` in it belongs to one
//! fetch.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::process_dir::ProcessDir;
pub(super) use crate::process_dir::remove;

/// How the directory of one process begins.
pub(super) const PREFIX: &str = "dipylon-go-run-";

/// A main module with no requirements: without it, `go` would take a `go.mod` of some directory
/// above for the main module.
const SCRATCH_GO_MOD: &str = "module scratch.invalid/dipylon\n\ngo 1.16\n";

/// The directory of this process.
#[derive(Debug)]
pub(super) struct Workspaces {
    directory: ProcessDir,
    next: AtomicU64,
    trees: TaskTracker,
}

impl Workspaces {
    /// Removes what dead processes left in `parent`, then makes the directory of this one.
    pub(super) fn open(parent: &Path) -> io::Result<Self> {
        let directory = ProcessDir::open(parent, PREFIX)?;
        Ok(Self { directory, next: AtomicU64::new(0), trees: TaskTracker::new() })
    }

    /// Counts the trees that are not removed yet.
    pub(super) fn trees(&self) -> &TaskTracker {
        &self.trees
    }

    /// The directory: error texts must not show it.
    pub(super) fn root(&self) -> &Path {
        self.directory.path()
    }

    /// Makes the tree of one fetch; `vcs` is the shared directory of repositories.
    pub(super) fn tree(self: &Arc<Self>, vcs: &Path) -> io::Result<Tree> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let root = self.root().join(format!("fetch-{number}"));
        let tree = Tree { root, owner: self.clone(), counted: self.trees.token() };
        for directory in [tree.go_path(), tree.work(), tree.temporary()] {
            fs::create_dir_all(directory)?;
        }
        fs::create_dir_all(tree.module_cache().join("cache"))?;
        std::os::unix::fs::symlink(vcs, tree.module_cache().join("cache/vcs"))?;
        fs::write(tree.work().join("go.mod"), SCRATCH_GO_MOD)?;
        Ok(tree)
    }
}

/// The tree of one fetch.
#[derive(Debug)]
pub(super) struct Tree {
    root: PathBuf,
    owner: Arc<Workspaces>,
    counted: TaskTrackerToken,
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
        let doomed =
            Doomed(std::mem::take(&mut self.root), self.owner.clone(), self.counted.clone());
        if let Ok(runtime) = Handle::try_current() {
            drop(runtime.spawn_blocking(move || drop(doomed)));
        }
    }
}

/// Removes its directory when dropped, so a task that the runtime never ran removes it as well.
struct Doomed(
    PathBuf,
    Arc<Workspaces>,
    #[expect(dead_code, reason = "counts until it goes")] TaskTrackerToken,
);

impl Drop for Doomed {
    fn drop(&mut self) {
        debug_assert!(self.0.starts_with(self.1.root()));
        remove(&self.0);
    }
}

/// A number no other call in this process gets.
pub(super) fn unique() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
