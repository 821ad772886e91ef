use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use tokio::time::Instant;
use tower::util::ServiceExt as _;

use super::state::{Budget, wait};
use crate::error::Error;
use crate::ports::Fetched;
use crate::request::FetchRequest;
use crate::stack::{Stage, stage};
use crate::telemetry::Telemetry;

/// Calls `S` until it succeeds, fails for good, or the limits are used up.
#[derive(Clone, Debug)]
pub struct Retry<S> {
    pub(super) inner: S,
    pub(super) attempts: u32,
    pub(super) budget: Arc<Budget>,
    pub(super) telemetry: Telemetry,
}

impl<S: Stage<FetchRequest, Reply = Fetched>> Retry<S> {
    async fn handle(self, request: FetchRequest) -> Result<Fetched, Error> {
        self.budget.deposit();
        let mut retry = 0;
        loop {
            let error = match self.inner.clone().oneshot(request.clone()).await {
                Ok(fetched) => return Ok(fetched),
                Err(error) => error,
            };
            retry += 1;
            let pause = wait(retry, jitter(), error.retry_after());
            // What upstream asks for may lie beyond any clock.
            let until = Instant::now().checked_add(pause);
            let in_time = until.is_some_and(|until| until < request.context.deadline);
            let again = error.kind().is_transient() && retry < self.attempts && in_time;
            if !again || !self.budget.withdraw() {
                return Err(error);
            }
            self.telemetry.metrics.retries.get((request.ask.kind(),)).inc();
            tokio::time::sleep(pause).await;
        }
    }
}

/// Spreads the retries of many callers. A hash with random keys is all the randomness this needs.
fn jitter() -> u8 {
    RandomState::new().hash_one(0_u8).to_le_bytes()[0]
}

stage!(Retry<S>: FetchRequest => Fetched, over FetchRequest => Fetched);
