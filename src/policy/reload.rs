//! Follows the download-mode file while the gateway runs.
//!
//! It is looked at every [`LOOK_INTERVAL`], through symbolic links, so that a config map of Kubernetes that is
//! swapped is noticed. What looks changed is read once it has looked the same twice: an editor may be half
//! done. SIGHUP reads it at once. What changes while it is read is left for the next look, in either case.
//!
//! Telemetry: `dipylon_policy_reloads_total`, `dipylon_policy_file_refused`.
//! Failure: what is wrong with the file, or that it cannot be read, is said once, and the policy in force
//! stays as it is. A file system that hangs holds one thread, and reloads wait for it.
//! Limits: `MAX_FILE_BYTES`, of which one copy is kept to be compared.

use std::fmt;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dipylon_middleware::telemetry::{PolicyReload, Telemetry};
use parking_lot::Mutex;
use tokio::signal::unix::Signal;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::download_file::{DownloadFile, Given};
use super::live::{LivePolicy, OpenUpstreams};

/// The pause between two looks at the file.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Follows one file.
pub struct Reload {
    path: PathBuf,
    given: Given,
    live: Arc<LivePolicy>,
    upstreams: Arc<dyn OpenUpstreams>,
    telemetry: Telemetry,
    seen: Mutex<Seen>,
    /// Told after each file that came into force.
    changes: watch::Sender<()>,
}

/// What has been seen of the file.
struct Seen {
    looks: Looks,
    /// What was read last: a text, or why there was none.
    last: Result<String, String>,
    /// Whether that is in force.
    in_force: bool,
}

/// What a file shows without being read; `None` where it cannot even be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp(Option<Shown>);

/// Times are seconds and nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shown {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// Of what `path` leads to now.
    pub fn of(path: &Path) -> Self {
        Self::shown(std::fs::metadata(path))
    }

    fn of_opened(file: &File) -> Self {
        Self::shown(file.metadata())
    }

    fn shown(found: io::Result<Metadata>) -> Self {
        Self(found.ok().map(|file| Shown {
            device: file.dev(),
            inode: file.ino(),
            length: file.len(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }))
    }
}

/// When to read, from what was looked at. Pure.
#[derive(Debug, PartialEq, Eq)]
struct Looks<S = Stamp> {
    /// Of the file that was read.
    read: S,
    /// Of the last look.
    last: S,
}

impl<S: PartialEq + Clone> Looks<S> {
    fn new(read: S) -> Self {
        Self { last: read.clone(), read }
    }

    /// Whether it is time to read: it looks other than what was read, and as it did the last time.
    fn look(&mut self, now: S) -> bool {
        let settled = self.last == now;
        self.last = now;
        settled && self.last != self.read
    }

    /// It is read now, and looked like this before.
    fn reads(&mut self, now: S) {
        self.last = now.clone();
        self.read = now;
    }
}

/// Why the file is thought of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// The time for a look has come.
    Look,
    /// SIGHUP: somebody wants it read and waits for what is said of it.
    Asked,
}

impl Reload {
    /// Follows `path`, which was looked at and then read, and whose text is in force in `live`.
    pub fn new(
        path: PathBuf,
        (stamp, text): (Stamp, String),
        given: Given,
        live: Arc<LivePolicy>,
        upstreams: Arc<dyn OpenUpstreams>,
        telemetry: &Telemetry,
    ) -> Self {
        let looks = Looks::new(stamp);
        let seen = Mutex::new(Seen { looks, last: Ok(text), in_force: true });
        let (changes, _) = watch::channel(());
        Self { path, given, live, upstreams, telemetry: telemetry.clone(), seen, changes }
    }

    /// Tells of each file that comes into force from now on.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Looks, and reads at each SIGHUP, until it is dropped.
    pub async fn run(self: Arc<Self>, mut hangups: Signal) {
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let cause = tokio::select! {
                _ = looks.tick() => Cause::Look,
                Some(()) = hangups.recv() => Cause::Asked,
            };
            let reload = Arc::clone(&self);
            let turn = tokio::task::spawn_blocking(move || reload.turn(cause)).await;
            if let Err(error) = turn {
                tracing::error!(file = %self.path.display(), %error,
                    "reading the download-mode file crashed: the policy in force stays");
            }
        }
    }

    fn turn(&self, cause: Cause) {
        let seen = &mut *self.seen.lock();
        let now = Stamp::of(&self.path);
        if cause == Cause::Look && !seen.looks.look(now) {
            return;
        }
        let Some(text) = read_steady(&self.path, now) else {
            // It looks other than what was read last, so that a look reads it once it has come to rest.
            tracing::warn!(file = %self.path.display(),
                "the download-mode file changes while it is read: it is read again when it has come to rest");
            return;
        };
        seen.looks.reads(now);
        let result = self.take(seen, text, cause);
        self.telemetry.metrics.policy_reloads.get((result,)).inc();
        let refused = i64::from(!seen.in_force);
        self.telemetry.metrics.policy_file_refused.get(()).set(refused);
    }

    fn take(&self, seen: &mut Seen, text: Result<String, String>, cause: Cause) -> PolicyReload {
        let file = self.path.display();
        if text == seen.last {
            match (cause, seen.in_force) {
                (Cause::Look, _) => tracing::debug!(%file, "the download-mode file is unchanged"),
                (Cause::Asked, true) => {
                    tracing::info!(%file, "the download-mode file is unchanged, and in force");
                }
                (Cause::Asked, false) => tracing::warn!(%file,
                    "the download-mode file is unchanged since it was refused: the older one stays in force"),
            }
            return PolicyReload::Unchanged;
        }
        let said = match &text {
            Ok(text) => DownloadFile::parse(&file.to_string(), text, &self.given)
                .map_err(|error| error.message().to_owned()),
            Err(reason) => Err(reason.clone()),
        };
        seen.last = text;
        seen.in_force = said.is_ok();
        match said {
            Ok(said) => {
                self.live.replace(&said, &*self.upstreams);
                super::warn_of(&said);
                tracing::info!(%file, policy = ?self.live, "the download-mode file is in force anew");
                self.changes.send_replace(());
                PolicyReload::Applied
            }
            Err(reason) => {
                tracing::error!(
                    reason,
                    "the download-mode file is refused: the older one stays in force"
                );
                PolicyReload::Refused
            }
        }
    }
}

/// The text of a file that looked like `stamp`, or why there is none; nothing where it looks other by now: half
/// of a file may be a good one that says something else.
fn read_steady(path: &Path, stamp: Stamp) -> Option<Result<String, String>> {
    let file = match super::open(path) {
        Ok(file) => file,
        Err(reason) => return (Stamp::of(path) == stamp).then_some(Err(reason)),
    };
    let before = Stamp::of_opened(&file);
    let text = super::read_opened(path, &file).and_then(|bytes| super::text_of(path, bytes));
    let after = Stamp::of_opened(&file);
    ([before, after] == [stamp; 2]).then_some(text)
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reload({})", self.path.display())
    }
}

#[cfg(test)]
mod tests;
