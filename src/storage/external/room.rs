//! Room for zips that are copied to files.
//!
//! A copy keeps its part as long as somebody reads it, and a client may take its time: so bytes are counted
//! and not copies, and who finds no room is refused at once. That says nothing about the server, so nobody
//! takes it for an outage; upstream answers in its place.

use std::sync::Arc;

use dipylon_middleware::error::{Error, ErrorKind};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of zips in files, those that are still being copied included: eight of the largest.
pub const MAX_COPIED_BYTES: u64 = 4 << 30;
/// What is counted at a time: the least that a copy takes.
const UNIT_BYTES: u64 = 1 << 20;

/// Room for so many bytes.
pub(super) struct Room(Arc<Semaphore>);

impl Room {
    pub(super) fn new(bytes: u64) -> Self {
        Self(Arc::new(Semaphore::new(usize::try_from(bytes / UNIT_BYTES).unwrap_or(0))))
    }

    /// Room for a copy that begins with `bytes` bytes: what is known of its length.
    ///
    /// # Errors
    /// `StorageBusy` where there is none.
    pub(super) fn take(&self, bytes: u64) -> Result<Taken, Error> {
        let room = &self.0;
        let permit = Arc::clone(room).try_acquire_many_owned(0).map_err(|_| full())?;
        let mut taken = Taken { permit };
        taken.grow_to(bytes)?;
        Ok(taken)
    }
}

/// The room of one copy; it is free again when this is dropped.
pub(super) struct Taken {
    permit: OwnedSemaphorePermit,
}

impl Taken {
    /// Makes it enough for `bytes` bytes.
    ///
    /// # Errors
    /// `StorageBusy` where there is no more.
    pub(super) fn grow_to(&mut self, bytes: u64) -> Result<(), Error> {
        let units = usize::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(usize::MAX);
        let more = units.saturating_sub(self.permit.num_permits());
        let more = u32::try_from(more).map_err(|_| full())?;
        if more > 0 {
            let room = Arc::clone(self.permit.semaphore());
            self.permit.merge(room.try_acquire_many_owned(more).map_err(|_| full())?);
        }
        Ok(())
    }
}

fn full() -> Error {
    let text = "external storage cannot copy a zip that comes without its length or its end: the room for \
                copies is taken by zips that others still read: try again";
    Error::new(ErrorKind::StorageBusy, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dipylon_middleware::attempt::{Attempt as _, Verdict};
    use dipylon_middleware::request::StorageRequest;

    #[test]
    fn bytes_are_counted_as_a_copy_grows_and_who_finds_no_room_is_refused_as_busy() {
        let room = Room::new(4 * UNIT_BYTES);
        let mut first = room.take(UNIT_BYTES + 1).unwrap();
        let mut second = room.take(0).unwrap();
        second.grow_to(UNIT_BYTES).unwrap();
        assert_eq!(room.0.available_permits(), 1);
        second.grow_to(UNIT_BYTES / 2).unwrap();
        first.grow_to(3 * UNIT_BYTES).unwrap();
        assert_eq!(room.0.available_permits(), 0);
        let error = second.grow_to(UNIT_BYTES + 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageBusy);
        // Upstream is asked, and the breaker learns nothing.
        assert!(error.is_of_storage());
        assert_eq!(StorageRequest::verdict(&error), Verdict::Silent);
        assert_eq!(room.take(1).map(drop).unwrap_err().kind(), ErrorKind::StorageBusy);
        drop(first);
        second.grow_to(4 * UNIT_BYTES).unwrap();
        drop(second);
        assert_eq!(room.0.available_permits(), 4);
        assert!(room.take(u64::MAX).is_err());
    }
}
