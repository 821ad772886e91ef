//! One copy on its way in, beside whatever a reader does.
//!
//! A reader's stream hands each chunk on to its copy without waiting. Where the disk is slower than the
//! reader by more than [`MAX_BEHIND_BYTES`], the copy lets the stream go and asks the far store for the
//! rest itself, at the disk's own pace. A reader that leaves, or a store that fails, ends the copy.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use dipylon_middleware::blob::{ByteStream, OpenRange};
use dipylon_middleware::error::Error;
use dipylon_middleware::telemetry::NearFill;
use futures::{Stream, StreamExt as _};
use std::io::{self, Write as _};
use tempfile::NamedTempFile;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::near::{Near, is_full};
use super::shelf::{Copied, Room};

/// Bytes that a copy may lag behind its reader, in memory.
pub const MAX_BEHIND_BYTES: usize = 1024 * 1024;
/// The longest time for one copy: as long as a slow client may take, and no longer.
pub const FILL_MAX: Duration = Duration::from_secs(600);
/// Chunks written in one go.
const CHUNKS_PER_WRITE: usize = 16;

/// A part of a copy, with its place in memory.
type Chunk = Result<(Bytes, Option<OwnedSemaphorePermit>), Error>;

/// Room taken for a copy, given back on drop unless the copy has arrived.
pub(super) struct Fill {
    near: Arc<Near>,
    copy: Copied,
    room: Room,
    result: NearFill,
    has_arrived: bool,
    _held: OwnedSemaphorePermit,
}

impl Fill {
    pub(super) fn new(
        near: Arc<Near>,
        copy: Copied,
        room: Room,
        held: OwnedSemaphorePermit,
    ) -> Self {
        Self { near, copy, room, result: NearFill::Cut, has_arrived: false, _held: held }
    }

    /// Copies a stream that has nothing to do with a reader.
    pub(super) fn spawn(self, stream: ByteStream) {
        let chunks = stream.map(|chunk| chunk.map(|bytes| (bytes, None)));
        tokio::spawn(self.run(chunks, None));
    }

    /// Copies what the reader of `stream` reads; `far` has the rest where the disk falls behind.
    pub(super) fn beside(self, stream: ByteStream, far: Arc<dyn OpenRange>) -> ByteStream {
        let (sender, receiver) = unbounded_channel();
        let behind = Arc::new(AtomicBool::new(false));
        let rest = Rest { far, is_behind: Arc::clone(&behind) };
        let room = Arc::new(Semaphore::new(MAX_BEHIND_BYTES));
        tokio::spawn(self.run(received(receiver), Some(rest)));
        Tee { stream, copy: Some(Sending { sender, room, behind }) }.boxed()
    }

    async fn run(mut self, chunks: impl Stream<Item = Chunk> + Send + 'static, rest: Option<Rest>) {
        match self.copy(Box::pin(chunks), rest).await {
            Ok(result) => self.result = result,
            Err(error) => {
                self.result = if is_full(&error) { NearFill::Full } else { NearFill::Failed };
                self.near.trouble("write to", &error);
            }
        }
    }

    async fn copy(
        &mut self,
        mut chunks: Pin<Box<impl Stream<Item = Chunk> + Send>>,
        rest: Option<Rest>,
    ) -> io::Result<NearFill> {
        let victims = std::mem::take(&mut self.room.victims);
        let is_granted = self.room.is_granted;
        let begun = self.blocking(move |near| {
            // They go first, so that the directory never holds more than it may.
            victims.iter().for_each(|victim| near.unlink(victim));
            is_granted.then(|| near.directory.begin()).transpose()
        });
        let Some(mut file) = begun.await? else { return Ok(NearFill::Busy) };
        let deadline = Instant::now() + FILL_MAX;
        let (mut written, whole) = (0, self.copy.length);
        file = match self.write_all(file, &mut chunks, &mut written, deadline).await? {
            Some(file) => file,
            None => return Ok(NearFill::Cut),
        };
        if let Some(rest) = rest.filter(|rest| written < whole && rest.is_behind()) {
            let rest = rest.far.open(written..whole).map(|chunk| chunk.map(|bytes| (bytes, None)));
            file = match self.write_all(file, &mut Box::pin(rest), &mut written, deadline).await? {
                Some(file) => file,
                None => return Ok(NearFill::Cut),
            };
        }
        if written != whole {
            return Ok(NearFill::Cut);
        }
        let copy = self.copy;
        self.blocking(move |near| near.directory.publish(file, &copy)).await?;
        self.near.shelf.lock().arrived(copy.key, copy.length);
        self.has_arrived = true;
        Ok(NearFill::Filled)
    }

    /// Writes a stream to its end; `None` where it fails, is too long or takes too long.
    async fn write_all(
        &self,
        mut file: NamedTempFile,
        chunks: &mut Pin<Box<impl Stream<Item = Chunk> + Send>>,
        written: &mut u64,
        deadline: Instant,
    ) -> io::Result<Option<NamedTempFile>> {
        let mut batches = chunks.ready_chunks(CHUNKS_PER_WRITE);
        loop {
            let Ok(next) = timeout_at(deadline, batches.next()).await else { return Ok(None) };
            let Some(batch) = next else { return Ok(Some(file)) };
            let Ok(batch) = batch.into_iter().collect::<Result<Vec<_>, Error>>() else {
                return Ok(None);
            };
            *written += batch.iter().map(|(bytes, _)| bytes.len() as u64).sum::<u64>();
            if *written > self.copy.length {
                return Ok(None);
            }
            let write = move |_: &Near| {
                for (bytes, _) in &batch {
                    file.write_all(bytes)?;
                }
                Ok(file)
            };
            file = self.blocking(write).await?;
        }
    }

    /// Works on the disk, in one of the places for that.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Near) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let place = Arc::clone(&self.near.writes).acquire_owned().await;
        let place = place.map_err(io::Error::other)?;
        let near = Arc::clone(&self.near);
        let task = tokio::task::spawn_blocking(move || {
            let _place = place;
            work(&near)
        });
        task.await.map_err(io::Error::other)?
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        if self.room.is_granted && !self.has_arrived {
            self.near.shelf.lock().release(self.copy.length);
        }
        self.near.filling.lock().remove(&self.copy.key);
        self.near.telemetry.metrics.tier_fills.get((self.result,)).inc();
        self.near.tell_size();
    }
}

/// Where the rest of a copy comes from.
struct Rest {
    far: Arc<dyn OpenRange>,
    is_behind: Arc<AtomicBool>,
}

impl Rest {
    fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::Acquire)
    }
}

fn received(
    receiver: UnboundedReceiver<(Bytes, OwnedSemaphorePermit)>,
) -> impl Stream<Item = Chunk> {
    futures::stream::unfold(receiver, |mut receiver| async {
        let (bytes, place) = receiver.recv().await?;
        Some((Ok((bytes, Some(place))), receiver))
    })
}

/// The reader's end of a copy. What waits in the channel is bounded by the places in `room`, one for each
/// byte.
struct Sending {
    sender: UnboundedSender<(Bytes, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
    behind: Arc<AtomicBool>,
}

impl Sending {
    /// Hands a chunk on without waiting; `false` where the copy takes no more.
    fn send(&self, chunk: &Bytes) -> bool {
        let Ok(places) = u32::try_from(chunk.len()) else { return false };
        match Arc::clone(&self.room).try_acquire_many_owned(places) {
            Ok(place) => self.sender.send((chunk.clone(), place)).is_ok(),
            Err(_) => {
                self.behind.store(true, Ordering::Release);
                false
            }
        }
    }
}

/// A reader's stream with a copy beside it.
struct Tee {
    stream: ByteStream,
    copy: Option<Sending>,
}

impl Stream for Tee {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.stream.as_mut().poll_next(context);
        if let Poll::Ready(Some(Ok(chunk))) = &polled
            && self.copy.as_ref().is_some_and(|copy| !copy.send(chunk))
        {
            self.copy = None;
        }
        polled
    }
}
