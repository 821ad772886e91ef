//! Fetching from the repository itself: the `go` command as an upstream (`direct`).
//!
//! `go mod download -json -- MODULE@VERSION` for info, mod and zip, which come together; `go list -m
//! -versions -json -- MODULE@latest` for list and latest. Each run has a temporary tree of its own
//! (`workspace`) and shares clones and toolchains with the others (`cache`). The bytes are not
//! verified here: the gateway's own verifier compares them with the checksum database.
//!
//! A list names retracted versions as well, as the module mirror does: a client finds a retraction by
//! reading the newest version, which may have retracted itself.
//!
//! # Failure modes
//! `errors` decides what is "not found"; everything unknown is a failure. A run that is cut short,
//! or whose future is dropped, ends with its whole process group (`command`), and its tree goes.
//! A clone that a killed git left damaged is thrown away and the run repeated once.
//!
//! # Limits
//! Time: the request's deadline, `fetch_timeout`, `list_timeout`. Output: 32 MiB and 64 KiB. Clones:
//! `clone_cache_limit_bytes`. Toolchains: four. How many run at once is the fetch pool's business.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_middleware::ports::{BoxFuture, Fetched, Fetcher, Payload};
use dipylon_middleware::request::{FetchAsk, FetchRequest};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::query::VersionQuery;
use tokio::time::Instant;

mod answer;
mod cache;
mod command;
mod download;
mod environment;
mod errors;
mod runner;
mod toolchain;
mod workspace;

use answer::{Download, Listing};
use cache::Cache;
use download::Opened;
use environment::Environment;
use runner::{Runner, Task};
use workspace::Workspaces;

pub use runner::{MAX_END_WAIT, Runs, probe};

/// What clones may take on disk unless the settings say otherwise, in bytes.
pub const DEFAULT_CLONE_CACHE_LIMIT_BYTES: u64 = 20 << 30;

/// How the `go` command is run.
#[derive(Clone, Debug)]
pub struct GoCommandConfig {
    /// `GoBinary`: a name to be found along the child's PATH, or a path.
    pub binary: PathBuf,
    /// Resolved settings: `GOPRIVATE`, `GOINSECURE`, `GOVCS`, `GOTOOLCHAIN` …, and whatever else
    /// `GoBinaryEnvVars` holds. Fetches always run with `GOPROXY=direct` and `GOSUMDB=off`; what is
    /// given here for these two serves the download of toolchains.
    pub child_env: Vec<(String, String)>,
    /// What of the gateway's own environment the child sees: Athens's closed list.
    pub inherited: Vec<(String, String)>,
    /// Where temporary trees go: `GoGetDir`, or the system's directory. Lists use it too.
    pub temp_parent: PathBuf,
    /// Where clones and toolchains are kept; may be shared with other processes, which never share
    /// a clone.
    pub cache_dir: PathBuf,
    /// `StashTimeout`.
    pub fetch_timeout: Duration,
    /// `Timeout`.
    pub list_timeout: Duration,
    /// What clones may take on disk, in bytes: [`DEFAULT_CLONE_CACHE_LIMIT_BYTES`].
    pub clone_cache_limit_bytes: u64,
}

/// The `go` command as an upstream.
#[derive(Debug)]
pub struct GoCommand {
    runner: Runner,
    fetch_timeout: Duration,
    list_timeout: Duration,
}

impl GoCommand {
    /// Makes the directories, takes a slot of the cache and removes what dead processes left. Blocks.
    ///
    /// # Errors
    /// `Internal`, naming the directory that cannot be used. A missing `go` is none: see [`probe`].
    pub fn new(config: GoCommandConfig) -> Result<Self, Error> {
        let unusable = |path: &Path, error: std::io::Error| {
            let text = format!("go command: cannot use the directory {}: {error}", path.display());
            Error::new(ErrorKind::Internal, text)
        };
        let absolute =
            |path: &Path| std::path::absolute(path).map_err(|error| unusable(path, error));
        let temp_parent = absolute(&config.temp_parent)?;
        let cache_dir = absolute(&config.cache_dir)?;
        let workspaces =
            Workspaces::open(&temp_parent).map_err(|error| unusable(&temp_parent, error))?;
        let cache = Cache::open(&cache_dir, config.clone_cache_limit_bytes)
            .map_err(|error| unusable(&cache_dir, error))?;
        let environment = Environment::new(&config.inherited, &config.child_env);
        let binary = absolute_unless_a_name(config.binary)
            .map_err(|error| Error::new(ErrorKind::Internal, format!("GoBinary: {error}")))?;
        Ok(Self {
            runner: Runner::new(binary, environment, Arc::new(workspaces), Arc::new(cache)),
            fetch_timeout: config.fetch_timeout,
            list_timeout: config.list_timeout,
        })
    }

    /// What ends all runs.
    pub fn runs(&self) -> Runs {
        self.runner.runs()
    }

    /// Finds out whether the program can be run at all; see [`probe`].
    ///
    /// # Errors
    /// As [`probe`].
    pub async fn probe(binary: &Path, inherited: &[(String, String)]) -> Result<String, Error> {
        probe(binary, inherited).await
    }

    async fn download(
        &self,
        module: &ModulePath,
        version: &VersionQuery,
        deadline: Instant,
    ) -> Result<Payload, Error> {
        let subject = format!("{module}@{version}");
        let arguments = ["mod", "download", "-json", "--", &subject];
        let task = Task { subject: &subject, arguments: &arguments, deadline };
        let (tree, output) = self.runner.run(&task).await?;
        let answer: Download = self.runner.parse(&task, &output)?;
        if !answer.error.is_empty() || !output.status.success() {
            let text = if answer.error.is_empty() { &output.stderr } else { &answer.error };
            return Err(self.runner.refusal(&task, text, output.status));
        }
        self.runner.used(answer.origin.as_ref());
        let opened = Opened::open(&subject, &answer, version).await?;
        // The zip is open: it stays readable to the last byte although its name goes now.
        drop(tree);
        Ok(opened.into_payload())
    }

    async fn listing(
        &self,
        module: &ModulePath,
        all: bool,
        deadline: Instant,
    ) -> Result<Listing, Error> {
        let subject = format!("{module}@latest");
        let mut arguments = vec!["list", "-m", "-json"];
        if all {
            arguments.extend(["-versions", "-retracted"]);
        }
        arguments.extend(["--", &subject]);
        let task = Task { subject: &subject, arguments: &arguments, deadline };
        let (_tree, output) = self.runner.run(&task).await?;
        if !output.status.success() {
            return Err(self.runner.refusal(&task, &output.stderr, output.status));
        }
        let listing: Listing = self.runner.parse(&task, &output)?;
        self.runner.used(listing.origin.as_ref());
        Ok(listing)
    }

    async fn answer(&self, request: FetchRequest) -> Result<Fetched, Error> {
        let module = &request.module;
        let until = |limit| request.context.deadline.min(Instant::now() + limit);
        let payload = match &request.ask {
            FetchAsk::List => {
                let listing = self.listing(module, true, until(self.list_timeout)).await?;
                Payload::Bytes(listing.list().into())
            }
            FetchAsk::Latest => {
                let listing = self.listing(module, false, until(self.list_timeout)).await?;
                let latest = listing.latest().map_err(|error| {
                    Error::new(ErrorKind::Internal, format!("{module}@latest: {error}"))
                })?;
                Payload::Bytes(latest.into())
            }
            FetchAsk::Info(version) => {
                self.download(module, version, until(self.fetch_timeout)).await?
            }
            FetchAsk::Mod(version) | FetchAsk::Zip(version) => {
                let version = VersionQuery::Version(version.clone());
                self.download(module, &version, until(self.fetch_timeout)).await?
            }
        };
        Ok(Fetched { payload, upstream: self.name(), cache_status: None })
    }
}

impl Fetcher for GoCommand {
    fn name(&self) -> Arc<str> {
        "direct".into()
    }

    fn fetches_whole_versions(&self, _: &ModulePath) -> bool {
        true
    }

    fn fetch(&self, request: FetchRequest) -> BoxFuture<'_, Result<Fetched, Error>> {
        Box::pin(self.answer(request))
    }
}

/// The child starts in another directory, from which `./go` would be something else. A bare name is
/// left to PATH.
fn absolute_unless_a_name(binary: PathBuf) -> std::io::Result<OsString> {
    let is_name = binary.components().count() == 1 && !binary.is_absolute();
    if is_name { Ok(binary.into()) } else { std::path::absolute(binary).map(Into::into) }
}

#[cfg(test)]
mod tests;
