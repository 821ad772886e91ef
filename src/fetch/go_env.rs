//! Asks the `go` command for its settings: `go env -json NAMES…`.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

/// Longest run of `go env`.
pub const MAX_RUN: Duration = Duration::from_secs(10);
/// Most bytes read of what it prints, and of what it complains about.
const MAX_OUTPUT_BYTES: u64 = 256 * 1024;
/// Longest complaint repeated, in bytes.
const MAX_COMPLAINT_BYTES: usize = 300;

/// What the child needs to find itself, its home and its environment file.
const INHERITED: [&str; 6] =
    ["PATH", "HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "GOENV", "GOROOT"];

/// How asking ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GoEnv {
    /// There was nothing left to ask.
    NotAsked,
    /// It answered.
    Answered(BTreeMap<String, String>),
    /// There is no such command.
    Missing,
    /// It failed: the reason, in one line.
    Failed(String),
}

impl GoEnv {
    /// The value of a setting, if `go` was asked and answered.
    pub fn value(&self, name: &str) -> Option<&str> {
        match self {
            Self::Answered(values) => values.get(name).map(String::as_str),
            Self::NotAsked | Self::Missing | Self::Failed(_) => None,
        }
    }
}

/// Runs `go env` for `names` in the root directory, where no go.mod or go.work can speak. `known`
/// settings are passed on, since `go` derives defaults from them. A child that is too slow is killed.
pub(crate) async fn ask(
    binary: &str,
    names: &[&str],
    known: &[(&str, &str)],
    environment: &(dyn Fn(&str) -> Option<String> + Sync),
) -> GoEnv {
    let mut command = Command::new(binary);
    command
        .args(["env", "-json"])
        .args(names)
        .current_dir("/")
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    for name in INHERITED {
        if let Some(value) = environment(name) {
            command.env(name, value);
        }
    }
    command.envs(known.iter().copied());
    match tokio::time::timeout(MAX_RUN, run(command)).await {
        Ok(Ok(values)) => GoEnv::Answered(values),
        Ok(Err(RunError::Missing)) => GoEnv::Missing,
        Ok(Err(RunError::Failed(why))) => GoEnv::Failed(format!("{binary} env: {why}")),
        Err(_) => GoEnv::Failed(format!("{binary} env: no answer within {MAX_RUN:?}")),
    }
}

enum RunError {
    Missing,
    Failed(String),
}

impl From<std::io::Error> for RunError {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

async fn run(mut command: Command) -> Result<BTreeMap<String, String>, RunError> {
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(RunError::Missing);
        }
        Err(error) => return Err(error.into()),
    };
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (output, complaint) = tokio::join!(read(stdout), read(stderr));
    let (output, complaint) = (output?, complaint?);
    let status = child.wait().await?;
    if !status.success() {
        let complaint = String::from_utf8_lossy(&complaint);
        let line = complaint.lines().find(|line| !line.trim().is_empty()).unwrap_or("no reason");
        let line: String = line.chars().take(MAX_COMPLAINT_BYTES).collect();
        return Err(RunError::Failed(format!("{status}: {line}")));
    }
    serde_json::from_slice(&output)
        .map_err(|error| RunError::Failed(format!("its answer is not the JSON wanted: {error}")))
}

/// Reads to the end, keeps the beginning: the child must not block on a full pipe.
async fn read(pipe: Option<impl AsyncRead + Unpin>) -> std::io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    if let Some(mut pipe) = pipe {
        (&mut pipe).take(MAX_OUTPUT_BYTES).read_to_end(&mut kept).await?;
        tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await?;
    }
    Ok(kept)
}
