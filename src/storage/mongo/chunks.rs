//! The bytes of a zip in GridFS, in and out in constant memory.
//!
//! The driver's own bucket can neither begin in the middle of a file nor write the chunks of a file
//! without publishing it at their end. A chunk that is missing or has another length than it should is
//! an error, so no wrong byte is ever passed on.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use dipylon_middleware::blob::{ByteStream, OpenRange};
use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_middleware::spool::Spool;
use futures::StreamExt as _;
use mongodb::Cursor;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::raw::RawBsonRef;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, RawDocument, RawDocumentBuf, doc, rawdoc};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::failure::Failure;
use super::layout::{CHUNK_BYTES, ZipFile, key_of, one_of};
use super::place::{Place, call};

/// Chunks of Athens's size sent with one request: 2 MiB.
const BATCH_CHUNKS: u32 = 8;
/// Batches of all zips on their way in, held in memory at once: 8 MiB.
pub const MAX_BATCHES_HELD: usize = 4;
/// Chunks of Athens's size that an answer brings: what one download holds, 1 MiB.
const READ_CHUNKS: u32 = 4;
/// Bytes of the small zips that one question brings whole, and how many they are at most.
const HELD_BYTES: u64 = 4 << 20;
const HELD_ZIPS: usize = 1_000;
/// Bytes of such zips that all lists hold at once, and in which units they are counted. While an answer is read
/// its bytes are there twice.
const HELD_BYTES_OF_ALL: usize = 16 << 20;
const HELD_UNIT_BYTES: usize = 1024;

/// Why bytes of a zip cannot be had.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The server could not be asked.
    Failed(Failure),
    /// They are not there, or not as many as there should be.
    Damaged(String),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Reads and writes the chunks of zips.
#[derive(Clone)]
pub(super) struct Chunks {
    place: Place,
    batches: Arc<Semaphore>,
    held: Arc<Semaphore>,
}

/// Small zips, whole and in memory.
pub(super) struct Held {
    zips: HashMap<String, Bytes>,
    _room: OwnedSemaphorePermit,
}

impl Held {
    /// `None` where a zip is not whole.
    pub(super) fn get(&self, file: &ZipFile) -> Option<&Bytes> {
        self.zips.get(&key_of(&file.id))
    }
}

/// How many of `files`, from the first on, one question may bring; none where the first is no small one.
pub(super) fn holdable<'f>(files: impl Iterator<Item = &'f ZipFile>) -> usize {
    let mut bytes = 0;
    let fits = |file: &&ZipFile| {
        bytes += file.length;
        file.chunks() == 1 && bytes <= HELD_BYTES
    };
    files.take(HELD_ZIPS).take_while(fits).count()
}

impl Chunks {
    pub(super) fn new(place: &Place) -> Self {
        let batches = Arc::new(Semaphore::new(MAX_BATCHES_HELD));
        let held = Arc::new(Semaphore::new(HELD_BYTES_OF_ALL / HELD_UNIT_BYTES));
        Self { place: place.clone(), batches, held }
    }

    /// Brings as many small zips as [`holdable`] allows with one question. A server without an index for it
    /// goes through all chunks there are for each question, so one for all is as dear as one for each.
    pub(super) async fn hold(&self, files: &[&ZipFile]) -> Result<Held, Failure> {
        let bytes: u64 = files.iter().map(|file| file.length).sum();
        let units = u32::try_from(bytes.div_ceil(HELD_UNIT_BYTES as u64)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.held).acquire_many_owned(units).await;
        let room = room.expect("it is never closed");
        let mut held = Held { zips: HashMap::new(), _room: room };
        let lengths: HashMap<String, u64> =
            files.iter().map(|file| (key_of(&file.id), file.length)).collect();
        let ids = files.iter().map(|file| file.id.clone()).collect();
        let find = self.place.chunks.find(doc! { "files_id": one_of(ids) });
        let find = find.projection(doc! { "_id": 0, "files_id": 1, "n": 1, "data": 1 });
        let mut cursor = call(find).await?;
        let (mut met, mut bytes) = (HashSet::new(), 0);
        while call(cursor.advance()).await? {
            let chunk = cursor.current();
            bytes += chunk.as_bytes().len() as u64;
            if bytes > 2 * HELD_BYTES {
                // Files have chunks that their records say nothing of: each is looked into by itself.
                held.zips.clear();
                return Ok(held);
            }
            let Ok(Some(id)) = chunk.get("files_id") else { continue };
            let Ok(id) = Bson::try_from(id).map(|id| key_of(&id)) else { continue };
            let length = lengths.get(&id).copied().unwrap_or_default();
            match data_of(chunk, 0, length) {
                Ok(data) if met.insert(id.clone()) => {
                    held.zips.insert(id, Bytes::copy_from_slice(data));
                }
                _ => {
                    held.zips.remove(&id);
                    met.insert(id);
                }
            }
        }
        Ok(held)
    }

    /// Writes all chunks of a complete zip under the id of a file that has no record yet.
    pub(super) async fn write(&self, id: ObjectId, zip: &Spool) -> Result<(), Error> {
        let (length, mut at, mut number) = (zip.written(), 0, 0_i32);
        while at < length {
            let _room = self.batches.acquire().await.map_err(|_| closed())?;
            let batch_bytes = u64::from(BATCH_CHUNKS * CHUNK_BYTES).min(length - at);
            let bytes = read_spool(zip, at, batch_bytes).await?;
            let batch: Vec<RawDocumentBuf> = chunk_documents(id, number, &bytes).collect();
            // A spool is bounded far below what 31 bits count.
            number = number.saturating_add(i32::try_from(batch.len()).unwrap_or(i32::MAX));
            let sent = call(self.place.chunks.insert_many(batch)).await;
            sent.map_err(|failure| self.place.failed("write chunks of a zip", &failure))?;
            at += batch_bytes;
        }
        Ok(())
    }

    /// How many chunks of a file are there.
    pub(super) async fn count(&self, id: &Bson) -> Result<u64, Failure> {
        call(self.place.chunks.count_documents(doc! { "files_id": id })).await
    }

    /// Removes a file: its record first, so that nobody begins to read what goes away.
    pub(super) async fn remove(&self, id: &Bson) -> Result<(), Failure> {
        call(self.place.files.delete_one(doc! { "_id": id })).await?;
        call(self.place.chunks.delete_many(doc! { "files_id": id })).await?;
        Ok(())
    }

    /// A part of a zip that is small enough for memory.
    pub(super) async fn read(&self, file: &ZipFile, range: Range<u64>) -> Result<Bytes, Trouble> {
        let mut reader = Reader::new(self.clone(), file.clone(), range);
        let mut bytes = BytesMut::new();
        while let Some(chunk) = reader.next().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.freeze())
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Internal, "the room for chunks of zips was closed")
}

fn chunk_documents(id: ObjectId, first: i32, bytes: &[u8]) -> impl Iterator<Item = RawDocumentBuf> {
    let chunk_bytes = usize::try_from(CHUNK_BYTES).unwrap_or(usize::MAX);
    bytes.chunks(chunk_bytes).zip(first..).map(move |(data, number)| {
        let data = Binary { subtype: BinarySubtype::Generic, bytes: data.to_vec() };
        rawdoc! { "_id": ObjectId::new(), "files_id": id, "n": number, "data": data }
    })
}

/// Reads a part of a finished spool on a blocking thread.
async fn read_spool(zip: &Spool, start: u64, length: u64) -> Result<Bytes, Error> {
    let zip = zip.clone();
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let read = tokio::task::spawn_blocking(move || zip.read_at(start, length)).await;
    read.unwrap_or_else(|error| {
        Err(Error::new(ErrorKind::Internal, format!("reading a spool was cut off: {error}")))
    })
}

/// A zip that is read in parts, for answers.
pub(super) struct StoredZip {
    pub(super) chunks: Chunks,
    pub(super) file: ZipFile,
    /// `module@version`, for messages.
    pub(super) name: String,
}

impl OpenRange for StoredZip {
    fn open(&self, range: Range<u64>) -> ByteStream {
        let place = self.chunks.place.clone();
        let what = format!("read the zip of {}", self.name);
        let reader = Reader::new(self.chunks.clone(), self.file.clone(), range);
        let told = move |trouble| match trouble {
            Trouble::Failed(failure) => place.failed(&what, &failure),
            Trouble::Damaged(why) => place.wrong(&format!("is damage: cannot {what}: {why}")),
        };
        let next = |mut reader: Reader| async move {
            let chunk = reader.next().await?;
            Ok(chunk.map(|chunk| (chunk, reader)))
        };
        futures::stream::try_unfold(reader, next).map(move |item| item.map_err(&told)).boxed()
    }
}

/// Goes through the chunks of a range.
struct Reader {
    chunks: Chunks,
    file: ZipFile,
    at: u64,
    end: u64,
    cursor: Option<Cursor<RawDocumentBuf>>,
    /// Where the cursor began.
    opened_at: u64,
}

impl Reader {
    fn new(chunks: Chunks, file: ZipFile, range: Range<u64>) -> Self {
        let end = range.end.min(file.length);
        Self { chunks, file, at: range.start, end, cursor: None, opened_at: range.start }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Trouble> {
        while self.at < self.end {
            if self.cursor.is_none() {
                self.opened_at = self.at;
                let opened = open(&self.chunks.place, &self.file, self.at..self.end).await?;
                self.cursor = Some(opened);
            }
            let Some(cursor) = &mut self.cursor else { continue };
            match call(cursor.advance()).await {
                Ok(true) => {
                    let number = self.at / self.file.chunk_bytes;
                    let from = usize::try_from(self.at % self.file.chunk_bytes).unwrap_or(0);
                    let data = data_of(cursor.current(), number, self.file.bytes_of(number))?;
                    let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
                    let to = data.len().min(from.saturating_add(left));
                    let bytes = Bytes::copy_from_slice(&data[from..to]);
                    self.at += bytes.len() as u64;
                    return Ok(Some(bytes));
                }
                Ok(false) => {
                    let number = self.at / self.file.chunk_bytes;
                    return Err(Trouble::Damaged(format!("chunk {number} is missing")));
                }
                // A client that reads slowly: the server gave the cursor up meanwhile.
                Err(failure) if failure.is_cursor_gone() && self.at > self.opened_at => {
                    self.cursor = None;
                }
                Err(failure) => return Err(failure.into()),
            }
        }
        Ok(None)
    }
}

/// Begins with the chunk that has the range's first byte, and ends with that of its last.
async fn open(
    place: &Place,
    file: &ZipFile,
    range: Range<u64>,
) -> Result<Cursor<RawDocumentBuf>, Failure> {
    let number = |at: u64| i64::try_from(at / file.chunk_bytes).unwrap_or(i64::MAX);
    let numbers = doc! { "$gte": number(range.start), "$lte": number(range.end - 1) };
    let find = place
        .chunks
        .find(doc! { "files_id": &file.id, "n": numbers })
        .sort(doc! { "n": 1 })
        .projection(doc! { "_id": 0, "n": 1, "data": 1 })
        .batch_size(READ_CHUNKS);
    call(find).await
}

/// The bytes of a chunk, which must be that one and have that length.
fn data_of(document: &RawDocument, number: u64, length: u64) -> Result<&[u8], Trouble> {
    let found = match document.get("n") {
        Ok(Some(RawBsonRef::Int32(found))) => u64::try_from(found).ok(),
        Ok(Some(RawBsonRef::Int64(found))) => u64::try_from(found).ok(),
        _ => None,
    };
    if found != Some(number) {
        return Err(Trouble::Damaged(format!("chunk {number} is missing")));
    }
    match document.get_binary("data") {
        Ok(data) if data.bytes.len() as u64 == length => Ok(data.bytes),
        Ok(data) => {
            let bytes = data.bytes.len();
            Err(Trouble::Damaged(format!("chunk {number} has {bytes} bytes, not {length}")))
        }
        Err(_) => Err(Trouble::Damaged(format!("chunk {number} has no bytes"))),
    }
}
