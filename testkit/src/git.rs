//! Local git repositories that the real `go` takes for remote ones, with no network.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// The time of the first commit of every repository: 2024-03-01T12:00:00Z.
const FIRST_COMMIT_UNIX_SECS: u64 = 1_709_294_400;
/// Each further commit is a minute later.
const COMMIT_STEP_SECS: u64 = 60;

/// One commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// All 40 hex digits.
    pub hash: String,
    /// UTC, `yyyymmddhhmmss`: as pseudo-versions have it.
    pub stamp: String,
}

impl Commit {
    /// The pseudo-version of a commit that no tag precedes.
    pub fn pseudo_version(&self) -> String {
        format!("v0.0.0-{}-{}", self.stamp, &self.hash[..12])
    }
}

/// A repository with fixed authors and times: the same commits always have the same hashes.
#[derive(Debug)]
pub struct GitRepo {
    path: PathBuf,
    commits: std::cell::Cell<u64>,
}

impl GitRepo {
    /// Makes an empty repository at `path`, on branch `main`.
    ///
    /// # Panics
    /// As all functions here: when git is missing or refuses.
    pub fn create(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        std::fs::create_dir_all(&path).expect("a folder for the repository");
        let repo = Self { path, commits: std::cell::Cell::new(0) };
        repo.git(&["init", "--quiet", "--initial-branch=main"]);
        repo
    }

    /// The work tree.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes these files and commits everything, a minute after the commit before.
    pub fn commit(&self, files: &[(&str, &str)]) -> Commit {
        for (name, content) in files {
            let path = self.path.join(name);
            let folder = path.parent().expect("a file is in a folder");
            std::fs::create_dir_all(folder).expect("a folder in the work tree");
            std::fs::write(&path, content).expect("a file in the work tree");
        }
        let number = self.commits.get();
        self.commits.set(number + 1);
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", &format!("commit {number}")]);
        let format = "--format=%H %cd";
        let date = "--date=format-local:%Y%m%d%H%M%S";
        let said = self.git(&["log", "-1", format, date]);
        let (hash, stamp) = said.trim().split_once(' ').expect("a hash and a date");
        Commit { hash: hash.to_owned(), stamp: stamp.to_owned() }
    }

    /// Tags the current commit; an existing tag is moved.
    pub fn tag(&self, name: &str) {
        self.git(&["tag", "--force", name]);
    }

    /// Deletes a tag.
    pub fn delete_tag(&self, name: &str) {
        self.git(&["tag", "--delete", name]);
    }

    /// Makes a branch at the current commit and changes to it.
    pub fn branch(&self, name: &str) {
        self.git(&["checkout", "--quiet", "-b", name]);
    }

    /// Changes to a branch or tag.
    pub fn checkout(&self, name: &str) {
        self.git(&["checkout", "--quiet", name]);
    }

    fn git(&self, args: &[&str]) -> String {
        let time = FIRST_COMMIT_UNIX_SECS + self.commits.get().saturating_sub(1) * COMMIT_STEP_SECS;
        let date = format!("@{time} +0000");
        let mut command = Command::new("git");
        command.args(["-c", "commit.gpgSign=false", "-c", "tag.gpgSign=false"]).args(args);
        command.current_dir(&self.path).env_clear();
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command
            .envs([("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_CONFIG_GLOBAL", "/dev/null"), ("TZ", "UTC")])
            .envs([("GIT_AUTHOR_NAME", "A. Gopher"), ("GIT_AUTHOR_EMAIL", "gopher@example.com")])
            .envs([
                ("GIT_COMMITTER_NAME", "A. Gopher"),
                ("GIT_COMMITTER_EMAIL", "gopher@example.com"),
            ])
            .envs([("GIT_AUTHOR_DATE", &date), ("GIT_COMMITTER_DATE", &date)]);
        let output = command.output().unwrap_or_else(|error| panic!("cannot run git: {error}"));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {args:?} in {}: {error}", self.path.display());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// A home folder whose git configuration sends remote addresses to local repositories, and that
/// counts what is fetched from them.
#[derive(Debug)]
pub struct GitHome {
    folder: TempDir,
}

impl Default for GitHome {
    fn default() -> Self {
        Self::new()
    }
}

impl GitHome {
    /// A home without any repository yet.
    ///
    /// # Panics
    /// When the files cannot be written.
    pub fn new() -> Self {
        let folder = TempDir::with_prefix("testkit-home-").expect("a temporary folder");
        let home = Self { folder };
        let log = home.pack_log();
        // Git runs this in place of `pack-objects` whenever it is about to send a pack.
        let hook = format!("#!/bin/sh\npwd >> '{}'\nexec \"$@\"\n", log.display());
        let hook_path = home.path().join("on-pack");
        std::fs::write(&hook_path, hook).expect("the hook");
        make_executable(&hook_path);
        let config = format!(
            "[protocol \"file\"]\n\tallow = always\n[safe]\n\tdirectory = *\n\
             [uploadpack]\n\tpackObjectsHook = {}\n\tallowFilter = true\n\tallowAnySHA1InWant = true\n",
            hook_path.display()
        );
        std::fs::write(home.config(), config).expect("the git configuration");
        home
    }

    /// The folder to be HOME.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Fetches from `url` (`https://github.com/acme/widget`) come from `repo`.
    ///
    /// # Panics
    /// When the configuration cannot be written.
    pub fn map(&self, url: &str, repo: &GitRepo) {
        let mut text = std::fs::read_to_string(self.config()).expect("the git configuration");
        let path = repo.path().display();
        let _ = write!(text, "[url \"file://{path}\"]\n\tinsteadOf = {url}\n");
        std::fs::write(self.config(), text).expect("the git configuration");
    }

    /// Packs sent from `repo` so far: a clone or fetch that brings objects is one, a look at the
    /// refs is none.
    pub fn packs_sent(&self, repo: &GitRepo) -> usize {
        let log = std::fs::read_to_string(self.pack_log()).unwrap_or_default();
        let path = std::fs::canonicalize(repo.path()).expect("the repository is there");
        log.lines().filter(|line| Path::new(line).starts_with(&path)).count()
    }

    fn config(&self) -> PathBuf {
        self.path().join(".gitconfig")
    }

    fn pack_log(&self) -> PathBuf {
        self.path().join("packs.log")
    }
}

fn make_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(path, mode).expect("the hook can be made executable");
}
