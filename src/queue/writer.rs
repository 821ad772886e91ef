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
    /// The journal, where what is appended to it is sure to be read after a crash. Where it is not, the
    /// next record has the journal written anew.
    file: Option<File>,
    lines: usize,
    live: Live,
    /// Makes a rename last: a seam, because no test can have a real disk refuse it.
    pub(super) sync_directory: fn(&File) -> io::Result<()>,
    _lock: File,
}

impl Writer {
    /// Writes the journal anew, without what has ended or was damaged. Where that fails, what is there stays
    /// there, and the gateway starts all the same: a full disk costs new entries their safety, no more.
    pub(super) fn open(directory: &Path, live: Live, lock: File) -> Self {
        let (directory, lines) = (directory.to_owned(), live.len());
        let sync_directory = File::sync_all;
        let mut writer = Self { directory, file: None, lines, live, sync_directory, _lock: lock };
        if let Err(error) = writer.write_anew() {
            let error = failed(&writer.directory, "cannot be written", &error);
            tracing::warn!(%error,
                "the background queue begins unsafe: no background fetch is kept before it can be written");
        }
        writer
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

    pub(super) fn write(&mut self, records: Vec<Record>) -> Result<(), Error> {
        let is_promise = records.iter().any(|record| matches!(record, Record::Kept(_)));
        let text: String = records.iter().map(Record::line).collect();
        let lines = records.len();
        // Also where the file does not take them: the next that is written anew has them.
        for record in records {
            self.live.apply(record);
        }
        let written = match self.file.take() {
            Some(file) => self.append(file, &text, lines, is_promise),
            // Nobody knows what a write that failed has left behind.
            None => self.write_anew(),
        };
        written.map_err(|error| failed(&self.directory, "cannot be written", &error))?;
        if self.lines > ENDED_LINES_MIN + 2 * self.live.len()
            && let Err(error) = self.write_anew()
        {
            tracing::warn!(%error, "the journal of the background queue cannot be shortened");
        }
        Ok(())
    }

    /// The file stays the journal where it takes the text.
    fn append(
        &mut self,
        mut file: File,
        text: &str,
        lines: usize,
        is_promise: bool,
    ) -> io::Result<()> {
        file.write_all(text.as_bytes())?;
        if is_promise {
            file.sync_data()?;
        }
        self.lines += lines;
        self.file = Some(file);
        Ok(())
    }

    /// A whole journal in place of the one there is; a crash leaves the one or the other.
    fn write_anew(&mut self) -> io::Result<()> {
        // What is appended to the older one from here on might not be seen after a crash.
        self.file = None;
        let directory = File::open(&self.directory)?;
        let path = self.directory.join(NEW_JOURNAL);
        let mut file =
            OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&path)?;
        let lines = self.live.entries().map(|entry| Record::Kept(entry.clone()).line());
        let text: String = std::iter::once(HEADER.to_owned()).chain(lines).collect();
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&path, self.directory.join(JOURNAL))?;
        self.lines = self.live.len();
        (self.sync_directory)(&directory)?;
        self.file = Some(file);
        Ok(())
    }
}
