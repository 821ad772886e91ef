use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::error::Error;
use crate::request::HasContext;
use crate::response::HasOutcome;
use crate::stack::{Stage, stage};
use crate::telemetry::trace::Entered;
use crate::telemetry::{ActiveGauge, Histogram, LayerName, Metrics, Outcome, Telemetry};

/// The handles of one layer, resolved when the stack is built.
#[derive(Clone)]
pub(super) struct Handles {
    layer: LayerName,
    metrics: Arc<Metrics>,
    seconds: Histogram,
    active: ActiveGauge,
}

impl Handles {
    pub(super) fn new(layer: LayerName, telemetry: &Telemetry) -> Self {
        let metrics = Arc::clone(&telemetry.metrics);
        let seconds = metrics.layer_seconds.get((layer,)).clone();
        let active = metrics.layer_active.get((layer,)).clone();
        Self { layer, metrics, seconds, active }
    }
}

impl fmt::Debug for Handles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handles({})", self.layer)
    }
}

/// Counts and times the calls of `S`. A clone is one reference, whatever stands below.
#[derive(Debug)]
pub struct Observe<S>(Arc<Observed<S>>);

#[derive(Debug)]
struct Observed<S> {
    inner: S,
    /// Nothing where nobody can read what would be counted, and no trace is recorded.
    handles: Option<Handles>,
}

impl<S> Clone for Observe<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S> Observe<S> {
    pub(super) fn new(inner: S, handles: Option<Handles>) -> Self {
        Self(Arc::new(Observed { inner, handles }))
    }

    async fn handle<Request>(&self, mut request: Request) -> Result<S::Reply, Error>
    where
        S: Stage<Request>,
        S::Reply: HasOutcome,
        Request: HasContext + Send + 'static,
    {
        let Observed { inner, handles } = &*self.0;
        let Some(handles) = handles else { return inner.run(request).await };
        let mut call = Call::start(handles, &mut request);
        let result = inner.run(request).await;
        call.outcome = result.outcome();
        if call.span.is_some() {
            call.error = result.as_ref().err().map(|error| error.message().to_owned());
        }
        result
    }
}

stage!(Observe<S>: any Request, where S::Reply: HasOutcome);

/// One call; recorded on drop, so that a cancelled call is counted too.
struct Call<'a> {
    handles: &'a Handles,
    started: Instant,
    span: Option<Entered>,
    outcome: Outcome,
    error: Option<String>,
}

impl<'a> Call<'a> {
    fn start(handles: &'a Handles, request: &mut impl HasContext) -> Self {
        handles.active.inc();
        Self {
            started: Instant::now(),
            span: request.context_mut().trace.enter(),
            outcome: Outcome::Dropped,
            error: None,
            handles,
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let Handles { layer, metrics, seconds, active } = self.handles;
        let lasted = self.started.elapsed();
        active.dec();
        metrics.layer_calls.get((*layer, self.outcome)).inc();
        let exemplar = self.span.as_ref().and_then(Entered::exemplar);
        seconds.observe_in(lasted.as_secs_f64(), exemplar);
        if let Some(span) = self.span.take() {
            let time = (self.started, lasted);
            span.end((*layer).into(), time, self.outcome, self.error.as_deref());
        }
    }
}
