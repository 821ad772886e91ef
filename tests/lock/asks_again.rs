//! A lock in a store, for the suite.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use dipylon_middleware::ports::{Acquired, BoxFuture, Lock, LockClaim, LockError};

/// How often [`AsksAgain`] asks.
const ATTEMPTS: u32 = 4;

/// Asks again where it was told nothing, as the layer does: on a busy machine an answer may take longer than a
/// question waits.
pub(crate) struct AsksAgain(pub(crate) Arc<dyn Lock>);

impl AsksAgain {
    async fn ask<T, F: Future<Output = Result<T, LockError>>>(
        &self,
        mut question: impl FnMut() -> F,
    ) -> Result<T, LockError> {
        for _ in 1..ATTEMPTS {
            if let Ok(answer) = question().await {
                return Ok(answer);
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        question().await
    }
}

impl Lock for AsksAgain {
    fn kind(&self) -> &'static str {
        self.0.kind()
    }

    fn acquire<'a>(&'a self, claim: &'a LockClaim) -> BoxFuture<'a, Result<Acquired, LockError>> {
        Box::pin(self.ask(|| self.0.acquire(claim)))
    }

    fn renew<'a>(&'a self, claim: &'a LockClaim) -> BoxFuture<'a, Result<bool, LockError>> {
        Box::pin(self.ask(|| self.0.renew(claim)))
    }

    fn release<'a>(&'a self, claim: &'a LockClaim) -> BoxFuture<'a, Result<bool, LockError>> {
        Box::pin(self.ask(|| self.0.release(claim)))
    }

    fn check(&self) -> BoxFuture<'_, Result<(), LockError>> {
        Box::pin(self.ask(|| self.0.check()))
    }
}
