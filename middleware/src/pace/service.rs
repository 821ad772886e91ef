use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::state::{PAUSE_MAX, Pause};
use crate::budget::{Budget, Rate, Turn};
use crate::error::{Error, ErrorKind};
use crate::ports::Fetched;
use crate::request::{FetchRequest, RequestContext, SumDbFetch, TakesTurns};
use crate::stack::{Stage, stage};
use crate::telemetry::{IntGauge, PaceReason, Paced, Phase, Telemetry};

/// How often an attempt that was let go is turned back at the gate, and waits again.
pub const TURNED_BACK_MAX: usize = 3;

/// The longest that a call which has a slot keeps it while it waits to leave; what must wait longer gives the slot
/// back, and waits without one.
pub const SLOT_HELD_MAX: Duration = Duration::from_secs(1);

/// A wait that is shorter than this is the clock's, and is not counted.
const NO_WAIT: Duration = Duration::from_millis(50);

/// What all calls of one host share.
#[derive(Debug)]
pub(super) struct Shared {
    /// Its name in texts.
    pub(super) host: Arc<str>,
    pub(super) budget: Option<Arc<Budget>>,
    pub(super) pause: Mutex<Pause>,
    pub(super) epoch: Instant,
    /// Hosts that are paused, this one among them.
    pub(super) paused: IntGauge,
    pub(super) telemetry: Telemetry,
}

impl Shared {
    pub(super) fn pause_left(&self) -> Option<Duration> {
        self.pause.lock().left(self.epoch.elapsed())
    }

    /// Begins a pause, where the answer asks for one, and not for another host's sake.
    pub(super) fn heed(self: &Arc<Self>, error: &Error) {
        use ErrorKind::{UpstreamFailed, UpstreamThrottled};
        let of_a_host = matches!(error.kind(), UpstreamThrottled | UpstreamFailed);
        let speaks = of_a_host && !error.is_from_elsewhere();
        let Some(asked) = error.retry_after().filter(|_| speaks) else { return };
        let begins = self.pause.lock().begin(self.epoch.elapsed(), asked);
        if begins {
            self.paused.inc();
            let seconds = asked.min(PAUSE_MAX).as_secs();
            tracing::warn!(host = %self.host, seconds, "left alone for as long as it asks (Retry-After)");
            tokio::spawn(end_of_pause(Arc::downgrade(self)));
        }
    }

    pub(super) fn left_alone(&self, left: Duration) -> Error {
        let text = format!(
            "{} asked to be left alone for another {} s (Retry-After): ask again then",
            self.host,
            whole_seconds(left)
        );
        Error::new(ErrorKind::UpstreamPaused, text).with_retry_after(left)
    }

    /// Whether the host may be asked now.
    pub(super) fn passes(&self) -> Result<(), Error> {
        self.pause_left().map_or(Ok(()), |left| Err(self.left_alone(left)))
    }

    /// Holds what has its slot to the rates once more: in line for it, turns have piled up. Whether that took
    /// time.
    pub(super) async fn leave(&self, request: &impl TakesTurns) -> Result<bool, Error> {
        let class = request.rate_class();
        let class = class.map(|class| (&class.budget, PaceReason::Class));
        let host = self.budget.as_ref().map(|budget| (budget, PaceReason::Host));
        let mut has_waited = false;
        // Spent together: where the host refuses, a turn of the class that has yet to come is given back.
        let mut turns = Vec::new();
        for (budget, reason) in class.into_iter().chain(host) {
            let latest = request.context().deadline.min(Instant::now() + SLOT_HELD_MAX);
            let turn = budget.leave(latest).map_err(|wait| {
                self.telemetry.metrics.paced.get((reason, Paced::Waited)).inc();
                refusal(&self.whose(request, reason), budget.rate(), wait)
            })?;
            let wait = turn.at().saturating_duration_since(Instant::now());
            if !wait.is_zero() {
                if wait >= NO_WAIT {
                    self.telemetry.metrics.paced.get((reason, Paced::Waited)).inc();
                }
                let _waits = request.context().timings.enter(Phase::Queue);
                tokio::time::sleep(wait).await;
                has_waited = true;
            }
            turns.push(turn);
        }
        turns.into_iter().for_each(Turn::spend);
        Ok(has_waited)
    }

    /// Whose rate it is, as texts have it.
    fn whose(&self, request: &impl TakesTurns, reason: PaceReason) -> String {
        match (request.rate_class(), reason) {
            (Some(class), PaceReason::Class) => {
                format!("modules of the rate class {:?}", class.name)
            }
            _ => self.host.to_string(),
        }
    }

    /// Waits until the request may go.
    async fn admit(
        &self,
        request: &impl TakesTurns,
        patience: &mut Patience<'_>,
    ) -> Result<(), Error> {
        while let Some(left) = self.pause_left() {
            let until = Instant::now() + left;
            let refusal = || self.left_alone(left);
            patience.wait(until, PaceReason::Paused, refusal).await?;
        }
        // Spent together: where the host refuses, a turn of the class that has yet to come is given back.
        let mut turns = Vec::new();
        if let Some(class) = request.rate_class() {
            let refusal = |rate, wait| refusal(&self.whose(request, PaceReason::Class), rate, wait);
            turns.push(patience.take(&class.budget, PaceReason::Class, refusal).await?);
        }
        if let Some(budget) = &self.budget {
            let refusal = |rate, wait| refusal(&self.host, rate, wait);
            turns.push(patience.take(budget, PaceReason::Host, refusal).await?);
        }
        turns.into_iter().for_each(Turn::spend);
        Ok(())
    }
}

/// What nobody can ask any more, because a reload took it away, is not paused any more either.
impl Drop for Shared {
    fn drop(&mut self) {
        if self.pause.get_mut().is_begun() {
            self.paused.dec();
        }
    }
}

/// Says when a pause is over, also where nobody asks. It keeps no host that a reload took away.
async fn end_of_pause(shared: Weak<Shared>) {
    let mut left = Duration::ZERO;
    loop {
        tokio::time::sleep(left).await;
        let Some(shared) = shared.upgrade() else { return };
        let ended = shared.pause.lock().end(shared.epoch.elapsed());
        match ended {
            Err(more) => left = more,
            Ok(()) => {
                shared.paused.dec();
                tracing::info!(host = %shared.host, "may be asked again");
                return;
            }
        }
    }
}

fn refusal(who: &str, rate: Rate, wait: Duration) -> Error {
    let text = format!(
        "the gateway asks {who} no faster than {rate}, and the next turn is {} s away: ask again then",
        whole_seconds(wait)
    );
    Error::new(ErrorKind::UpstreamPaced, text).with_retry_after(wait)
}

/// As `Retry-After` has it: who comes a moment too soon comes in vain.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// How long one attempt may still wait, and what is said of its waits.
struct Patience<'a> {
    left: Duration,
    context: &'a RequestContext,
    telemetry: &'a Telemetry,
}

impl Patience<'_> {
    fn latest(&self) -> Instant {
        let deadline = self.context.deadline;
        Instant::now().checked_add(self.left).map_or(deadline, |latest| latest.min(deadline))
    }

    fn count(&self, reason: PaceReason, result: Paced) {
        self.telemetry.metrics.paced.get((reason, result)).inc();
    }

    fn refused(&self, reason: PaceReason, error: Error) -> Error {
        self.count(reason, Paced::Refused);
        error
    }

    /// Takes a turn, and waits for it.
    async fn take(
        &mut self,
        budget: &Arc<Budget>,
        reason: PaceReason,
        refusal: impl Fn(Rate, Duration) -> Error,
    ) -> Result<Turn, Error> {
        let refuse = |wait| self.refused(reason, refusal(budget.rate(), wait));
        let turn = budget.turn(self.latest()).map_err(refuse)?;
        if turn.at() > Instant::now() {
            let too_late = || refusal(budget.rate(), turn.at() - Instant::now());
            self.wait(turn.at(), reason, too_late).await?;
        }
        Ok(turn)
    }

    /// Waits as long as the gate has said, where it has turned the request back and counted that.
    async fn wait_again(&mut self, error: Error) -> Result<(), Error> {
        let until = Instant::now().checked_add(error.retry_after().unwrap_or_default());
        match until.filter(|until| *until <= self.latest()) {
            Some(until) => self.sleep(until).await,
            None => return Err(error),
        }
        Ok(())
    }

    async fn wait(
        &mut self,
        until: Instant,
        reason: PaceReason,
        refusal: impl FnOnce() -> Error,
    ) -> Result<(), Error> {
        if until > self.latest() {
            return Err(self.refused(reason, refusal()));
        }
        self.count(reason, Paced::Waited);
        self.sleep(until).await;
        Ok(())
    }

    async fn sleep(&mut self, until: Instant) {
        let (begun, _waits) = (Instant::now(), self.context.timings.enter(Phase::Queue));
        tokio::time::sleep_until(until).await;
        self.left = self.left.saturating_sub(begun.elapsed());
    }
}

/// Calls `S` when it is the request's turn.
#[derive(Clone, Debug)]
pub struct Pace<S> {
    pub(super) inner: S,
    pub(super) shared: Arc<Shared>,
}

impl<S> Pace<S> {
    async fn handle<Request>(&self, request: Request) -> Result<Fetched, Error>
    where
        S: Stage<Request, Reply = Fetched>,
        Request: TakesTurns,
    {
        let Self { inner, shared } = self;
        let mut patience = Patience {
            left: request.turn_patience(),
            context: request.context(),
            telemetry: &shared.telemetry,
        };
        let mut turned_back = 0;
        loop {
            shared.admit(&request, &mut patience).await?;
            let error = match inner.clone().run(request.clone()).await {
                Err(error) if turned_back < TURNED_BACK_MAX => error,
                result => return result,
            };
            match error.kind() {
                // The host was not asked: a pause has begun while this stood in line for a slot.
                ErrorKind::UpstreamPaused => {}
                // Nor here: too many have left that stood in line together.
                ErrorKind::UpstreamPaced => patience.wait_again(error).await?,
                _ => return Err(error),
            }
            turned_back += 1;
        }
    }
}

stage!(Pace<S>: FetchRequest => Fetched, over FetchRequest => Fetched);
stage!(Pace<S>: SumDbFetch => Fetched, over SumDbFetch => Fetched);
