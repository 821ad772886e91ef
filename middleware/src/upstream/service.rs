use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind};
use crate::ports::{Fetched, Fetcher};
use crate::request::FetchRequest;
use crate::stack::stage;
use crate::telemetry::{Kept, Outcome, SpanAttribute, Telemetry};

/// When to ask again what policy has changed about.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Calls a [`Fetcher`].
#[derive(Clone)]
pub struct Upstream {
    fetcher: Arc<dyn Fetcher>,
    telemetry: Telemetry,
}

impl Upstream {
    /// Over one fetcher.
    pub fn new(fetcher: Arc<dyn Fetcher>, telemetry: &Telemetry) -> Self {
        Self { fetcher, telemetry: telemetry.clone() }
    }

    async fn handle(self, request: FetchRequest) -> Result<Fetched, Error> {
        if !request.is_permitted() {
            let text =
                format!("policy has changed while {} was asked for: ask again", request.module);
            return Err(Error::new(ErrorKind::PolicyChanged, text).with_retry_after(ASK_AGAIN));
        }
        let kind = request.ask.kind();
        // Whatever comes of it, this is no hit; so it can be said upstream that the trace is kept.
        request.context.trace.keep(Kept::Miss);
        request.context.trace.attribute(SpanAttribute::Upstream, &*self.fetcher.name());
        let started = Instant::now();
        let result = self.fetcher.fetch(request).await;
        let metrics = &self.telemetry.metrics;
        metrics.fetch_seconds.get((kind,)).observe(started.elapsed().as_secs_f64());
        let outcome = result.as_ref().map_or_else(Error::outcome, |_| Outcome::Ok);
        metrics.fetches.get((kind, outcome)).inc();
        result
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upstream({})", self.fetcher.name())
    }
}

stage!(Upstream: FetchRequest => Fetched);
