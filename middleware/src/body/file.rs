//! The body of an open file. What is in the page cache is read where the body is sent, without a thread in between;
//! what is not, on a blocking thread, with one chunk ahead from then on, unless there are many bodies: then the disk
//! has enough to do, and what each of them had read ahead would be most of the memory.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinHandle;

use super::ReadShare;
use super::buffers::Buffer;
use crate::blob::ByteStream;
use crate::error::{Error, ErrorKind};

/// Reads of stored files at a time that wait for a disk, of all bodies together. More make no disk faster, and each
/// has a thread.
const READS_MAX: usize = 128;

static READS: Semaphore = Semaphore::const_new(READS_MAX);

/// Reads a file. Positional reads, so that many bodies share one descriptor.
pub(super) fn stream(file: Arc<File>, range: Range<u64>) -> ByteStream {
    let reading = Reading { file, range, share: ReadShare::take(), ahead: None };
    futures::stream::unfold(reading, Reading::next).boxed()
}

struct Reading {
    file: Arc<File>,
    range: Range<u64>,
    share: ReadShare,
    /// The next chunk, where the last one had to be waited for.
    ahead: Option<JoinHandle<io::Result<Bytes>>>,
}

impl Reading {
    async fn next(mut self) -> Option<(Result<Bytes, Error>, Self)> {
        let (chunk, is_waited_for) = match self.ahead.take() {
            Some(reading) => (joined(reading).await, true),
            None => match self.at_once(self.chunk_bytes()?) {
                Some(chunk) => (Ok(chunk), false),
                None => {
                    let turn = READS.acquire().await.expect("it is never closed");
                    (joined(self.on_a_thread(turn)?).await, true)
                }
            },
        };
        match chunk {
            Ok(bytes) => {
                self.range.start += bytes.len() as u64;
                if is_waited_for {
                    self.ahead = self.read_ahead();
                }
                Some((Ok(bytes), self))
            }
            Err(error) => {
                self.range.start = self.range.end;
                let text = format!("cannot read a stored file: {error}");
                Some((Err(Error::new(ErrorKind::Storage, text)), self))
            }
        }
    }

    /// Bytes of the next chunk, if there is one.
    fn chunk_bytes(&self) -> Option<usize> {
        let left = usize::try_from(self.range.end.saturating_sub(self.range.start));
        let length = left.unwrap_or(usize::MAX).min(self.share.chunk_bytes());
        (length > 0).then_some(length)
    }

    /// What of the next chunk can be had without waiting for a disk. Nothing also where that cannot be told: then a
    /// thread waits, and finds out what is wrong.
    fn at_once(&self, length: usize) -> Option<Bytes> {
        let mut buffer = Buffer::new(length);
        let read = read_cached(&self.file, buffer.as_mut(), self.range.start)?;
        Some(buffer.filled(read))
    }

    /// The next chunk, where there are few bodies and the disk has not too much to do.
    fn read_ahead(&self) -> Option<JoinHandle<io::Result<Bytes>>> {
        let turn = self.share.reads_ahead().then(|| READS.try_acquire().ok())?;
        self.on_a_thread(turn?)
    }

    fn on_a_thread(&self, turn: SemaphorePermit<'static>) -> Option<JoinHandle<io::Result<Bytes>>> {
        let length = self.chunk_bytes()?;
        let (file, start) = (Arc::clone(&self.file), self.range.start);
        // The memory is taken here: each of those threads would make an allocator's heap of its own for it.
        let mut buffer = Buffer::new(length);
        Some(tokio::task::spawn_blocking(move || {
            let _turn = turn;
            file.read_exact_at(buffer.as_mut(), start)?;
            Ok(buffer.filled(length))
        }))
    }
}

async fn joined(reading: JoinHandle<io::Result<Bytes>>) -> io::Result<Bytes> {
    reading.await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// Reads so many bytes of what the page cache has, without waiting for a disk; nothing where the first byte is not
/// there, and where the file system cannot tell.
#[cfg(target_os = "linux")]
pub fn read_cached(file: &File, bytes: &mut [u8], start: u64) -> Option<usize> {
    use rustix::io::{ReadWriteFlags, preadv2};
    let mut bytes = [io::IoSliceMut::new(bytes)];
    // File systems that cannot tell say so with an error.
    preadv2(file, &mut bytes, start, ReadWriteFlags::NOWAIT).ok().filter(|read| *read > 0)
}

/// Nothing: here the page cache cannot be asked.
#[cfg(not(target_os = "linux"))]
pub fn read_cached(_: &File, _: &mut [u8], _: u64) -> Option<usize> {
    None
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use futures::TryStreamExt as _;

    use super::*;

    /// Bodies of the whole process are counted, so a test that goes by their number is the only one that does.
    static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

    /// More than a chunk, each byte by its place.
    fn written() -> (File, Vec<u8>) {
        let bytes: Vec<u8> = (0..1_000_000_u32).map(|at| (at % 251) as u8).collect();
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(&bytes).expect("it is written");
        (file, bytes)
    }

    async fn read(file: File, range: Range<u64>) -> Result<Vec<u8>, Error> {
        let chunks: Vec<Bytes> = stream(Arc::new(file), range).try_collect().await?;
        Ok(chunks.concat())
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_is_read_whole_and_in_parts() {
        for range in [0..1_000_000, 0..1, 999_999..1_000_000, 123_456..654_321, 5..5] {
            let (file, bytes) = written();
            let want = &bytes[range.start as usize..range.end as usize];
            assert_eq!(read(file, range.clone()).await.expect("it is read"), want, "{range:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_cached_is_read_at_once_and_what_is_not_on_a_thread_with_the_same_bytes() {
        let _alone = ALONE.lock().await;
        let (file, bytes) = written();
        let share = ReadShare::take();
        let file = Arc::new(file);
        let mut reading = Reading { file, range: 0..1_000_000, share, ahead: None };
        let at_once = reading.at_once(1_000);
        // A file system without a page cache of its own cannot tell, and is read on a thread.
        if let Some(chunk) = &at_once {
            assert_eq!(chunk, &bytes[..1_000]);
        }
        reading.ahead = reading.on_a_thread(READS.acquire().await.expect("it is open"));
        let mut seen = Vec::new();
        while let Some((chunk, rest)) = reading.next().await {
            seen.extend_from_slice(&chunk.expect("it is read"));
            assert_eq!(rest.ahead.is_some(), seen.len() < bytes.len(), "one is ahead");
            reading = rest;
        }
        assert_eq!(seen, bytes);
    }

    #[tokio::test(start_paused = true)]
    async fn many_bodies_read_nothing_ahead_and_have_the_same_bytes() {
        let _alone = ALONE.lock().await;
        let (file, bytes) = written();
        let share = ReadShare::take();
        let others: Vec<_> = (0..1_000).map(|_| ReadShare::take()).collect();
        let mut reading = Reading { file: Arc::new(file), range: 0..1_000_000, share, ahead: None };
        reading.ahead = reading.on_a_thread(READS.acquire().await.expect("it is open"));
        let (chunk, rest) = reading.next().await.expect("a chunk");
        let first = chunk.expect("it is read");
        assert!(rest.ahead.is_none(), "beside {} others", others.len());
        let chunks = futures::stream::unfold(rest, Reading::next);
        let chunks: Vec<Bytes> = chunks.try_collect().await.expect("it is read");
        assert_eq!([&first[..], &chunks.concat()].concat(), bytes);
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_has_been_cut_is_an_error_and_ends_the_body() {
        let (file, bytes) = written();
        file.set_len(700_000).expect("it is cut");
        let mut chunks = stream(Arc::new(file), 0..1_000_000);
        let mut seen = Vec::new();
        let error = loop {
            match chunks.next().await.expect("it does not end as if it were whole") {
                Ok(chunk) => seen.extend_from_slice(&chunk),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::Storage);
        assert_eq!(seen, bytes[..seen.len()]);
        assert!(chunks.next().await.is_none());
    }
}
