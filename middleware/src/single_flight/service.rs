use std::time::Duration;

use prometheus::IntGauge;
use tokio::time::Instant;
use tower::util::ServiceExt as _;

use crate::error::{Error, ErrorKind};
use crate::flight::{Flights, NoLanding, Role};
use crate::purge::{Era, Purges};
use crate::request::{StashKey, StashRequest};
use crate::response::Stashed;
use crate::stack::{Stage, stage};
use crate::telemetry::trace::SpanRef;
use crate::telemetry::{InFlight, Kept, Outcome};

/// What a flight brings: its result, and the leader's span for followers to link to.
pub(super) type Landed = (Result<Stashed, Error>, Option<SpanRef>);

/// Runs `S` once per key.
#[derive(Clone, Debug)]
pub struct SingleFlight<S> {
    pub(super) inner: S,
    pub(super) flights: Flights<(StashKey, Era), Landed>,
    pub(super) purges: Purges,
    pub(super) stash_timeout: Duration,
    pub(super) active: IntGauge,
}

impl<S: Stage<StashRequest, Reply = Stashed>> SingleFlight<S> {
    async fn handle(self, request: StashRequest) -> Result<Stashed, Error> {
        let Self { inner, flights, purges, stash_timeout, active } = self;
        let era = purges.era(&request.key.module);
        let (key, deadline) = ((request.key.clone(), era), request.context.deadline);
        let trace = request.context.trace.clone();
        // Who leads and who follows: neither is a hit.
        trace.keep(Kept::Miss);
        let landed = flights
            .join(key, deadline, |landing| async move {
                let _active = InFlight::enter(&active);
                let mut request = request;
                request.context.deadline = Instant::now() + stash_timeout;
                let leader = request.context.trace.span();
                let result = inner.oneshot(request).await;
                landing.land((result.clone(), leader));
                if let Ok(stashed) = result {
                    // The key stays taken until the commit: a request in between follows.
                    stashed.finished.wait().await;
                }
            })
            .await;
        match landed {
            Ok(((result, leader), role)) => {
                if let (Role::Follower, Some(leader)) = (role, leader) {
                    trace.link(leader);
                }
                result.map(|stashed| with_role(stashed, role))
            }
            Err(NoLanding::Overdue) => Err(Error::new(
                ErrorKind::DeadlineExceeded,
                "the fetch takes longer than this request may wait; it goes on: ask again",
            )),
            Err(NoLanding::Crashed) => {
                Err(Error::new(ErrorKind::Internal, "the fetch crashed; ask again"))
            }
        }
    }
}

fn with_role(mut stashed: Stashed, role: Role) -> Stashed {
    if role == Role::Follower && stashed.outcome == Outcome::MissLeader {
        stashed.outcome = Outcome::MissFollower;
    }
    stashed
}

stage!(SingleFlight<S>: StashRequest => Stashed, over StashRequest => Stashed);
