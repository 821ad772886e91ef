//! The background queue on a disk: what was accepted outlives the process.
//!
//! One file, `journal`, to which lines are appended: an entry that was accepted, an entry that has ended.
//! Whoever accepts waits until its line is synced, many of them at once; the line of an end is only
//! written. So no crash, of the process or of the machine, loses an entry; a crash of the machine may bring
//! back one that has ended, whose version is then found in the store. When most lines are of entries that
//! have ended, the file is written anew and put in place by a rename.
//!
//! A torn last line is what a crash leaves, and was promised to nobody. It, a line that was damaged, and a
//! file that is none of ours are set aside beside the journal, with a log line. The file `lock` keeps a
//! second process out.
//!
//! Where the journal takes no more, or nobody knows what it ends with, no entry is said to be kept before it
//! has been written anew, which each further record tries. A disk that is full stops no start.

mod journal;
mod writer;

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use dipylon_middleware::ports::{BoxFuture, QueueEntry, QueueStore};
use dipylon_middleware::{Error, ErrorKind};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::query::VersionQuery;
use rustix::fs::{FlockOperation, flock};
use tokio::sync::{mpsc, oneshot};

use journal::{Live, Record};
use writer::{Command, Writer};

/// The largest journal that is read, in bytes; a larger one is set aside.
const JOURNAL_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Commands on their way to the writer; who has one more waits.
const COMMANDS_MAX: usize = 1024;
/// The most bytes of a process id in the lock file.
const PID_BYTES_MAX: u64 = 20;

const JOURNAL: &str = "journal";
const LOCK: &str = "lock";

/// A queue directory that is ours.
#[derive(Clone)]
pub struct Opened {
    /// Where entries are kept from now on.
    pub store: Arc<dyn QueueStore>,
    /// What an earlier process had accepted and not ended, in its order.
    pub recovered: Vec<QueueEntry>,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opened({} recovered)", self.recovered.len())
    }
}

/// Takes the directory for this process, and reads what the last one left. Blocks.
///
/// # Errors
/// `Storage`, where it cannot be used, or another process has it.
pub fn open(directory: &Path) -> Result<Opened, Error> {
    let fail = |what: &str, error: &io::Error| failed(directory, what, error);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|error| fail("cannot be made", &error))?;
    let lock = lock(directory)?;
    let path = directory.join(JOURNAL);
    let live = match read(&path) {
        Ok(None) => Live::default(),
        Ok(Some(bytes)) => recover(directory, &bytes)?,
        Err(error) => return Err(fail("cannot be read", &error)),
    };
    let recovered: Vec<QueueEntry> = live.entries().cloned().collect();
    let writer = Writer::open(directory, live, lock);
    let (commands, received) = mpsc::channel(COMMANDS_MAX);
    let thread = std::thread::Builder::new()
        .name("queue-writer".to_owned())
        .spawn(move || writer.run(received))
        .map_err(|error| fail("has no writer", &error))?;
    let store = Store { commands: Some(commands), thread: Some(thread) };
    Ok(Opened { store: Arc::new(store), recovered })
}

/// Keeps other processes out for as long as the file is open.
fn lock(directory: &Path) -> Result<File, Error> {
    let path = directory.join(LOCK);
    let fail = |error: &io::Error| failed(directory, "cannot be locked", error);
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(|error| fail(&error))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut pid = String::new();
            // Only for the message: whatever is in there, the answer is no.
            let read = (&mut file).take(PID_BYTES_MAX).read_to_string(&mut pid);
            let who = match read {
                Ok(_) if !pid.trim().is_empty() => format!("process {}", pid.trim()),
                _ => "another process".to_owned(),
            };
            let text = format!(
                "the directory {} (Dipylon.QueueDirectory) is used by {who}: \
                 give each gateway a directory of its own",
                directory.display()
            );
            return Err(Error::new(ErrorKind::Storage, text));
        }
        Err(error) => return Err(fail(&error.into())),
    }
    // The lock holds without it, and a full disk has no room even for this.
    let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    if let Err(error) = written {
        let error = failed(directory, "does not say whose it is", &error);
        tracing::warn!(%error, "the lock of the background queue has no process id in it");
    }
    Ok(file)
}

/// The journal's bytes; nothing where there is none.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(JOURNAL_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// What is live in a journal; what is none of ours goes aside.
fn recover(directory: &Path, bytes: &[u8]) -> Result<Live, Error> {
    let fail = |error: &io::Error| failed(directory, "cannot set aside what is damaged", error);
    let aside = set_aside_path(directory);
    let too_large = bytes.len() as u64 > JOURNAL_BYTES_MAX;
    let read = if too_large { None } else { journal::read(bytes) };
    let Some(journal::Read { live, damaged }) = read else {
        fs::rename(directory.join(JOURNAL), &aside).map_err(|error| fail(&error))?;
        tracing::error!(path = %aside.display(),
            "the journal of the background queue is none of ours: it is set aside");
        return Ok(Live::default());
    };
    if !damaged.is_empty() {
        let write = || {
            let mut options = OpenOptions::new();
            let mut file = options.create_new(true).write(true).mode(0o600).open(&aside)?;
            for line in &damaged {
                file.write_all(line)?;
                file.write_all(b"\n")?;
            }
            file.sync_all()
        };
        match write() {
            Ok(()) => tracing::warn!(path = %aside.display(), lines = damaged.len(),
                "torn or damaged lines in the journal of the background queue are set aside"),
            // They say nothing that could be gone on with, so a full disk stops no start.
            Err(error) => tracing::error!(error = %fail(&error), lines = damaged.len(),
                "torn or damaged lines in the journal of the background queue are left out"),
        }
    }
    Ok(live)
}

fn set_aside_path(directory: &Path) -> PathBuf {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    directory.join(format!("set-aside-{}-{}", now.as_millis(), std::process::id()))
}

fn failed(directory: &Path, what: &str, error: &io::Error) -> Error {
    let shown = directory.display();
    let text = format!("the directory {shown} (Dipylon.QueueDirectory) {what}: {error}");
    Error::new(ErrorKind::Storage, text)
}

/// Hands records to the writer's thread. Dropping it ends the thread, once all is written.
struct Store {
    commands: Option<mpsc::Sender<Command>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Store {
    async fn write(&self, record: Record) -> Result<(), Error> {
        let stopped =
            || Error::new(ErrorKind::Storage, "the writer of Dipylon.QueueDirectory has stopped");
        let (reply, written) = oneshot::channel();
        let commands = self.commands.as_ref().ok_or_else(stopped)?;
        commands.send(Command { record, reply }).await.map_err(|_| stopped())?;
        written.await.map_err(|_| stopped())?
    }
}

impl QueueStore for Store {
    fn keep<'a>(&'a self, entry: &'a QueueEntry) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.write(Record::Kept(entry.clone())))
    }

    fn forget<'a>(
        &'a self,
        module: &'a ModulePath,
        version: &'a VersionQuery,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.write(Record::Ended(module.clone(), version.clone())))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        drop(self.commands.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the writer of the background queue has panicked");
        }
    }
}

#[cfg(test)]
mod tests;
