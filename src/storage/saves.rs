//! How many saves of a backend are under way at once, and how long one may take: the backends that work over
//! a network, where a save goes on without its caller.

use std::future::Future;
use std::time::Duration;

use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_middleware::ports::SaveResult;
use dipylon_middleware::storage_io::on_behalf_of_the_caller;
use tokio::sync::Semaphore;

/// Saves under way at once; a caller beyond that waits.
pub const MAX_SAVES: usize = 32;
/// Longest time for one save, waiting for its turn and sending together.
pub const SAVE_MAX: Duration = Duration::from_secs(600);

/// The saves of one backend.
pub(super) struct Saves {
    kind: &'static str,
    room: Semaphore,
}

impl Saves {
    /// Of the backend of that `StorageType`.
    pub(super) fn new(kind: &'static str) -> Self {
        Self { kind, room: Semaphore::new(MAX_SAVES) }
    }

    /// Runs a save when it is its turn.
    ///
    /// # Errors
    /// Those of the save; `StorageUnavailable` where it takes longer than [`SAVE_MAX`], as it then hangs.
    pub(super) async fn run(
        &self,
        save: impl Future<Output = Result<SaveResult, Error>>,
    ) -> Result<SaveResult, Error> {
        let saving = async {
            let closed = |_| Error::new(ErrorKind::Internal, "the room for saves was closed");
            let _room = self.room.acquire().await.map_err(closed)?;
            save.await
        };
        tokio::time::timeout(SAVE_MAX, saving).await.unwrap_or_else(|_| {
            let cause = format!("it took longer than {} s", SAVE_MAX.as_secs());
            let text = format!("{} storage cannot save: {cause}", self.kind);
            Err(Error::new(ErrorKind::StorageUnavailable, text).with_cause(cause))
        })
    }
}

/// Runs a save to its end, whatever becomes of whoever waits for it.
///
/// # Errors
/// Those of the save; `Internal` where it was cut off.
pub(super) async fn detached(
    save: impl Future<Output = Result<SaveResult, Error>> + Send + 'static,
) -> Result<SaveResult, Error> {
    tokio::spawn(on_behalf_of_the_caller(save)).await.unwrap_or_else(|error| {
        Err(Error::new(ErrorKind::Internal, format!("a storage call was cut off: {error}")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn the_time_of_a_save_counts_from_its_wait_for_a_turn_and_ends_as_an_outage() {
        let saves = Saves::new("some");
        let begun = Instant::now();
        let hanging = (0..MAX_SAVES).map(|_| saves.run(std::future::pending()));
        let late = async {
            tokio::time::sleep(SAVE_MAX / 2).await;
            // It has a turn when the others are given up, and half of its time left.
            saves.run(std::future::pending()).await
        };
        let (ended, late) = tokio::join!(futures::future::join_all(hanging), late);
        assert_eq!(begun.elapsed(), SAVE_MAX + SAVE_MAX / 2);
        for error in ended.into_iter().chain([late]).map(Result::unwrap_err) {
            assert_eq!(error.kind(), ErrorKind::StorageUnavailable);
            assert_eq!(error.message(), "some storage cannot save: it took longer than 600 s");
            assert_eq!(error.cause().unwrap().as_ref(), "it took longer than 600 s");
        }
        let saved = saves.run(std::future::ready(Ok(SaveResult::Created))).await;
        assert_eq!(saved.unwrap(), SaveResult::Created, "their places are free again");
    }

    #[tokio::test(start_paused = true)]
    async fn more_saves_than_have_room_wait_for_their_turn() {
        let saves = Saves::new("some");
        let begun = Instant::now();
        let slow = || async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(SaveResult::Created)
        };
        let all = (0..2 * MAX_SAVES + 1).map(|_| saves.run(slow()));
        assert!(futures::future::join_all(all).await.iter().all(Result::is_ok));
        assert_eq!(begun.elapsed(), Duration::from_secs(3));
    }
}
