//! One run of a child process: bounded in time and in output, ended as a whole process group.
//!
//! The child leads a process group of its own, so that ending it also ends the git and ssh that it
//! started. However a run ends, the child is reaped; what it works in (`keep`) is let go of only
//! after the group is gone.

use std::any::Any;
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::environment::Variables;

/// Most bytes kept of standard output: room for the list of some million versions.
pub(super) const MAX_STDOUT_BYTES: usize = 32 << 20;

/// Most bytes kept of standard error; the rest is read and thrown away.
pub(super) const MAX_STDERR_BYTES: usize = 64 << 10;

/// How long a group has between SIGTERM and SIGKILL.
pub(super) const TERMINATION_GRACE: Duration = Duration::from_secs(2);

/// How long the pipes may stay open after the child has ended.
const MAX_DRAIN_WAIT: Duration = Duration::from_secs(1);

/// Pause between two looks whether the group is gone.
const GROUP_POLL: Duration = Duration::from_millis(20);

/// How much is read from a pipe at once.
const READ_CHUNK_BYTES: usize = 16 << 10;

/// What to run.
pub(super) struct Run<'a> {
    /// Name or path of the program.
    pub(super) program: &'a OsStr,
    /// Arguments.
    pub(super) arguments: &'a [&'a str],
    /// The whole environment.
    pub(super) variables: &'a Variables,
    /// Working directory.
    pub(super) directory: &'a Path,
    /// When the group is ended.
    pub(super) deadline: Instant,
    /// Ends the group before its time.
    pub(super) stop: &'a CancellationToken,
    /// Lives until the group is gone.
    pub(super) keep: Arc<dyn Any + Send + Sync>,
}

/// How a run ended that was not cut short.
#[derive(Debug)]
pub(super) struct Output {
    /// Exit status.
    pub(super) status: ExitStatus,
    /// Standard output, whole.
    pub(super) stdout: Vec<u8>,
    /// The beginning of standard error.
    pub(super) stderr: String,
}

/// Why there is no output.
#[derive(Debug)]
pub(super) enum RunError {
    /// The program could not be started.
    Start(io::Error),
    /// The deadline passed.
    Deadline,
    /// The program ends.
    Stopped,
    /// More than [`MAX_STDOUT_BYTES`].
    TooLong,
    /// The pipes or the status could not be read.
    Io(io::Error),
}

/// Runs a program to its end or to the deadline. Dropping the future ends the group as well.
pub(super) async fn run(run: Run<'_>) -> Result<Output, RunError> {
    if run.stop.is_cancelled() {
        return Err(RunError::Stopped);
    }
    let mut command = Command::new(run.program);
    command.args(run.arguments).env_clear().envs(run.variables).current_dir(run.directory);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(RunError::Start)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let mut cancelled = EndOnDrop(Some(Group::new(child, run.keep)));
    let (mut out, mut err) = (Captured::new(MAX_STDOUT_BYTES), Captured::new(MAX_STDERR_BYTES));
    let collected = match &mut cancelled.0 {
        Some(group) => {
            let collecting = group.collect((stdout, &mut out), (stderr, &mut err));
            tokio::select! {
                collected = timeout_at(run.deadline, collecting) => collected,
                () = run.stop.cancelled() => return Err(RunError::Stopped),
            }
        }
        None => return Err(RunError::Deadline),
    };
    match collected {
        Ok(Ok(status)) => {
            if let Some(group) = cancelled.0.take() {
                group.reaped();
            }
            if out.overflowed {
                return Err(RunError::TooLong);
            }
            let stderr = String::from_utf8_lossy(&err.bytes).into_owned();
            Ok(Output { status, stdout: out.bytes, stderr })
        }
        Ok(Err(error)) => Err(RunError::Io(error)),
        Err(_) => {
            // Ended in a task of its own: the caller gets its answer at the deadline.
            drop(cancelled);
            Err(RunError::Deadline)
        }
    }
}

/// The beginning of a stream.
struct Captured {
    bytes: Vec<u8>,
    limit: usize,
    overflowed: bool,
}

impl Captured {
    fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), limit, overflowed: false }
    }

    fn push(&mut self, chunk: &[u8]) {
        let room = (self.limit - self.bytes.len()).min(chunk.len());
        self.bytes.extend_from_slice(&chunk[..room]);
        self.overflowed |= room < chunk.len();
    }

    /// Reads to the end even beyond the limit, so that the child never blocks on a full pipe.
    async fn read(&mut self, pipe: Option<impl AsyncRead + Unpin>) -> io::Result<()> {
        let Some(mut pipe) = pipe else { return Ok(()) };
        let mut chunk = vec![0; READ_CHUNK_BYTES];
        loop {
            match pipe.read(&mut chunk).await? {
                0 => return Ok(()),
                length => self.push(&chunk[..length]),
            }
        }
    }
}

/// A process group whose leader is our child.
struct Group {
    child: Child,
    id: Option<Pid>,
    ended: bool,
    keep: Arc<dyn Any + Send + Sync>,
}

impl Group {
    fn new(child: Child, keep: Arc<dyn Any + Send + Sync>) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Self { child, id, ended: false, keep }
    }

    /// Waits for the leader and for both pipes.
    async fn collect(
        &mut self,
        (stdout, out): (Option<impl AsyncRead + Unpin>, &mut Captured),
        (stderr, err): (Option<impl AsyncRead + Unpin>, &mut Captured),
    ) -> io::Result<ExitStatus> {
        let mut reading =
            std::pin::pin!(futures::future::try_join(out.read(stdout), err.read(stderr)));
        let mut read = false;
        let status = loop {
            tokio::select! {
                status = self.child.wait() => break status?,
                done = &mut reading, if !read => { done?; read = true; }
            }
        };
        if !read {
            match timeout(MAX_DRAIN_WAIT, reading).await {
                Ok(done) => {
                    done?;
                }
                // Something the child left behind holds the pipes: it has no business any more.
                Err(_) => self.signal(Signal::KILL),
            }
        }
        Ok(status)
    }

    /// The leader ended by itself.
    fn reaped(mut self) {
        self.ended = true;
    }

    /// Ends every process of the group: politely, then not.
    async fn end(mut self) {
        self.signal(Signal::TERM);
        let force_at = Instant::now() + TERMINATION_GRACE;
        if timeout_at(force_at, self.child.wait()).await.is_ok() {
            while self.is_alive() && Instant::now() < force_at {
                sleep(GROUP_POLL).await;
            }
        }
        if self.is_alive() {
            self.signal(Signal::KILL);
        }
        if let Err(error) = self.child.wait().await {
            tracing::warn!(%error, "cannot reap the go command");
        }
        self.ended = true;
        // Only now may the directories go in which the group worked.
        drop(self);
    }

    fn is_alive(&self) -> bool {
        self.id.is_some_and(|id| test_kill_process_group(id).is_ok())
    }

    fn signal(&self, signal: Signal) {
        let Some(id) = self.id else { return };
        match kill_process_group(id, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => tracing::warn!(%error, "cannot end the go command's process group"),
        }
    }
}

impl Drop for Group {
    /// The last resort, when the runtime itself shuts down: no time is left to be polite.
    fn drop(&mut self) {
        if !self.ended {
            self.signal(Signal::KILL);
            // Reaps where it is dead already; otherwise the runtime's own reaper takes it over.
            if let Err(error) = self.child.try_wait() {
                tracing::warn!(%error, "cannot reap the go command");
            }
        }
        tracing::trace!(holders = Arc::strong_count(&self.keep), "the go command's group is gone");
    }
}

/// Ends the group in the background when the run is given up.
struct EndOnDrop(Option<Group>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        let Some(group) = self.0.take() else { return };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(group.end())),
            Err(_) => drop(group),
        }
    }
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
