use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, ErrorKind};
use crate::flight::{Flights, NoLanding, Role};
use crate::purge::{Era, Purges};
use crate::request::{StashKey, StashRequest};
use crate::response::Stashed;
use crate::stack::{Stage, stage};
use crate::telemetry::trace::SpanRef;
use crate::telemetry::{FlightEnd, FlightRole, InFlight, Kept, Metrics, Outcome, Trace};

/// What a flight brings: its result, and the leader's span for followers to link to.
pub(super) type Landed = (Result<Stashed, Error>, Option<SpanRef>);

/// Runs `S` once per key.
#[derive(Clone, Debug)]
pub struct SingleFlight<S> {
    pub(super) inner: S,
    pub(super) flights: Flights<(StashKey, Era), Landed>,
    pub(super) purges: Purges,
    pub(super) stash_timeout: Duration,
    pub(super) metrics: Arc<Metrics>,
}

impl<S: Stage<StashRequest, Reply = Stashed>> SingleFlight<S> {
    async fn handle(&self, request: StashRequest) -> Result<Stashed, Error> {
        // The flight goes on when its callers have gone away.
        let Self { inner, flights, purges, stash_timeout, metrics } = self.clone();
        let active = metrics.flights_active.get(()).clone();
        let era = purges.era(&request.key.module);
        let (key, deadline) = ((request.key.clone(), era), request.context.deadline);
        let trace = request.context.trace.clone();
        // Who leads and who follows: neither is a hit.
        trace.keep(Kept::Miss);
        let boarded = flights.board(key, |landing| async move {
            let _active = InFlight::enter(&active);
            let mut request = request;
            request.context.deadline = Instant::now() + stash_timeout;
            let leader = request.context.trace.span();
            let result = inner.run(request).await;
            landing.land((result.clone(), leader));
            if let Ok(stashed) = result {
                // The key stays taken until the commit: a request in between follows.
                stashed.finished.wait().await;
            }
        });
        let role = boarded.role;
        let mut waits = Waits::begin(&metrics, role, &trace);
        let landed = boarded.landed(deadline).await;
        waits.end = match &landed {
            Ok((Ok(_), _)) => FlightEnd::Answered,
            Ok((Err(_), _)) => FlightEnd::Failed,
            Err(NoLanding::Overdue) => FlightEnd::Overdue,
            Err(NoLanding::Crashed) => FlightEnd::Crashed,
        };
        drop(waits);
        match landed {
            Ok((result, leader)) => {
                if let (Role::Follower, Some(leader)) = (role, leader) {
                    trace.link(leader);
                }
                match role {
                    Role::Leader => result,
                    Role::Follower => result.map(followed).map_err(Error::collapsed),
                }
            }
            Err(NoLanding::Overdue) => {
                let text =
                    "the fetch takes longer than this request may wait; it goes on: ask again";
                let error = Error::new(ErrorKind::DeadlineExceeded, text).forwarded();
                Err(if role == Role::Follower { error.collapsed() } else { error })
            }
            Err(NoLanding::Crashed) => {
                Err(Error::new(ErrorKind::Internal, "the fetch crashed; ask again"))
            }
        }
    }
}

/// A request that waits for a stash; counted on drop, so that one which goes away is counted too.
struct Waits<'a> {
    metrics: &'a Metrics,
    trace: &'a Trace,
    role: FlightRole,
    end: FlightEnd,
    started: std::time::Instant,
}

impl<'a> Waits<'a> {
    fn begin(metrics: &'a Metrics, role: Role, trace: &'a Trace) -> Self {
        let role = match role {
            Role::Leader => FlightRole::Leader,
            Role::Follower => FlightRole::Follower,
        };
        let started = std::time::Instant::now();
        Self { metrics, trace, role, end: FlightEnd::Left, started }
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        let Self { metrics, trace, role, end, started } = self;
        let seconds = started.elapsed().as_secs_f64();
        metrics.flight_wait_seconds.get((*role,)).observe_in(seconds, trace.exemplar());
        metrics.flights.get((*role, *end)).inc();
    }
}

fn followed(mut stashed: Stashed) -> Stashed {
    if stashed.outcome == Outcome::MissLeader {
        stashed.outcome = Outcome::MissFollower;
    }
    stashed.forward.collapsed = true;
    stashed
}

stage!(SingleFlight<S>: StashRequest => Stashed, over StashRequest => Stashed);
