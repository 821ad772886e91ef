//! Memory that requests hold together.
//!
//! A zip streams, but small files are held whole: a `.mod` or an extra may have 16 MiB, and a client may
//! take its time. So their bytes are counted as long as any part of them is in memory, in an answer that is
//! half sent too. Lists and catalogue pages are counted as soon as they are text; of those that are still
//! being made there are but a few ([`MAX_WALKS`](super::MAX_WALKS)). Where there is no room a request waits
//! for [`WAIT_MAX`], and is refused then (503). What arrives and what leaves have a budget each: slow readers
//! stop no save.

use std::sync::Arc;

use bytes::Bytes;
use dipylon_middleware::error::{Error, ErrorKind};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::route::bad;
use super::turns::WAIT_MAX;

/// Bytes of `.info`, `.mod`, extras, lists and catalogue pages on their way out, together. A `.mod` or an
/// extra is read with room for the largest one, so 16 of these are read from the store at a time.
pub const MAX_ANSWER_BYTES: usize = 256 << 20;
/// Bytes of `.info`, `.mod` and extras on their way in, together.
pub const MAX_ARRIVING_BYTES: usize = 128 << 20;
/// What is counted at a time: the least that anything takes.
const UNIT_BYTES: usize = 4 * 1024;

/// Room for so many bytes.
#[derive(Clone)]
pub(super) struct Budget {
    room: Arc<Semaphore>,
    units: usize,
}

impl Budget {
    pub(super) fn new(bytes: usize) -> Self {
        let units = bytes / UNIT_BYTES;
        Self { room: Arc::new(Semaphore::new(units)), units }
    }

    /// Takes room for `bytes` bytes until what is returned is dropped.
    ///
    /// # Errors
    /// `Overloaded` where there is none for [`WAIT_MAX`].
    pub(super) async fn hold(&self, bytes: usize) -> Result<Held, Error> {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES).min(self.units)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(units);
        match tokio::time::timeout(WAIT_MAX, room).await {
            Ok(Ok(permit)) => Ok(Held(permit)),
            _ => {
                let text = "the memory for small files is taken by other requests: try again";
                Err(Error::new(ErrorKind::Overloaded, text))
            }
        }
    }
}

/// Room that was taken.
pub(super) struct Held(OwnedSemaphorePermit);

impl Held {
    /// Gives back what is not needed for `bytes`, which hold the rest as long as any part of them lives.
    pub(super) fn by(mut self, bytes: impl AsRef<[u8]> + Send + 'static) -> Bytes {
        let units = bytes.as_ref().len().div_ceil(UNIT_BYTES);
        let rest = self.0.num_permits().saturating_sub(units);
        drop(self.0.split(rest));
        Bytes::from_owner(Owner { bytes, _held: self })
    }

    fn merge(&mut self, more: Self) {
        self.0.merge(more.0);
    }
}

struct Owner<T> {
    bytes: T,
    _held: Held,
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for Owner<T> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

/// Bytes that are gathered as they come, with room taken before each growth: who sends nothing holds
/// next to nothing.
pub(super) struct Gathering<'a> {
    what: &'a str,
    bytes_max: usize,
    budget: &'a Budget,
    held: Option<Held>,
    bytes: Vec<u8>,
}

impl<'a> Gathering<'a> {
    /// For at most `bytes_max` bytes of `what`.
    pub(super) fn new(what: &'a str, bytes_max: usize, budget: &'a Budget) -> Self {
        Self { what, bytes_max, budget, held: None, bytes: Vec::new() }
    }

    /// Adds some.
    ///
    /// # Errors
    /// `BadRequest` where there are too many; `Overloaded` where there is no room.
    pub(super) async fn add(&mut self, chunk: &[u8]) -> Result<(), Error> {
        let needed = self.bytes.len() + chunk.len();
        if needed > self.bytes_max {
            return Err(bad(&format!("{} is larger than {} bytes", self.what, self.bytes_max)));
        }
        let capacity = self.bytes.capacity();
        if needed > capacity {
            let larger =
                (2 * capacity).clamp(needed.max(UNIT_BYTES), self.bytes_max.max(UNIT_BYTES));
            let more = self.budget.hold(larger - capacity).await?;
            match &mut self.held {
                Some(held) => held.merge(more),
                None => self.held = Some(more),
            }
            self.bytes.reserve_exact(larger - self.bytes.len());
        }
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }

    /// What was gathered; it holds its room as long as it lives.
    pub(super) fn finish(mut self) -> Bytes {
        self.bytes.shrink_to_fit();
        match self.held {
            Some(held) => held.by(self.bytes),
            None => Bytes::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[tokio::test(start_paused = true)]
    async fn room_is_given_back_with_the_last_part_of_what_holds_it() {
        let budget = Budget::new(16 * MIB);
        let bytes = budget.hold(16 * MIB).await.unwrap().by(vec![7; MIB]);
        let free = || budget.room.available_permits() * UNIT_BYTES;
        assert_eq!(free(), 15 * MIB, "what is not needed is free at once");
        let part = bytes.slice(10..20);
        drop(bytes);
        assert_eq!(free(), 15 * MIB, "a part keeps all of it in memory");
        assert_eq!(&part[..], [7; 10]);
        drop(part);
        assert_eq!(free(), 16 * MIB);
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_room_waits_and_is_refused_then() {
        let budget = Budget::new(16 * MIB);
        let held = budget.hold(10 * MIB).await.unwrap();
        let begun = tokio::time::Instant::now();
        let error = budget.hold(10 * MIB).await.map(drop).unwrap_err();
        assert_eq!((error.kind(), begun.elapsed()), (ErrorKind::Overloaded, WAIT_MAX));
        let waiting = budget.hold(10 * MIB);
        drop(held);
        assert!(waiting.await.is_ok());
        assert!(budget.hold(99 * MIB).await.is_ok(), "more than there is takes all there is");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_gathered_takes_room_as_it_grows() {
        let budget = Budget::new(MIB);
        let free = || MIB - budget.room.available_permits() * UNIT_BYTES;
        let mut gathering = Gathering::new("x", MIB, &budget);
        assert_eq!(free(), 0);
        gathering.add(b"a").await.unwrap();
        assert_eq!(free(), UNIT_BYTES);
        for _ in 0..99 {
            gathering.add(&[b'b'; 1_000]).await.unwrap();
            assert!(
                free() >= gathering.bytes.capacity(),
                "{} of {}",
                free(),
                gathering.bytes.len()
            );
        }
        let mut other = Gathering::new("y", MIB, &budget);
        let error = other.add(&vec![0; MIB]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Overloaded);
        let bytes = gathering.finish();
        assert_eq!((bytes.len(), free()), (99_001, 100 * 1_024));
        drop(bytes);
        assert_eq!(free(), 0);
        let error = other.add(&vec![0; MIB + 1]).await.unwrap_err();
        assert!(error.message().contains("y is larger than 1048576 bytes"), "{error}");
    }
}
