//! The thread that writes the journal: one sync for all who wait.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use dipylon_middleware::Error;
use tokio::sync::{mpsc, oneshot};

use super::journal::{HEADER, Live, Record};
use super::{JOURNAL, failed};

/// Records that one sync serves at most.
const BATCH_MAX: usize = 1024;
/// Lines of entries that have ended before the journal is written anew; beyond them, as many as there are
/// entries.
const ENDED_LINES_MIN: usize = 2048;

const NEW_JOURNAL: &str = "journal.new";

/// A record, and who waits until it is written.
pub(super) struct Command {
    pub(super) record: Record,
    pub(super) reply: oneshot::Sender<Result<(), Error>>,
}

/// The journal, open for appending.
pub(super) struct Writer {
    directory: PathBuf,
    file: File,
    lines: usize,
    live: Live,
    /// Whether the file ends with a whole line, as far as is known.
    is_sound: bool,
    _lock: File,
}

impl Writer {
    /// Writes the journal anew, without what has ended or was damaged.
    pub(super) fn open(directory: &Path, live: Live, lock: File) -> Result<Self, Error> {
        let file = write_anew(directory, &live)
            .map_err(|error| failed(directory, "cannot be written", &error))?;
        let (directory, lines) = (directory.to_owned(), live.len());
        Ok(Self { directory, file, lines, live, is_sound: true, _lock: lock })
    }

    /// Writes until nobody can send any more.
    pub(super) fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        while let Some(first) = commands.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < BATCH_MAX
                && let Ok(command) = commands.try_recv()
            {
                batch.push(command);
            }
            let (records, replies): (Vec<_>, Vec<_>) =
                batch.into_iter().map(|command| (command.record, command.reply)).unzip();
            let written = self.write(records);
            for reply in replies {
                // Who does not wait any more has left; the record is written all the same.
                drop(reply.send(written.clone()));
            }
        }
    }

    fn write(&mut self, records: Vec<Record>) -> Result<(), Error> {
        let is_promise = records.iter().any(|record| matches!(record, Record::Kept(_)));
        let text: String = records.iter().map(Record::line).collect();
        let lines = records.len();
        // Also where the file does not take them: the next that is written anew has them.
        for record in records {
            self.live.apply(record);
        }
        let written = if self.is_sound {
            self.append(&text, lines, is_promise)
        } else {
            // Nobody knows what a write that failed has left behind.
            self.write_anew()
        };
        self.is_sound = written.is_ok();
        written.map_err(|error| failed(&self.directory, "cannot be written", &error))?;
        if self.lines > ENDED_LINES_MIN + 2 * self.live.len()
            && let Err(error) = self.write_anew()
        {
            tracing::warn!(%error, "the journal of the background queue cannot be shortened");
        }
        Ok(())
    }

    fn append(&mut self, text: &str, lines: usize, is_promise: bool) -> io::Result<()> {
        self.file.write_all(text.as_bytes())?;
        self.lines += lines;
        if is_promise { self.file.sync_data() } else { Ok(()) }
    }

    fn write_anew(&mut self) -> io::Result<()> {
        self.file = write_anew(&self.directory, &self.live)?;
        self.lines = self.live.len();
        Ok(())
    }
}

/// A whole journal in place of the one there is; a crash leaves the one or the other.
fn write_anew(directory: &Path, live: &Live) -> io::Result<File> {
    let path = directory.join(NEW_JOURNAL);
    let mut file =
        OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&path)?;
    let lines = live.entries().map(|entry| Record::Kept(entry.clone()).line());
    let text: String = std::iter::once(HEADER.to_owned()).chain(lines).collect();
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&path, directory.join(JOURNAL))?;
    File::open(directory)?.sync_all()?;
    Ok(file)
}
