//! A zip behind the server, read in parts.
//!
//! The answer that told its length is kept open for the first reader of the whole, so that a hit costs one
//! request. A part is asked for with `Range`; a server that knows none sends everything, and what was not
//! asked for is passed over. A zip without a length is copied to a file that has no name, since a reader
//! must know the length before the first byte.

use std::fs::File;
use std::io::Write as _;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use dipylon_middleware::blob::{Blob, ByteStream, OpenRange};
use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_protocol::zip::MAX_ZIP_BYTES;
use futures::{StreamExt as _, TryStreamExt as _};
use http::StatusCode;
use http::header::CONTENT_RANGE;
use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;

use super::Engine;
use super::link::{Link, Reply};

/// Zips without a length that are held in files at once; a caller beyond that waits.
pub const MAX_COUNTED_ZIPS: usize = 8;
/// Bytes of such a file read at a time.
const READ_BYTES: usize = 64 * 1024;

/// The zip of a version, where the server says its length.
struct StoredZip {
    link: Link,
    what: String,
    path: String,
    length: u64,
    first: Mutex<Option<ByteStream>>,
}

impl Engine {
    /// The zip whose answer has begun.
    pub(super) async fn zip(&self, what: &str, path: &str, reply: Reply) -> Result<Blob, Error> {
        let too_large = format!("the zip is larger than {MAX_ZIP_BYTES} bytes");
        match reply.length {
            Some(length) if length > MAX_ZIP_BYTES => Err(self.link.wrong(what, path, &too_large)),
            Some(length) => {
                let zip = StoredZip {
                    link: self.link.clone(),
                    what: what.to_owned(),
                    path: path.to_owned(),
                    length,
                    first: Mutex::new(Some(reply.stream())),
                };
                Ok(Blob::remote(Arc::new(zip), length))
            }
            None => self.counted(what, path, &too_large, reply).await,
        }
    }

    async fn counted(
        &self,
        what: &str,
        path: &str,
        too_large: &str,
        reply: Reply,
    ) -> Result<Blob, Error> {
        let place = Arc::clone(&self.counted).acquire_owned().await;
        let place = place.map_err(|error| self.link.wrong(what, path, &error.to_string()))?;
        let unwritable = |error: std::io::Error| {
            self.link.wrong(what, path, &format!("no file for a zip of unknown length: {error}"))
        };
        let mut file = tempfile::tempfile().map_err(unwritable)?;
        let (mut length, mut stream) = (0, reply.stream());
        while let Some(chunk) = stream.next().await.transpose()? {
            length += chunk.len() as u64;
            if length > MAX_ZIP_BYTES {
                return Err(self.link.wrong(what, path, too_large));
            }
            file = blocking(move || file.write_all(&chunk).map(|()| file))
                .await
                .map_err(unwritable)?;
        }
        let counted = Counted { file: Arc::new(file), _place: place };
        Ok(Blob::remote(Arc::new(counted), length))
    }
}

impl OpenRange for StoredZip {
    fn open(&self, range: Range<u64>) -> ByteStream {
        if range.is_empty() {
            return futures::stream::empty().boxed();
        }
        let is_whole = range == (0..self.length);
        if is_whole && let Some(first) = self.first.lock().take() {
            return self.exactly(first, self.length);
        }
        let again = self.again();
        let opening = async move { again.ask(range).await };
        futures::stream::once(opening).try_flatten().boxed()
    }
}

impl StoredZip {
    /// The same without the first answer.
    fn again(&self) -> Self {
        let (link, what, path) = (self.link.clone(), self.what.clone(), self.path.clone());
        Self { link, what, path, length: self.length, first: Mutex::new(None) }
    }

    async fn ask(&self, range: Range<u64>) -> Result<ByteStream, Error> {
        let (what, path) = (&self.what, &self.path);
        let is_whole = range == (0..self.length);
        let asked = self.link.get(what, path, (!is_whole).then_some(&range)).await;
        let reply = asked.map_err(|failure| self.link.failed(what, path, &failure))?;
        let (wanted, skip) = match reply.status {
            StatusCode::PARTIAL_CONTENT => {
                let part = format!("bytes {}-{}/{}", range.start, range.end - 1, self.length);
                let sent = reply.header(CONTENT_RANGE).unwrap_or("nothing").to_owned();
                if sent != part {
                    let said = format!("{part:?} was asked for, and {sent:?} sent");
                    return Err(self.link.wrong(what, path, &said));
                }
                (range.end - range.start, 0)
            }
            StatusCode::OK => (range.end - range.start, range.start),
            _ => return Err(reply.refusal().await),
        };
        if skip > 0 || reply.status == StatusCode::OK {
            let told = reply.length.unwrap_or(self.length);
            if told != self.length {
                let said = format!("the zip had {} bytes and has {told} now", self.length);
                return Err(self.link.wrong(what, path, &said));
            }
        }
        Ok(self.exactly(skipping(reply.stream(), skip), wanted))
    }

    /// Passes `bytes` bytes on, and fails where there are fewer.
    fn exactly(&self, stream: ByteStream, bytes: u64) -> ByteStream {
        let short = self.link.wrong(&self.what, &self.path, "the zip is shorter than announced");
        let state = Some((stream, bytes, short));
        futures::stream::unfold(state, |state| async move {
            let (mut stream, left, short) = state?;
            if left == 0 {
                return None;
            }
            match stream.next().await {
                Some(Ok(mut chunk)) => {
                    chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                    let left = left - chunk.len() as u64;
                    Some((Ok(chunk), Some((stream, left, short))))
                }
                Some(Err(error)) => Some((Err(error), None)),
                None => Some((Err(short), None)),
            }
        })
        .boxed()
    }
}

/// Passes over the first `skip` bytes.
fn skipping(stream: ByteStream, skip: u64) -> ByteStream {
    let mut left = skip;
    stream
        .try_filter_map(move |mut chunk: Bytes| {
            let over = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
            left -= over as u64;
            let rest = chunk.split_off(over);
            std::future::ready(Ok((!rest.is_empty()).then_some(rest)))
        })
        .boxed()
}

/// A zip that came without a length, in a file.
struct Counted {
    file: Arc<File>,
    _place: OwnedSemaphorePermit,
}

impl OpenRange for Counted {
    fn open(&self, range: Range<u64>) -> ByteStream {
        let state = (Arc::clone(&self.file), range);
        futures::stream::unfold(state, |(file, range)| async move {
            let left = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
            if left == 0 {
                return None;
            }
            let (reading, start) = (Arc::clone(&file), range.start);
            let read = blocking(move || {
                let mut bytes = vec![0; left.min(READ_BYTES)];
                reading.read_exact_at(&mut bytes, start)?;
                Ok(Bytes::from(bytes))
            });
            match read.await {
                Ok(bytes) => {
                    let next = range.start + bytes.len() as u64;
                    Some((Ok(bytes), (file, next..range.end)))
                }
                Err(error) => {
                    let text = format!("external storage cannot read a copied zip: {error}");
                    // Nothing follows an error.
                    Some((Err(Error::new(ErrorKind::Storage, text)), (file, 0..0)))
                }
            }
        })
        .boxed()
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(std::io::Error::other(error)))
}
