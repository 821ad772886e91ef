//! The one body type of every answer.

use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use http_body::{Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use tokio::task::JoinHandle;

use crate::blob::{Blob, BlobSource, ByteStream};
use crate::error::{Error, ErrorKind};

/// Body of an answer. An error cuts the connection: the client sees a short body.
pub type Body = UnsyncBoxBody<Bytes, Error>;

/// What all bodies of this process that are read from files may hold in memory together, as long as
/// there are fewer than `READ_BYTES_MAX / CHUNK_BYTES_MIN`: memory is the process's, so this is too.
const READ_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A chunk at least: below it the calls cost more than the copying.
const CHUNK_BYTES_MIN: usize = 16 * 1024;
/// A chunk at most: above it nothing is gained.
const CHUNK_BYTES_MAX: usize = 256 * 1024;
/// Chunks in memory for each body: one is read ahead while one is sent.
const CHUNKS_PER_BODY: usize = 2;

/// Bodies that are being read from files now.
static READING: AtomicUsize = AtomicUsize::new(0);

/// Counts one body as being read, and says how much it may read at a time.
#[derive(Debug)]
pub struct ReadShare(());

impl ReadShare {
    /// Takes a share until it is dropped.
    pub fn take() -> Self {
        READING.fetch_add(1, Ordering::Relaxed);
        Self(())
    }

    /// Bytes of the next chunk: less, the more bodies there are.
    pub fn chunk_bytes(&self) -> usize {
        let bodies = READING.load(Ordering::Relaxed).max(1);
        (READ_BYTES_MAX / CHUNKS_PER_BODY / bodies).clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX)
    }
}

impl Drop for ReadShare {
    fn drop(&mut self) {
        READING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// No body.
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body in memory.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body that arrives in chunks.
pub fn stream(chunks: ByteStream) -> Body {
    StreamBody::new(chunks.map(|chunk| chunk.map(Frame::data))).boxed_unsync()
}

/// A part of a stored file.
pub fn blob(blob: &Blob, range: Range<u64>) -> Body {
    match blob.source() {
        BlobSource::Bytes(bytes) => {
            let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
            full(bytes.slice(at(range.start)..at(range.end)))
        }
        BlobSource::File(file) => stream(file_stream(Arc::clone(file), range)),
        BlobSource::Remote(source) => stream(source.open(range)),
    }
}

/// Reads a file with one chunk ahead. Positional reads, so that many bodies share one descriptor.
fn file_stream(file: Arc<std::fs::File>, range: Range<u64>) -> ByteStream {
    let mut reading = FileReading { file, range, share: ReadShare::take(), ahead: None };
    reading.read_ahead();
    futures::stream::unfold(reading, FileReading::next).boxed()
}

struct FileReading {
    file: Arc<std::fs::File>,
    range: Range<u64>,
    share: ReadShare,
    ahead: Option<JoinHandle<std::io::Result<Bytes>>>,
}

impl FileReading {
    async fn next(mut self) -> Option<(Result<Bytes, Error>, Self)> {
        let chunk = match self.ahead.take()?.await {
            Ok(chunk) => chunk,
            Err(error) => Err(std::io::Error::other(error)),
        };
        match chunk {
            Ok(bytes) => {
                self.range.start += bytes.len() as u64;
                self.read_ahead();
                Some((Ok(bytes), self))
            }
            Err(error) => {
                let text = format!("cannot read a stored file: {error}");
                Some((Err(Error::new(ErrorKind::Storage, text)), self))
            }
        }
    }

    fn read_ahead(&mut self) {
        let left = usize::try_from(self.range.end.saturating_sub(self.range.start));
        let length = left.unwrap_or(usize::MAX).min(self.share.chunk_bytes());
        if length == 0 {
            return;
        }
        let (file, start) = (Arc::clone(&self.file), self.range.start);
        // Made here, not on the blocking thread: memory goes back to the thread it came from.
        let mut buffer = BytesMut::zeroed(length);
        self.ahead = Some(tokio::task::spawn_blocking(move || {
            file.read_exact_at(&mut buffer, start)?;
            Ok(buffer.freeze())
        }));
    }
}

/// A body that keeps something (a place, a guard) until it has ended or is dropped.
pub fn holding<T: Send + Unpin + 'static>(inner: Body, held: T) -> Body {
    Holding { inner, _held: held }.boxed_unsync()
}

struct Holding<T> {
    inner: Body,
    _held: T,
}

impl<T: Unpin> http_body::Body for Holding<T> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
