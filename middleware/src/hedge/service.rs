use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};

use super::state::is_small;
use crate::allowance::Allowance;
use crate::attempt::{Attempt as _, Verdict};
use crate::error::Error;
use crate::ports::Fetched;
use crate::request::FetchRequest;
use crate::stack::{Border, Stage, stage};
use crate::telemetry::{Hedged, Telemetry};

/// Calls `S`, and the second way where it is late.
#[derive(Clone, Debug)]
pub struct Hedge<S> {
    pub(super) inner: S,
    /// The whole way to the same upstream, with a turn and a slot of its own.
    pub(super) second: Border<FetchRequest, Fetched>,
    pub(super) after: Duration,
    pub(super) budget: Arc<Allowance>,
    pub(super) telemetry: Telemetry,
}

impl<S: Stage<FetchRequest, Reply = Fetched>> Hedge<S> {
    async fn handle(&self, request: FetchRequest) -> Result<Fetched, Error> {
        let Self { inner, second: way, after, budget, telemetry } = self;
        if !is_small(&request.ask) {
            return inner.run(request).await;
        }
        budget.deposit();
        let mut first = pin!(inner.run(request.clone()));
        if let Ok(result) = tokio::time::timeout(*after, &mut first).await {
            return result;
        }
        if !budget.withdraw() {
            telemetry.metrics.hedges.get((Hedged::Refused,)).inc();
            return first.await;
        }
        let mut second = Second { telemetry, result: Hedged::Abandoned };
        match select(first, pin!(way.send(request))).await {
            // A failure as well: the other request may still stand in line, for the very slot that is held here, and
            // a host that wants to be left alone is heard at once. The retries are there for it.
            Either::Left((result, _)) => {
                if is_answer(&result) {
                    second.result = Hedged::Late;
                }
                result
            }
            Either::Right((result, _)) if is_answer(&result) => {
                second.result = Hedged::First;
                result
            }
            // The first request may still bring an answer, and has the last word where it does not.
            Either::Right((_, first)) => {
                second.result = Hedged::Failed;
                first.await
            }
        }
    }
}

/// Whether upstream has said something about what it was asked.
fn is_answer(result: &Result<Fetched, Error>) -> bool {
    match result {
        Ok(_) => true,
        Err(error) => FetchRequest::verdict(error) == Verdict::Answered,
    }
}

/// A second request; counted when it is over, however it ends.
struct Second<'a> {
    telemetry: &'a Telemetry,
    result: Hedged,
}

impl Drop for Second<'_> {
    fn drop(&mut self) {
        self.telemetry.metrics.hedges.get((self.result,)).inc();
    }
}

stage!(Hedge<S>: FetchRequest => Fetched, over FetchRequest => Fetched);
