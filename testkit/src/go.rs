//! The real `go` command in an environment of its own.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::git::GitHome;
use crate::process::Process;

/// The longest that one run may take unless [`Go::limit`] says otherwise.
const DEFAULT_LIMIT: Duration = Duration::from_secs(120);

/// A `go` with its own home, module cache and build cache, all gone when it is dropped.
///
/// Nothing of the caller's environment is kept but PATH, and the go command's own configuration
/// file is off: what a run sees is what the test has set. [`Go::run`] blocks its thread; the fakes
/// of this crate go on meanwhile.
#[derive(Debug)]
pub struct Go {
    folder: TempDir,
    home: PathBuf,
    environment: BTreeMap<String, String>,
    limit: Duration,
}

/// What a run of `go` said.
#[derive(Clone, Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// Wall seconds.
    pub secs: f64,
}

impl Output {
    /// Standard output of a run that must have succeeded.
    ///
    /// # Panics
    /// When it failed, with what it said.
    pub fn expect_success(&self) -> &str {
        assert!(self.status.success(), "go failed ({}):\n{}", self.status, self.stderr);
        &self.stdout
    }
}

impl Default for Go {
    fn default() -> Self {
        Self::new()
    }
}

impl Go {
    /// GOPROXY and GOSUMDB are `off` until set.
    ///
    /// # Panics
    /// When there is no room for a temporary folder.
    pub fn new() -> Self {
        let folder = TempDir::with_prefix("testkit-go-").expect("a temporary folder");
        let home = folder.path().join("home");
        std::fs::create_dir_all(&home).expect("a home folder");
        let go = Self { folder, home, environment: BTreeMap::new(), limit: DEFAULT_LIMIT };
        go.env("GOENV", "off")
            .env("GOFLAGS", "-modcacherw")
            .env("GOPROXY", "off")
            .env("GOSUMDB", "off")
            .env("GOTOOLCHAIN", "local")
    }

    /// Sets any variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Sets GOPROXY.
    #[must_use]
    pub fn goproxy(self, list: &str) -> Self {
        self.env("GOPROXY", list)
    }

    /// Sets GOSUMDB, e.g. to [`crate::checksum_db::ChecksumDb::verifier_key`].
    #[must_use]
    pub fn gosumdb(self, value: &str) -> Self {
        self.env("GOSUMDB", value)
    }

    /// Sets GONOSUMDB: patterns of modules that the checksum database is not asked about.
    #[must_use]
    pub fn gonosumdb(self, patterns: &str) -> Self {
        self.env("GONOSUMDB", patterns)
    }

    /// Sets GOPRIVATE.
    #[must_use]
    pub fn goprivate(self, patterns: &str) -> Self {
        self.env("GOPRIVATE", patterns)
    }

    /// Fetches with `GOPROXY=direct` come from the local repositories of `home`.
    #[must_use]
    pub fn home(mut self, home: &GitHome) -> Self {
        self.home = home.path().to_owned();
        self
    }

    /// Changes the bound on each run's time.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The module cache (GOMODCACHE).
    pub fn mod_cache(&self) -> PathBuf {
        self.folder.path().join("mod")
    }

    /// Empties the module cache, so that the next run fetches everything again.
    ///
    /// # Panics
    /// When the files cannot be removed.
    pub fn clean_mod_cache(&self) {
        let cache = self.mod_cache();
        if cache.exists() {
            std::fs::remove_dir_all(&cache).expect("a writable module cache can be removed");
        }
    }

    /// Runs `go ARGS` in `dir`, blocking the thread.
    ///
    /// # Panics
    /// When `go` cannot be started, or does not end within the limit (it is killed then).
    pub fn run(&self, dir: &Path, args: &[impl AsRef<OsStr>]) -> Output {
        let out = self.folder.path().join("stdout");
        let err = self.folder.path().join("stderr");
        let mut command = Command::new("go");
        command.args(args).current_dir(dir).stdin(std::process::Stdio::null());
        self.dress(&mut command);
        command.stdout(File::create(&out).expect("a file for standard output"));
        command.stderr(File::create(&err).expect("a file for standard error"));
        let shown: Vec<_> = args.iter().map(AsRef::as_ref).collect();
        let began = Instant::now();
        let mut process =
            Process::spawn(&mut command).unwrap_or_else(|error| panic!("cannot run go: {error}"));
        let ended = process.wait(self.limit);
        let secs = began.elapsed().as_secs_f64();
        let read = |path: &Path| {
            String::from_utf8_lossy(&std::fs::read(path).expect("the output file")).into_owned()
        };
        let (stdout, stderr) = (read(&out), read(&err));
        let status = ended.unwrap_or_else(|| {
            panic!("go {shown:?} did not end within {:?}; it said:\n{stderr}", self.limit)
        });
        Output { status, stdout, stderr, secs }
    }

    /// `go mod download -json MODULE@VERSION…` outside any module: one object each, in the order
    /// printed, with `Error` where one failed.
    ///
    /// # Panics
    /// When the output is not JSON: `go` itself could not run then.
    pub fn mod_download_json(&self, modules: &[&str]) -> Vec<Value> {
        let args: Vec<&str> = ["mod", "download", "-json"].iter().chain(modules).copied().collect();
        let output = self.run(&self.scratch(), &args);
        let objects = serde_json::Deserializer::from_str(&output.stdout).into_iter();
        let objects: Result<Vec<Value>, _> = objects.collect();
        match objects {
            Ok(objects) if !objects.is_empty() => objects,
            _ => {
                panic!("go mod download -json printed no JSON: {}{}", output.stdout, output.stderr)
            }
        }
    }

    /// A folder outside any module; the same one for the life of this `Go`.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn scratch(&self) -> PathBuf {
        let path = self.folder.path().join("scratch");
        std::fs::create_dir_all(&path).expect("a scratch folder");
        path
    }

    fn dress(&self, command: &mut Command) {
        let folder = self.folder.path();
        command.env_clear();
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command
            .env("HOME", &self.home)
            .env("TMPDIR", folder)
            .env("GOPATH", folder.join("path"))
            .env("GOMODCACHE", self.mod_cache())
            .env("GOCACHE", folder.join("build"))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .envs(&self.environment);
    }
}
