//! The one body type of every answer.

mod buffers;
mod file;

pub(crate) use buffers::Buffer;
pub use file::read_cached;

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::StreamExt as _;
use http_body::{Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};

use crate::blob::{Blob, BlobSource, ByteStream};
use crate::error::Error;

/// Body of an answer. An error cuts the connection: the client sees a short body.
pub type Body = UnsyncBoxBody<Bytes, Error>;

/// What all bodies of this process that are read from files may hold in memory together, as long as
/// there are fewer than `READ_BYTES_MAX / CHUNK_BYTES_MIN`: memory is the process's, so this is too.
const READ_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A chunk at least: below it the calls cost more than the copying. A connection that waits for its client holds some
/// chunks more than the server's own bound, so this is most of what a thousand slow clients take.
const CHUNK_BYTES_MIN: usize = 8 * 1024;
/// A chunk at most: above it nothing is gained.
const CHUNK_BYTES_MAX: usize = 256 * 1024;
/// Chunks in memory for each body: one may be read ahead while one is sent, where there are few bodies.
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

    /// Whether there is room for a chunk beside the one that is sent: not where chunks cannot become less any more.
    pub fn reads_ahead(&self) -> bool {
        self.chunk_bytes() > CHUNK_BYTES_MIN
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
        BlobSource::File(file) => stream(file::stream(Arc::clone(file), range)),
        BlobSource::Remote(source) => stream(source.open(range)),
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
