//! A near zip on its way to a reader, a part at a time.
//!
//! A disk may fail after it has opened a file: a bad block, a mount that is gone, somebody who truncates
//! the copy. Then the copy is forgotten, and the far store sends the rest from the byte where it broke off:
//! a version never changes, so the two fit together.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use dipylon_middleware::blob::{ByteStream, OpenRange};
use dipylon_middleware::body::ReadShare;
use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use futures::StreamExt as _;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::near::{NEAR_PATIENCE, Near};
use super::part;
use super::shelf::Copied;
use super::watched::Watched;

/// What the bytes of a copy are read from; blocks.
pub(super) trait ReadAt: Send + Sync + 'static {
    /// Fills `buffer` with the bytes from `offset` on.
    ///
    /// # Errors
    /// Those of the file system; `UnexpectedEof` where there are fewer bytes.
    fn fill_from(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

impl ReadAt for File {
    fn fill_from(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }
}

/// A zip that is near.
pub(super) struct NearZip {
    pub(super) near: Arc<Near>,
    pub(super) file: Arc<dyn ReadAt>,
    pub(super) copy: Copied,
    pub(super) rest: Rest,
}

impl OpenRange for NearZip {
    fn open(&self, range: Range<u64>) -> ByteStream {
        let mut parts = Parts {
            near: Arc::clone(&self.near),
            file: Arc::clone(&self.file),
            copy: self.copy,
            rest: self.rest.clone(),
            range,
            share: ReadShare::take(),
            ahead: None,
        };
        parts.read_ahead();
        futures::stream::unfold(Reading::Near(parts), Reading::next).boxed()
    }
}

/// Where the far store has the same zip.
#[derive(Clone)]
pub(super) struct Rest {
    pub(super) far: Arc<Watched>,
    pub(super) module: ModulePath,
    pub(super) version: Version,
}

impl Rest {
    /// A part of the zip, which has `length` bytes.
    async fn open(&self, range: Range<u64>, length: u64) -> Result<ByteStream, Error> {
        let Self { far, module, version } = self;
        let found = far.seen(far.store.read(module, version, FileKind::Zip).await)?;
        match found.filter(|blob| blob.length() == length) {
            Some(blob) => Ok(part(&blob, range)),
            None => {
                let kind = far.store.kind();
                let text = format!(
                    "the near tier lost the zip of {module}@{version} while it was read, and \
                     {kind} storage does not have it as it was"
                );
                Err(Error::new(ErrorKind::Storage, text))
            }
        }
    }
}

/// A reading, by where its next bytes come from.
enum Reading {
    Near(Parts),
    Far(ByteStream),
    Failed,
}

impl Reading {
    async fn next(self) -> Option<(Result<Bytes, Error>, Self)> {
        let mut far = match self {
            Self::Near(mut parts) => match parts.next().await? {
                Ok(bytes) => return Some((Ok(bytes), Self::Near(parts))),
                Err(error) => {
                    parts.near.broke_off(parts.copy, &error);
                    match parts.rest.open(parts.range, parts.copy.length).await {
                        Ok(far) => far,
                        Err(error) => return Some((Err(error), Self::Failed)),
                    }
                }
            },
            Self::Far(far) => far,
            Self::Failed => return None,
        };
        let chunk = far.next().await?;
        Some((chunk, Self::Far(far)))
    }
}

/// A part that is being read, and until when it is waited for.
type Ahead = (JoinHandle<io::Result<Bytes>>, Instant);

/// Reads a copy with one chunk ahead. Positional reads, so that many readers share one descriptor.
struct Parts {
    near: Arc<Near>,
    file: Arc<dyn ReadAt>,
    copy: Copied,
    rest: Rest,
    /// What is still to be sent.
    range: Range<u64>,
    share: ReadShare,
    ahead: Option<Ahead>,
}

impl Parts {
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        if self.range.is_empty() {
            return None;
        }
        let read = self.read().await;
        if let Ok(bytes) = &read {
            self.range.start += bytes.len() as u64;
            self.read_ahead();
        }
        Some(read)
    }

    async fn read(&mut self) -> io::Result<Bytes> {
        let (task, deadline) = match self.ahead.take() {
            Some(ahead) => ahead,
            None => {
                let deadline = Instant::now() + NEAR_PATIENCE;
                let place = Arc::clone(&self.near.parts).acquire_owned();
                let place = timeout_at(deadline, place).await.map_err(|_| no_place())?;
                self.begin(place.map_err(io::Error::other)?)
            }
        };
        match timeout_at(deadline, task).await {
            Ok(read) => read.map_err(io::Error::other)?,
            Err(_) => {
                let text = format!("no answer within {NEAR_PATIENCE:?}");
                Err(io::Error::new(io::ErrorKind::TimedOut, text))
            }
        }
    }

    /// Reads the next chunk while the one before is sent, where there is a place for it.
    fn read_ahead(&mut self) {
        if self.range.is_empty() {
            return;
        }
        if let Ok(place) = Arc::clone(&self.near.parts).try_acquire_owned() {
            self.ahead = Some(self.begin(place));
        }
    }

    fn begin(&self, place: OwnedSemaphorePermit) -> Ahead {
        let left = usize::try_from(self.range.end - self.range.start).unwrap_or(usize::MAX);
        let length = left.min(self.share.chunk_bytes());
        let (file, start) = (Arc::clone(&self.file), self.range.start);
        // Made here, not on the blocking thread: memory goes back to the thread it came from.
        let mut buffer = BytesMut::zeroed(length);
        let task = tokio::task::spawn_blocking(move || {
            // A read that hangs keeps its place, although nobody waits for it any more.
            let _place = place;
            file.fill_from(&mut buffer, start)?;
            Ok(buffer.freeze())
        });
        (task, Instant::now() + NEAR_PATIENCE)
    }
}

/// All places are taken by readers that may be slow or hang: no reason to think ill of this copy.
fn no_place() -> io::Error {
    io::Error::new(io::ErrorKind::WouldBlock, "too many parts of copies are being read")
}
