//! A check of several requests, each of which may take as long as one about a lock.

use std::future::Future;

use dipylon_middleware::ports::LockError;
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::wire::Errand;

/// One check at a time, on a task of its own: who stops waiting does not end it, and who comes next learns what
/// it found. Else a store that is slow, but quick enough for locks, would never be found to work again.
#[derive(Default)]
pub(super) struct Check(Mutex<Option<JoinHandle<Result<(), LockError>>>>);

impl Check {
    /// What the check under way finds, or one that begins now.
    ///
    /// # Errors
    /// What it found, or that it is not over in time.
    pub(super) async fn outcome<F>(
        &self,
        errand: Errand,
        begin: impl FnOnce() -> F,
    ) -> Result<(), LockError>
    where
        F: Future<Output = Result<(), LockError>> + Send + 'static,
    {
        let under_way = self.0.lock().take();
        let mut task = under_way.unwrap_or_else(|| tokio::spawn(begin()));
        let late = || "the store is being checked, and slow".to_owned();
        match errand.in_time(&mut task, late).await {
            Ok(found) => found.unwrap_or_else(|_| Err(LockError::new("the check was cut off"))),
            Err(late) => {
                *self.0.lock() = Some(task);
                Err(late)
            }
        }
    }
}
