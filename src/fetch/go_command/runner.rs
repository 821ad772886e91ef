//! Runs `go` for one question: with a tree, the shared cache, the right toolchain, and once more
//! where that helps.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use dipylon_middleware::error::{Error, ErrorKind};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::answer::{Download, Origin};
use super::cache::Cache;
use super::command::{self, Output, Run, RunError};
use super::environment::{Environment, Variables};
use super::errors;
use super::toolchain::{self, GoVersion, MAX_TOOLCHAINS, Policy, Toolchain};
use super::workspace::{Tree, Workspaces};

/// How long `go version` may take at start-up.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an end that will not wait for the runs waits for their process groups to go: they have two
/// seconds to end by themselves, then they are killed.
pub const MAX_END_WAIT: Duration = Duration::from_secs(3);

/// Runs for one question: the first, one with a newer toolchain, one after a damaged clone was removed.
const MAX_RUNS: usize = 3;

/// A question to `go`.
pub(super) struct Task<'a> {
    /// `MODULE@VERSION`, for messages.
    pub(super) subject: &'a str,
    /// Arguments after the program.
    pub(super) arguments: &'a [&'a str],
    /// When the caller stops waiting.
    pub(super) deadline: Instant,
}

/// Ends the `go` commands of a program that will not wait for them any longer.
#[derive(Clone, Debug)]
pub struct Runs {
    stop: CancellationToken,
    trees: TaskTracker,
}

impl Runs {
    /// Lets no new run begin, ends the process group of each, and waits for at most
    /// [`MAX_END_WAIT`] until they are gone and their temporary trees removed. Says whether they are.
    pub async fn end(&self) -> bool {
        self.stop.cancel();
        self.trees.close();
        tokio::time::timeout(MAX_END_WAIT, self.trees.wait()).await.is_ok()
    }
}

/// What all runs share.
#[derive(Debug)]
pub(super) struct Runner {
    binary: OsString,
    environment: Environment,
    policy: Policy,
    workspaces: Arc<Workspaces>,
    cache: Arc<Cache>,
    toolchains: Mutex<Vec<Toolchain>>,
    stop: CancellationToken,
}

impl Runner {
    pub(super) fn new(
        binary: OsString,
        environment: Environment,
        workspaces: Arc<Workspaces>,
        cache: Arc<Cache>,
    ) -> Self {
        let policy = Policy::parse(environment.get("GOTOOLCHAIN").unwrap_or_default());
        Self {
            binary,
            environment,
            policy,
            workspaces,
            cache,
            toolchains: Mutex::default(),
            stop: CancellationToken::new(),
        }
    }

    /// What ends all runs.
    pub(super) fn runs(&self) -> Runs {
        Runs { stop: self.stop.clone(), trees: self.workspaces.trees().clone() }
    }

    /// Runs to an answer, which may be a refusal. The tree holds the files that the answer names.
    pub(super) async fn run(&self, task: &Task<'_>) -> Result<(Arc<Tree>, Output), Error> {
        let tree = Arc::new(self.tree().await?);
        let mut newer = match &self.policy.first {
            Some(first) => Some(self.toolchain(task, &tree, first).await?),
            None => None,
        };
        let mut healed = false;
        for _ in 1..MAX_RUNS {
            let output = self.run_once(task, &tree, newer.as_ref()).await?;
            if output.status.success() {
                return Ok((tree, output));
            }
            let refusal = Refusal::of(&output);
            let needed = toolchain::required_by(&refusal.text).filter(|_| self.policy.upgrades);
            match needed {
                Some(needed) if newer.as_ref().is_none_or(|had| had.version < needed) => {
                    newer = Some(self.toolchain(task, &tree, &needed).await?);
                }
                _ if !healed && self.heal(&refusal).await => healed = true,
                _ => return Ok((tree, output)),
            }
        }
        let output = self.run_once(task, &tree, newer.as_ref()).await?;
        Ok((tree, output))
    }

    /// Reads the object that `go` printed.
    pub(super) fn parse<T: DeserializeOwned>(
        &self,
        task: &Task<'_>,
        output: &Output,
    ) -> Result<T, Error> {
        serde_json::from_slice(&output.stdout).map_err(|error| {
            if output.status.success() {
                let text = format!(
                    "{}: the go command printed something else than JSON: {error}",
                    task.subject
                );
                return Error::new(ErrorKind::BadContent, text);
            }
            self.refusal(task, &output.stderr, output.status)
        })
    }

    /// The error that go's own text stands for.
    pub(super) fn refusal(&self, task: &Task<'_>, text: &str, status: ExitStatus) -> Error {
        let kind = errors::classify(text);
        let hidden = [self.workspaces.root(), self.cache.root()];
        let cleaned = errors::clean(text, &hidden);
        let about = cleaned.strip_prefix(task.subject).unwrap_or(&cleaned);
        let reason = match about.trim_start_matches([':', ' ']) {
            "" => format!("the go command ended with {status} and said nothing"),
            reason => reason.to_owned(),
        };
        let advice = errors::advice(kind, text);
        Error::new(kind, format!("{}: {reason}{advice}", task.subject))
    }

    /// Notes the use of a clone and looks after the cache's size, in the background.
    pub(super) fn used(&self, origin: Option<&Origin>) {
        let address = origin.map(|origin| origin.url.clone());
        let cache = self.cache.clone();
        drop(tokio::spawn(async move {
            if let Some(address) = address {
                let touching = cache.clone();
                let touched = tokio::task::spawn_blocking(move || touching.touch(&address)).await;
                if let Err(error) = touched {
                    tracing::debug!(%error, "the use of a clone was not noted");
                }
            }
            cache.sweep_if_due().await;
        }));
    }

    async fn tree(&self) -> Result<Tree, Error> {
        let workspaces = self.workspaces.clone();
        let clones = self.cache.clones();
        let made = tokio::task::spawn_blocking(move || workspaces.tree(&clones)).await;
        made.map_err(std::io::Error::other).flatten().map_err(|error| {
            let text = format!("go command: cannot make a temporary tree (GoGetDir): {error}");
            Error::new(ErrorKind::Internal, text)
        })
    }

    async fn run_once(
        &self,
        task: &Task<'_>,
        tree: &Arc<Tree>,
        newer: Option<&Toolchain>,
    ) -> Result<Output, Error> {
        let mut variables = self.environment.fetch(tree, &self.cache.build(), &self.policy.child);
        let mut program = self.binary.clone();
        if let Some(toolchain) = newer {
            program = toolchain.root.join("bin/go").into();
            variables.insert("GOROOT".into(), toolchain.root.clone().into());
        }
        self.execute(task, &program, task.arguments, &variables, tree).await
    }

    async fn execute(
        &self,
        task: &Task<'_>,
        program: &OsStr,
        arguments: &[&str],
        variables: &Variables,
        tree: &Arc<Tree>,
    ) -> Result<Output, Error> {
        let late = || late(task.subject);
        let in_use = timeout_at(task.deadline, self.cache.enter()).await.map_err(|_| late())?;
        let directory = tree.work();
        let keep = Arc::new((tree.clone(), in_use));
        let run = Run {
            program,
            arguments,
            variables,
            directory: &directory,
            deadline: task.deadline,
            stop: &self.stop,
            keep,
        };
        command::run(run).await.map_err(|error| run_error(task.subject, program, error))
    }

    /// Removes a damaged clone; says whether there is a reason to try again.
    async fn heal(&self, refusal: &Refusal) -> bool {
        let text = &refusal.text;
        let directory = match errors::damaged_clone(text) {
            Some(hash) => self.cache.clones().join(hash),
            None if errors::has_lost_a_ref(text) => {
                let Some(address) = refusal.address.clone() else { return false };
                let cache = self.cache.clone();
                let found = tokio::task::spawn_blocking(move || cache.directory_of(&address)).await;
                let Ok(Some(directory)) = found else { return false };
                directory
            }
            None => return false,
        };
        let evicted = self.cache.evict(directory).await;
        tracing::warn!(
            evicted,
            text = errors::clean(text, &[self.workspaces.root()]),
            "a clone is damaged"
        );
        evicted
    }

    /// A toolchain of at least `needed`, downloaded where there is none yet.
    async fn toolchain(
        &self,
        task: &Task<'_>,
        tree: &Arc<Tree>,
        needed: &GoVersion,
    ) -> Result<Toolchain, Error> {
        let known = self.toolchains.lock().clone();
        if let Some(found) = toolchain::fitting(&known, needed) {
            return Ok(found);
        }
        let name = needed.name();
        if !self.cache.has_room_for_toolchain(&name, MAX_TOOLCHAINS) {
            self.toolchains.lock().clear();
            let clearing = timeout_at(task.deadline, self.cache.clear_toolchains()).await;
            clearing.map_err(|_| late(task.subject))?;
        }
        let modules = self.cache.toolchains();
        let variables = self.environment.toolchain(tree, &self.cache.build(), &modules, &name);
        let output = self.execute(task, &self.binary, &["env", "GOROOT"], &variables, tree).await?;
        let root = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if !output.status.success() || root.is_empty() {
            let hidden = [self.workspaces.root(), self.cache.root()];
            let said = errors::clean(&output.stderr, &hidden);
            let text = format!(
                "{}: it requires {name} or newer, which cannot be downloaded: {said}; install a newer Go, \
                 or check GOPROXY and GOSUMDB",
                task.subject
            );
            return Err(Error::new(ErrorKind::UpstreamFailed, text));
        }
        tracing::info!(toolchain = name, "a Go toolchain was downloaded");
        let found = Toolchain { version: needed.clone(), root: root.into() };
        let mut toolchains = self.toolchains.lock();
        if !toolchains.iter().any(|toolchain| toolchain.version == found.version) {
            toolchains.push(found.clone());
        }
        Ok(found)
    }
}

/// What a failed run says: the object's error, else standard error.
struct Refusal {
    text: String,
    address: Option<String>,
}

impl Refusal {
    fn of(output: &Output) -> Self {
        match serde_json::from_slice::<Download>(&output.stdout) {
            Ok(answer) if !answer.error.is_empty() => {
                let address = answer.origin.map(|origin| origin.url);
                Self { text: answer.error, address }
            }
            _ => Self { text: output.stderr.clone(), address: None },
        }
    }
}

fn late(subject: &str) -> Error {
    let text =
        format!("{subject}: the go command did not end in time; see StashTimeout and Timeout");
    Error::new(ErrorKind::UpstreamTimeout, text)
}

fn run_error(subject: &str, program: &OsStr, error: RunError) -> Error {
    let (kind, text) = match error {
        RunError::Deadline => return late(subject),
        RunError::Stopped => {
            (ErrorKind::Overloaded, "the gateway is shutting down: ask again".to_owned())
        }
        RunError::Start(error) => {
            let program = Path::new(program).display();
            let text = format!(
                "cannot run {program}: {error}; install Go or set GoBinary (GO_BINARY_PATH)"
            );
            (ErrorKind::UpstreamFailed, text)
        }
        RunError::TooLong => {
            let text =
                format!("the go command printed more than {} bytes", command::MAX_STDOUT_BYTES);
            (ErrorKind::BadContent, text)
        }
        RunError::Io(error) => {
            (ErrorKind::Internal, format!("cannot read what the go command says: {error}"))
        }
    };
    Error::new(kind, format!("{subject}: {text}"))
}

/// Runs `go version` within 10 s and returns what it says. Any exit status will do: what matters is
/// that the program can be run.
///
/// # Errors
/// `UpstreamFailed` naming `GoBinary` where it cannot be started; `UpstreamTimeout` where it hangs.
pub async fn probe(binary: &Path, inherited: &[(String, String)]) -> Result<String, Error> {
    let program = super::absolute_unless_a_name(binary.to_owned())
        .map_err(|error| run_error("go version", binary.as_os_str(), RunError::Start(error)))?;
    let mut variables: Variables =
        inherited.iter().map(|(name, value)| (name.into(), value.into())).collect();
    variables.insert("GOTOOLCHAIN".into(), "local".into());
    let run = Run {
        program: &program,
        arguments: &["version"],
        variables: &variables,
        directory: &std::env::temp_dir(),
        deadline: Instant::now() + PROBE_TIMEOUT,
        stop: &CancellationToken::new(),
        keep: Arc::new(()),
    };
    let output =
        command::run(run).await.map_err(|error| run_error("go version", &program, error))?;
    let said = String::from_utf8_lossy(&output.stdout);
    match said.lines().next().map(str::trim) {
        Some(version) if !version.is_empty() => Ok(version.to_owned()),
        _ => Ok(format!("{} ended with {}", binary.display(), output.status)),
    }
}
