use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use tokio::time::Instant;

use super::state::wait;
use crate::allowance::Allowance;
use crate::attempt::{Attempt, Verdict};
use crate::error::Error;
use crate::ports::{Fetched, StorageReply};
use crate::request::{FetchRequest, StorageRequest};
use crate::stack::{Stage, stage};
use crate::telemetry::Telemetry;

/// Calls `S` until it succeeds, fails for good, or the limits are used up.
#[derive(Clone, Debug)]
pub struct Retry<S> {
    pub(super) inner: S,
    pub(super) attempts: u32,
    pub(super) budget: Arc<Allowance>,
    pub(super) telemetry: Telemetry,
}

impl<S> Retry<S> {
    async fn handle<Request>(&self, request: Request) -> Result<S::Reply, Error>
    where
        S: Stage<Request>,
        Request: Attempt,
    {
        self.budget.deposit();
        let (begun, deadline) = (Instant::now(), request.context().deadline);
        let half = deadline.saturating_duration_since(begun) / 2;
        // What the other side asks for may lie beyond any clock, and so may this.
        let last = Request::REPEATED_WITHIN.and_then(|most| begun.checked_add(most.min(half)));
        let last = last.unwrap_or(deadline);
        let mut retry = 0;
        loop {
            let error = match self.inner.clone().run(request.clone()).await {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            retry += 1;
            let pause = wait(retry, jitter(), error.retry_after());
            // What is asked for is slept without a slot of the host, and with all that those above hold.
            let is_short = error.retry_after().is_none_or(|asked| asked <= request.patience());
            let in_time =
                is_short && Instant::now().checked_add(pause).is_some_and(|until| until < last);
            let may_pass = Request::verdict(&error) == Verdict::Failing;
            let again = may_pass && request.may_be_repeated() && retry < self.attempts && in_time;
            if !again || !self.budget.withdraw() {
                return Err(error);
            }
            request.count_repetition(&self.telemetry.metrics);
            tokio::time::sleep(pause).await;
        }
    }
}

/// Spreads the retries of many callers. A hash with random keys is all the randomness this needs.
fn jitter() -> u8 {
    RandomState::new().hash_one(0_u8).to_le_bytes()[0]
}

// For each by name: through layers that serve any request the compiler takes ages to find the reply.
stage!(Retry<S>: FetchRequest => Fetched, over FetchRequest => Fetched);
stage!(Retry<S>: StorageRequest => StorageReply, over StorageRequest => StorageReply);
