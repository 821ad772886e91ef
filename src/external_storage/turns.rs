//! How many requests of a kind are served at once.

use std::sync::Arc;
use std::time::Duration;

use dipylon_middleware::error::{Error, ErrorKind};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a list or a page of the catalogue waits for its turn. Half of what a client of ours
/// waits for the head of an answer, while the checks that it makes beside are answered.
pub const WALK_WAIT_MAX: Duration = Duration::from_secs(30);

/// How long a request waits for memory, and a write of an extra for its turn. Half of what a client of ours waits
/// for an answer to those, so that it is told why where it has waited once.
pub const WAIT_MAX: Duration = Duration::from_secs(5);

/// The turns of one kind of request.
#[derive(Clone)]
pub(super) struct Turns {
    what: &'static str,
    most: usize,
    patience: Duration,
    places: Arc<Semaphore>,
}

impl Turns {
    /// So many requests at once, of what `what` names; one more waits for `patience`.
    pub(super) fn new(what: &'static str, most: usize, patience: Duration) -> Self {
        Self { what, most, patience, places: Arc::new(Semaphore::new(most)) }
    }

    /// Takes a turn; it ends when what is returned is dropped.
    ///
    /// # Errors
    /// `Overloaded` where none is free in time.
    pub(super) async fn take(&self) -> Result<OwnedSemaphorePermit, Error> {
        let place = Arc::clone(&self.places).acquire_owned();
        match tokio::time::timeout(self.patience, place).await {
            Ok(Ok(place)) => Ok(place),
            _ => {
                let text = format!("{} {} are under way: try again", self.most, self.what);
                Err(Error::new(ErrorKind::Overloaded, text))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dipylon_middleware::storage_io::ANSWER_MAX;

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_turn_is_told_before_a_client_of_ours_gives_up() {
        let turns = Turns::new("writes", 2, WAIT_MAX);
        let held = (turns.take().await.unwrap(), turns.take().await.unwrap());
        let begun = tokio::time::Instant::now();
        let error = turns.take().await.unwrap_err();
        assert_eq!(error.message(), "2 writes are under way: try again");
        assert_eq!(error.kind(), ErrorKind::Overloaded);
        assert!(begun.elapsed() <= ANSWER_MAX / 2, "{:?}", begun.elapsed());
        let waiting = turns.take();
        drop(held.0);
        assert!(waiting.await.is_ok());
    }
}
