//! The one body type of every answer.

use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::sync::Arc;
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

/// Bytes of a stored file read at a time; one chunk is read ahead while one is sent.
const FILE_CHUNK_BYTES: usize = 128 * 1024;

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
    let ahead = read_chunk(&file, &range);
    futures::stream::unfold((file, range, ahead), |(file, mut range, ahead)| async move {
        let chunk = match ahead?.await {
            Ok(chunk) => chunk,
            Err(error) => Err(std::io::Error::other(error)),
        };
        match chunk {
            Ok(bytes) => {
                range.start += bytes.len() as u64;
                let ahead = read_chunk(&file, &range);
                Some((Ok(bytes), (file, range, ahead)))
            }
            Err(error) => {
                let text = format!("cannot read a stored file: {error}");
                Some((Err(Error::new(ErrorKind::Storage, text)), (file, range, None)))
            }
        }
    })
    .boxed()
}

type Reading = JoinHandle<std::io::Result<Bytes>>;

fn read_chunk(file: &Arc<std::fs::File>, range: &Range<u64>) -> Option<Reading> {
    let left = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
    if left == 0 {
        return None;
    }
    let (file, start, length) = (Arc::clone(file), range.start, left.min(FILE_CHUNK_BYTES));
    Some(tokio::task::spawn_blocking(move || {
        let mut buffer = BytesMut::zeroed(length);
        file.read_exact_at(&mut buffer, start)?;
        Ok(buffer.freeze())
    }))
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
