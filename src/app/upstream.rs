//! The upstream stacks: one for each entry of a GOPROXY list, one for `direct`, and the list itself.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use dipylon_middleware::breaker::{BreakerLayer, Standing};
use dipylon_middleware::budget::Rate;
use dipylon_middleware::deadline::DeadlineLayer;
use dipylon_middleware::explain::Facts;
use dipylon_middleware::hedge::HedgeLayer;
use dipylon_middleware::limit::LimitLayer;
use dipylon_middleware::pace::{GateLayer, PaceLayer};
use dipylon_middleware::ports::{Fetched, Fetcher};
use dipylon_middleware::request::{FetchRequest, SumDbFetch};
use dipylon_middleware::retry::RetryLayer;
use dipylon_middleware::stack::{Border, Pushed, Stack};
use dipylon_middleware::telemetry::{LayerName, Telemetry, UpstreamClass};
use dipylon_middleware::upstream::Upstream;
use dipylon_middleware::{Error, ErrorKind};
use serde_json::json;
use tower::layer::util;

use crate::config::Config;
use crate::fetch::goproxy_list::Stands;

/// Runs of the `go` command at a time, as far as `direct` sees them.
const GO_COMMANDS_MAX: usize = 64;

/// What all upstreams at one host share, whichever lists name them: it is one server, which can be reached or not, and
/// which all of them load.
#[derive(Clone, Debug)]
pub(crate) struct UpstreamHost {
    breaker: BreakerLayer,
    line: Line,
}

/// What each request to a host passes, attempts of one call and what is of no module alike.
#[derive(Clone, Debug)]
struct Line {
    pace: PaceLayer,
    limit: LimitLayer,
}

impl UpstreamHost {
    /// The host called `name`, free and asked by nobody yet.
    pub(crate) fn new(config: &Config, name: Arc<str>, telemetry: &Telemetry) -> Self {
        let slots = config.dipylon.upstream_concurrency as usize;
        let what = "requests to one upstream host (UpstreamConcurrency)";
        let limit = LimitLayer::new(what, slots, config.stash_timeout);
        let pace = PaceLayer::new(Arc::clone(&name), rate_of_a_host(config), telemetry);
        Self { breaker: BreakerLayer::host(name, telemetry), line: Line { pace, limit } }
    }

    /// The way to what an upstream at the host, which is below, carries of checksum databases: it counts as
    /// anything else that is asked of the host.
    pub(crate) fn carrier(
        &self,
        below: Border<SumDbFetch, Fetched>,
        telemetry: &Telemetry,
    ) -> Border<SumDbFetch, Fetched> {
        self.line.below(Stack::new(telemetry)).over(LayerName::Upstream, below)
    }
}

/// One upstream as who looks on sees it: what its stack shares with what it tells.
#[derive(Clone, Debug)]
pub(crate) struct UpstreamWatch {
    name: Arc<str>,
    breaker: BreakerLayer,
    host_breaker: BreakerLayer,
    line: Line,
}

impl UpstreamWatch {
    /// The upstream called `name`, without credentials, at `host`.
    pub(crate) fn new(name: Arc<str>, host: &UpstreamHost, telemetry: &Telemetry) -> Self {
        let breaker = BreakerLayer::upstream(Arc::clone(&name), telemetry);
        Self { name, breaker, host_breaker: host.breaker.for_another(), line: host.line.clone() }
    }
}

fn shown(standing: &Standing) -> Facts {
    json!({
        "open": standing.is_open,
        "failures": standing.failures,
        "refuses_for_seconds": standing.refused_for.map(|left| left.as_secs_f64().ceil()),
        "cause": standing.cause.as_deref(),
    })
}

impl Stands for UpstreamWatch {
    fn standing(&self) -> Facts {
        let Self { name, breaker, host_breaker, line } = self;
        let slots = line.limit.standing();
        json!({
            "name": &**name,
            "breaker": shown(&breaker.standing()),
            "host_breaker": shown(&host_breaker.standing()),
            "paused_for_seconds": line.pace.pause_left().map(|left| left.as_secs_f64().ceil()),
            "slots": { "used": slots.used, "of": slots.slots, "waiting": slots.waiting },
        })
    }

    fn refusal(&self) -> Option<Error> {
        let left_alone = self.breaker.refusal().or_else(|| self.host_breaker.refusal());
        left_alone.or_else(|| self.line.pace.refusal())
    }
}

impl Line {
    fn below<L>(&self, above: Stack<L>) -> Stack<InLine<L>> {
        let Self { pace, limit } = self.clone();
        let gate = pace.gate();
        above
            // Above the slots: who waits for a turn holds none.
            .push(LayerName::UpstreamPace, pace)
            // Above the deadline: the wait for a slot is not the upstream's fault. With the gate of the pace below it:
            // what stood in line while a pause began, or together, does not reach the host at once.
            .push(LayerName::UpstreamLimit, util::Stack::new(gate, limit))
    }
}

type InLine<L> = Pushed<util::Stack<GateLayer, LimitLayer>, Pushed<PaceLayer, L>>;

/// How fast a host may be asked; nothing where there is no limit but its own word.
fn rate_of_a_host(config: &Config) -> Option<Rate> {
    Some(Rate {
        per_second: NonZeroU32::new(config.dipylon.upstream_rate)?,
        burst: NonZeroU32::new(config.dipylon.upstream_burst)?,
    })
}

/// Upstream: one such stack for each proxy of the GOPROXY list, so that one that fails does not take the others with
/// it. What is at one host shares that host's breaker, slots and pace; how it answers is each one's own: of two
/// repositories on one server, one may fail alone.
pub(crate) fn upstream_stack(
    config: &Config,
    attempt: Duration,
    (fetcher, class): (Arc<dyn Fetcher>, UpstreamClass),
    watch: &UpstreamWatch,
    telemetry: &Telemetry,
) -> Border<FetchRequest, Fetched> {
    let UpstreamWatch { breaker, host_breaker, line, .. } = watch.clone();
    let attempts_max = config.dipylon.upstream_attempts;
    let upstream = Upstream::new(fetcher, class, telemetry);
    // Innermost: bounds one attempt until its answer begins.
    let deadline = DeadlineLayer::new("upstream", attempt, ErrorKind::UpstreamTimeout);
    let hedge = config.dipylon.hedge_after.if_any().map(|after| {
        let second = line
            .below(Stack::new(telemetry))
            .push(LayerName::UpstreamDeadline, deadline)
            .over(LayerName::Upstream, upstream.clone());
        HedgeLayer::new(after, second, telemetry)
    });
    let attempts = Stack::new(telemetry)
        // Outermost: what an open breaker refuses costs neither a slot nor an attempt.
        .push(LayerName::UpstreamBreaker, breaker)
        // Below the upstream's own: what that refuses is not asked of the host, and says nothing of it.
        .push(LayerName::UpstreamHostBreaker, host_breaker)
        // Above the slots: a call that waits before its next attempt gives its slot back. Below the breakers, which
        // hear of what the last attempt met, never of a refusal between two.
        .push(LayerName::UpstreamRetry, RetryLayer::new(attempts_max, telemetry));
    // Below the retries: each attempt is one of the host's.
    line.below(attempts)
        // Below the attempts, so that both requests are one of them. Below the pace and the slots, so that it counts
        // from when the first leaves; the second goes the whole way, with a turn and a slot of its own.
        .push_if(LayerName::UpstreamHedge, hedge)
        .push(LayerName::UpstreamDeadline, deadline)
        .over(LayerName::Upstream, upstream)
}

/// `direct`: many hosts behind one entry. A breaker would let one dead host refuse the modules of all
/// others, and a retry would run `go`, which has asked and waited itself, all over again. Which hosts `go`
/// asks is not known, so of the pace there are the rate classes alone.
pub(crate) fn direct_stack(
    config: &Config,
    fetcher: Arc<dyn Fetcher>,
    telemetry: &Telemetry,
) -> Border<FetchRequest, Fetched> {
    let limit = LimitLayer::new("go commands", GO_COMMANDS_MAX, config.stash_timeout);
    // Nobody tells a whole way of getting modules to leave them alone: the classes are all there is to it.
    Line { pace: PaceLayer::new("direct".into(), None, telemetry), limit }
        .below(Stack::new(telemetry))
        // Innermost: a clone takes as long as a stash may.
        .push(
            LayerName::UpstreamDeadline,
            DeadlineLayer::new("upstream", config.stash_timeout, ErrorKind::UpstreamTimeout),
        )
        .over(LayerName::Upstream, Upstream::new(fetcher, UpstreamClass::Direct, telemetry))
}

/// The GOPROXY list as one upstream: the stash stack calls it, and each entry has its own stack.
pub(crate) fn list_stack(
    list: Arc<dyn Fetcher>,
    telemetry: &Telemetry,
) -> Border<FetchRequest, Fetched> {
    let walk = tower::service_fn(move |request: FetchRequest| {
        let list = Arc::clone(&list);
        async move { list.fetch(request).await as Result<Fetched, Error> }
    });
    Stack::new(telemetry).over(LayerName::GoproxyList, walk)
}

#[cfg(test)]
mod tests;
