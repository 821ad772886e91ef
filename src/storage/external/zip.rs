//! A zip behind the server, read in parts.
//!
//! The answer that told its length is kept open for the first reader of the whole, so that a hit costs one
//! request. A part is asked for with `Range`; a server that knows none sends everything, and what was not
//! asked for is passed over. A zip without a length is copied to a file that has no name, since a reader
//! must know the length before the first byte; so is one whose end could not be seen before.

use std::fs::File;
use std::io::Write as _;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use dipylon_middleware::blob::{Blob, ByteStream, OpenRange};
use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_middleware::storage_io::note_progress;
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use dipylon_protocol::zip::MAX_ZIP_BYTES;
use futures::{StreamExt as _, TryStreamExt as _};
use http::StatusCode;
use http::header::CONTENT_RANGE;
use parking_lot::Mutex;

use super::super::zip_end::{MAX_TAIL_BYTES, directory_start, ends_as_a_zip};
use super::Engine;
use super::link::{Link, Reply};
use super::read::reading;
use super::room::Taken;
use super::wire::version_path;

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

/// What the end of a zip says.
pub(super) enum End {
    /// There is no zip.
    Absent,
    /// It was cut, or is no zip.
    Torn,
    /// It has its end, and so many bytes.
    Whole(u64),
    /// The server knows no ranges, and sends all of it.
    Unasked(Reply),
}

impl Engine {
    /// Asks for the end of a zip.
    pub(super) async fn end_of_zip(
        &self,
        module: &ModulePath,
        version: &Version,
    ) -> Result<End, Error> {
        let (what, path) = names(module, version);
        let tail = format!("bytes=-{MAX_TAIL_BYTES}");
        let asked = self.link.get(&what, &path, Some(&tail)).await;
        let reply = asked.map_err(|failure| self.link.failed(&what, &path, &failure))?;
        match reply.status {
            StatusCode::OK => return Ok(End::Unasked(reply)),
            StatusCode::PARTIAL_CONTENT => {}
            // It has no bytes, or fewer than were asked for and a server that minds; some know no suffixes.
            StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::BAD_REQUEST => {
                let whole = self.begin(module, version, FileKind::Zip).await?;
                return Ok(whole.map_or(End::Absent, End::Unasked));
            }
            _ if reply.is_absent() => return Ok(End::Absent),
            _ => return Err(reply.refusal().await),
        }
        let sent = reply.header(CONTENT_RANGE).unwrap_or("nothing").to_owned();
        let tail = reply.bytes(MAX_TAIL_BYTES).await?;
        let Some((start, length)) = tail_of(&sent, tail.len() as u64) else {
            let said = format!("the last {MAX_TAIL_BYTES} bytes were asked for, and {sent:?} sent");
            return Err(self.link.wrong(&what, &path, &said));
        };
        Ok(match directory_start(&tail, start) {
            Some(_) => End::Whole(length),
            None => End::Torn,
        })
    }

    /// A zip of that length, whose answer may have begun.
    pub(super) fn stored_zip(
        &self,
        module: &ModulePath,
        version: &Version,
        length: u64,
        begun: Option<Reply>,
    ) -> Result<Blob, Error> {
        if length > MAX_ZIP_BYTES {
            return Err(self.too_large(module, version));
        }
        let (what, path) = names(module, version);
        let first = Mutex::new(begun.map(Reply::stream));
        let zip = StoredZip { link: self.link.clone(), what, path, length, first };
        Ok(Blob::remote(Arc::new(zip), length))
    }

    /// Copies a zip to a file, to count it and to see its end; `None` where it has none. That may take a while,
    /// and is waited for as long as bytes come.
    pub(super) async fn counted(
        &self,
        module: &ModulePath,
        version: &Version,
        reply: Reply,
    ) -> Result<Option<Blob>, Error> {
        let wrong = |said: &str| self.wrong_zip(module, version, said);
        if reply.length.is_some_and(|length| length > MAX_ZIP_BYTES) {
            return Err(self.too_large(module, version));
        }
        let mut room = self.copies.take(reply.length.unwrap_or(0))?;
        let unusable = |error: std::io::Error| wrong(&format!("no file for the zip: {error}"));
        let mut file = tempfile::tempfile().map_err(unusable)?;
        let ends_by_close = reply.ends_by_close;
        let (mut length, mut stream) = (0, reply.stream());
        while let Some(chunk) = stream.next().await.transpose()? {
            length += chunk.len() as u64;
            if length > MAX_ZIP_BYTES {
                return Err(self.too_large(module, version));
            }
            room.grow_to(length)?;
            // Nobody has an answer before the last byte, but the server is at work.
            note_progress();
            let written = blocking(move || file.write_all(&chunk).map(|()| file)).await;
            file = written.map_err(unusable)?;
        }
        let looked = blocking(move || Ok((ends_as_a_zip(&file, length)?, file))).await;
        match looked.map_err(unusable)? {
            (true, file) => {
                let counted = Counted { file: Arc::new(file), _room: room };
                Ok(Some(Blob::remote(Arc::new(counted), length)))
            }
            // The zip may well be whole at the server.
            (false, _) if ends_by_close => Err(wrong("the connection ended before the zip did")),
            (false, _) => Ok(None),
        }
    }

    pub(super) fn wrong_zip(&self, module: &ModulePath, version: &Version, said: &str) -> Error {
        let (what, path) = names(module, version);
        self.link.wrong(&what, &path, said)
    }

    fn too_large(&self, module: &ModulePath, version: &Version) -> Error {
        let said = format!("the zip is larger than {MAX_ZIP_BYTES} bytes");
        self.wrong_zip(module, version, &said)
    }
}

/// The operation and the path of reading a zip.
fn names(module: &ModulePath, version: &Version) -> (String, String) {
    let path = version_path(module, version, FileKind::Zip.as_str());
    (reading(module, version, FileKind::Zip), path)
}

/// Where `bytes` bytes begin that `Content-Range` calls the last ones, and the length of all.
fn tail_of(content_range: &str, bytes: u64) -> Option<(u64, u64)> {
    let (part, length) = content_range.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = part.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let length = length.parse().ok()?;
    (last.checked_add(1)? == length && first.checked_add(bytes)? == length)
        .then_some((first, length))
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
        let part = format!("bytes={}-{}", range.start, range.end - 1);
        let asked = self.link.get(what, path, (!is_whole).then_some(&part)).await;
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

/// A zip that was copied to a file.
struct Counted {
    file: Arc<File>,
    _room: Taken,
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
