use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind};
use crate::ports::{Fetched, Fetcher};
use crate::request::FetchRequest;
use crate::stack::stage;
use crate::telemetry::{Answered, Kept, Outcome, Phase, SpanAttribute, Telemetry, UpstreamClass};

/// When to ask again what policy has changed about.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Calls a [`Fetcher`].
#[derive(Clone)]
pub struct Upstream {
    fetcher: Arc<dyn Fetcher>,
    class: UpstreamClass,
    telemetry: Telemetry,
}

impl Upstream {
    /// Over one fetcher.
    pub fn new(fetcher: Arc<dyn Fetcher>, class: UpstreamClass, telemetry: &Telemetry) -> Self {
        Self { fetcher, class, telemetry: telemetry.clone() }
    }

    async fn handle(&self, request: FetchRequest) -> Result<Fetched, Error> {
        if !request.is_permitted() {
            let text =
                format!("policy has changed while {} was asked for: ask again", request.module);
            return Err(Error::new(ErrorKind::PolicyChanged, text).with_retry_after(ASK_AGAIN));
        }
        let (kind, class) = (request.ask.kind(), self.class);
        let trace = request.context.trace.clone();
        // Whatever comes of it, this is no hit; so it can be said upstream that the trace is kept.
        request.context.trace.keep(Kept::Miss);
        request.context.trace.attribute(SpanAttribute::Upstream, &*self.fetcher.name());
        let _waits = request.context.timings.enter(Phase::Upstream);
        let started = Instant::now();
        let result = self.fetcher.fetch(request).await;
        let metrics = &self.telemetry.metrics;
        let (seconds, exemplar) = (started.elapsed().as_secs_f64(), trace.exemplar());
        metrics.fetch_seconds.get((kind,)).observe_in(seconds, exemplar);
        metrics.class_fetch_seconds.get((class,)).observe_in(seconds, exemplar);
        let outcome = result.as_ref().map_or_else(Error::outcome, |_| Outcome::Ok);
        metrics.fetches.get((kind, outcome)).inc();
        metrics.class_fetches.get((class, Answered::of(outcome))).inc();
        result
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upstream({})", self.fetcher.name())
    }
}

stage!(Upstream: FetchRequest => Fetched);
