//! A file that is read while it is written: how one upstream answer reaches the store and every
//! waiter at once, in constant memory.
//!
//! The writer appends; once release is permitted, readers see bytes up to a *released* mark that trails
//! the written end by the hold-back, until the checks agree and the writer finishes. A failed spool
//! cuts its readers off:
//! the tail never leaves, so no client can take the file for whole.

use std::any::Any;
use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::StreamExt as _;
use tempfile::NamedTempFile;
use tokio::sync::watch;

use crate::blob::ByteStream;
use crate::body::{Buffer, ReadShare};
use crate::error::{Error, ErrorKind};
use crate::telemetry::Telemetry;

/// Bytes a reader hands on at a time, at most; less, where many bodies are being read.
const READ_CHUNK_BYTES: usize = 32 * 1024;

/// Where spools are made, and how many bytes they may take together.
#[derive(Clone)]
pub struct Spools {
    directory: Arc<Path>,
    bytes_max: u64,
    bytes_used: Arc<AtomicU64>,
    telemetry: Telemetry,
    keep: Option<Arc<dyn Any + Send + Sync>>,
}

impl Spools {
    /// Spools live in `directory`, which must exist, and hold at most `bytes_max` together.
    pub fn new(directory: &Path, bytes_max: u64, telemetry: &Telemetry) -> Self {
        Self {
            directory: directory.into(),
            bytes_max,
            bytes_used: Arc::default(),
            telemetry: telemetry.clone(),
            keep: None,
        }
    }

    /// Holds `owner`, say of the directory, for as long as there is any spool or may be a new one.
    #[must_use]
    pub fn keeping(mut self, owner: Arc<dyn Any + Send + Sync>) -> Self {
        self.keep = Some(owner);
        self
    }

    /// A new spool: one writer, any number of readers. `length` is what upstream announced;
    /// readers see bytes only when release is permitted and `hold_back` more have been written.
    ///
    /// # Errors
    /// `Storage` when the file cannot be made.
    pub fn create(
        &self,
        length: Option<u64>,
        hold_back: u64,
    ) -> Result<(SpoolWriter, Spool), Error> {
        let file = tempfile::Builder::new()
            .prefix("spool-")
            .tempfile_in(&self.directory)
            .map_err(|error| self.io("create a spool", &error))?;
        let state =
            State { written: 0, released: 0, permitted: false, hold_back, length, end: None };
        let shared =
            Arc::new(Shared { file, state: watch::Sender::new(state), spools: self.clone() });
        let spool = Spool { shared };
        Ok((SpoolWriter { spool: spool.clone(), ended: false }, spool))
    }

    fn io(&self, what: &str, error: &std::io::Error) -> Error {
        let directory = self.directory.display();
        Error::new(ErrorKind::Storage, format!("cannot {what} in {directory}: {error}"))
    }
}

impl fmt::Debug for Spools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spools({})", self.directory.display())
    }
}

#[derive(Clone, Debug)]
struct State {
    written: u64,
    released: u64,
    permitted: bool,
    hold_back: u64,
    length: Option<u64>,
    end: Option<Result<(), Error>>,
}

impl State {
    fn release(&mut self) {
        if self.permitted {
            self.released = self.released.max(self.written.saturating_sub(self.hold_back));
        }
    }

    /// The first end stays: what readers were told cannot be taken back.
    fn end(&mut self, end: Result<(), Error>) {
        if self.end.is_some() {
            return;
        }
        if end.is_ok() {
            self.released = self.written;
        }
        self.end = Some(end);
    }
}

struct Shared {
    file: NamedTempFile,
    state: watch::Sender<State>,
    spools: Spools,
}

impl Drop for Shared {
    fn drop(&mut self) {
        let written = self.state.borrow().written;
        self.spools.bytes_used.fetch_sub(written, Ordering::Relaxed);
        let gauge = self.spools.telemetry.metrics.spool_bytes.get(());
        gauge.sub(i64::try_from(written).unwrap_or(i64::MAX));
    }
}

/// A handle for reading; the file goes when the last handle does.
#[derive(Clone)]
pub struct Spool {
    shared: Arc<Shared>,
}

impl Spool {
    /// A finished spool of these bytes: for small answers and tests.
    ///
    /// # Errors
    /// `Storage` when the file cannot be written.
    pub fn of_bytes(spools: &Spools, bytes: &[u8]) -> Result<Self, Error> {
        let (mut writer, spool) = spools.create(Some(bytes.len() as u64), 0)?;
        writer.write(bytes)?;
        writer.finish();
        Ok(spool)
    }

    /// Path of the file, for a store on the same disk that takes it over by a hard link. Only
    /// meaningful when [`Spool::complete`] has succeeded.
    pub fn path(&self) -> PathBuf {
        self.shared.file.path().to_owned()
    }

    /// Bytes written so far; the whole length once complete.
    pub fn written(&self) -> u64 {
        self.shared.state.borrow().written
    }

    /// The length upstream announced, or the true one once complete.
    pub fn length(&self) -> Option<u64> {
        let state = self.shared.state.borrow();
        match state.end {
            Some(Ok(())) => Some(state.written),
            _ => state.length,
        }
    }

    /// From now on readers may see what is written, but for the hold-back.
    pub fn permit_release(&self) {
        self.shared.state.send_modify(|state| {
            state.permitted = true;
            state.release();
        });
    }

    /// Fails the spool while its writer may still be at work.
    pub fn refuse(&self, error: Error) {
        self.shared.state.send_modify(|state| state.end(Err(error)));
    }

    /// Waits until the first byte may be shown, or the end.
    ///
    /// # Errors
    /// What the spool failed with: who has seen nothing yet gets a status, however much others saw.
    pub async fn ready(&self) -> Result<(), Error> {
        self.wait_for(|state| state.released > 0 || state.end.is_some()).await
    }

    /// Waits for the verified end.
    ///
    /// # Errors
    /// What the writer failed with.
    pub async fn complete(&self) -> Result<u64, Error> {
        self.wait_for(|state| state.end.is_some()).await?;
        Ok(self.written())
    }

    async fn wait_for(&self, until: impl Fn(&State) -> bool) -> Result<(), Error> {
        let mut states = self.shared.state.subscribe();
        let state = states.wait_for(|state| until(state)).await.map_err(|_| abandoned())?;
        match &state.end {
            Some(Err(error)) => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// Streams `range` as it becomes available; fails, and so cuts the connection, when the writer
    /// does. An end beyond the file is the file's end.
    pub fn stream(&self, range: Range<u64>) -> ByteStream {
        let states = self.shared.state.subscribe();
        let share = ReadShare::take();
        let (position, end) = (range.start, range.end);
        let reader = Reader { spool: self.clone(), states, position, end, share };
        futures::stream::unfold(reader, Reader::next).boxed()
    }

    /// Reads at `position`, blocking; used on bytes that were written a moment ago and so are in
    /// the page cache: a hop to a blocking thread would cost more than the copy.
    pub fn read_at(&self, position: u64, length: usize) -> Result<Bytes, Error> {
        let mut buffer = Buffer::new(length);
        let file = self.shared.file.as_file();
        file.read_exact_at(buffer.as_mut(), position)
            .map_err(|error| self.shared.spools.io("read a spool", &error))?;
        Ok(buffer.filled(length))
    }

    /// The open file.
    pub fn file(&self) -> &File {
        self.shared.file.as_file()
    }
}

impl fmt::Debug for Spool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spool({} bytes written)", self.written())
    }
}

struct Reader {
    spool: Spool,
    states: watch::Receiver<State>,
    position: u64,
    end: u64,
    share: ReadShare,
}

impl Reader {
    async fn next(mut self) -> Option<(Result<Bytes, Error>, Self)> {
        let position = self.position;
        let waited = self
            .states
            .wait_for(|state| state.released > position || state.end.is_some())
            .await
            .map(|state| (state.released.min(self.end), state.end.clone()));
        let (available, end) = match waited {
            Ok(seen) => seen,
            Err(_) => (0, Some(Err(abandoned()))),
        };
        if available > position {
            let length = READ_CHUNK_BYTES
                .min(self.share.chunk_bytes())
                .min(usize::try_from(available - position).ok()?);
            let chunk = self.spool.read_at(position, length);
            self.position += length as u64;
            return Some((chunk, self));
        }
        match end {
            Some(Err(error)) => {
                // The stream ends after its error: nothing is left to read.
                self.end = self.position;
                self.states = ended();
                Some((Err(error), self))
            }
            _ => None,
        }
    }
}

/// The states of a spool that has ended well with nothing in it.
fn ended() -> watch::Receiver<State> {
    let end = Some(Ok(()));
    let state = State { written: 0, released: 0, permitted: true, hold_back: 0, length: None, end };
    watch::Sender::new(state).subscribe()
}

fn abandoned() -> Error {
    Error::new(ErrorKind::Internal, "the fetch was abandoned; ask again")
}

/// The one writer of a spool. Dropping it without [`SpoolWriter::finish`] fails the spool.
#[derive(Debug)]
pub struct SpoolWriter {
    spool: Spool,
    ended: bool,
}

impl SpoolWriter {
    /// Appends; blocking, so call it from a blocking thread.
    ///
    /// # Errors
    /// `Storage` when the disk refuses or the spools' limit is reached.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let shared = &self.spool.shared;
        let spools = &shared.spools;
        let length = bytes.len() as u64;
        let used = spools.bytes_used.fetch_add(length, Ordering::Relaxed) + length;
        if used > spools.bytes_max {
            spools.bytes_used.fetch_sub(length, Ordering::Relaxed);
            let text = format!(
                "the spools in {} are full ({} bytes): wait, or raise MaxSpoolBytes",
                spools.directory.display(),
                spools.bytes_max
            );
            // Its head has come from upstream.
            return Err(Error::new(ErrorKind::Overloaded, text).forwarded());
        }
        let mut file = shared.file.as_file();
        if let Err(error) = file.write_all(bytes) {
            spools.bytes_used.fetch_sub(length, Ordering::Relaxed);
            return Err(spools.io("write a spool", &error));
        }
        let gauge = spools.telemetry.metrics.spool_bytes.get(());
        gauge.add(i64::try_from(length).unwrap_or(i64::MAX));
        shared.state.send_modify(|state| {
            state.written += length;
            state.release();
        });
        Ok(())
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.spool.written()
    }

    /// A reading handle.
    pub fn spool(&self) -> &Spool {
        &self.spool
    }

    /// The checks agree: everything is released.
    pub fn finish(mut self) {
        self.end(Ok(()));
    }

    /// The fetch failed: readers get `error`, or are cut off where their body has begun.
    pub fn fail(mut self, error: Error) {
        self.end(Err(error));
    }

    fn end(&mut self, end: Result<(), Error>) {
        self.ended = true;
        self.spool.shared.state.send_modify(|state| state.end(end));
    }
}

impl Drop for SpoolWriter {
    fn drop(&mut self) {
        if !self.ended {
            self.end(Err(abandoned()));
        }
    }
}

#[cfg(test)]
mod tests;
