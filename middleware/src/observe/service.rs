use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use tower::util::ServiceExt as _;

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

/// Counts and times the calls of `S`. Every call clones what it goes through, and threads that count the same
/// references wait for each other: so a clone is one reference, whatever stands below.
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

    async fn handle<Request>(self, mut request: Request) -> Result<S::Reply, Error>
    where
        S: Stage<Request>,
        S::Reply: HasOutcome,
        Request: HasContext + Send + 'static,
    {
        let inner = self.0.inner.clone();
        if self.0.handles.is_none() {
            return inner.oneshot(request).await;
        }
        let mut call = Call::start(self.0, &mut request);
        let result = inner.oneshot(request).await;
        call.outcome = result.outcome();
        if call.span.is_some() {
            call.error = result.as_ref().err().map(|error| error.message().to_owned());
        }
        result
    }
}

stage!(Observe<S>: any Request, where S::Reply: HasOutcome);

/// One call; recorded on drop, so that a cancelled call is counted too.
struct Call<S> {
    observed: Arc<Observed<S>>,
    started: Instant,
    span: Option<Entered>,
    outcome: Outcome,
    error: Option<String>,
}

impl<S> Call<S> {
    fn start(observed: Arc<Observed<S>>, request: &mut impl HasContext) -> Self {
        if let Some(handles) = &observed.handles {
            handles.active.inc();
        }
        Self {
            started: Instant::now(),
            span: request.context_mut().trace.enter(),
            outcome: Outcome::Dropped,
            error: None,
            observed,
        }
    }
}

impl<S> Drop for Call<S> {
    fn drop(&mut self) {
        let Some(handles) = &self.observed.handles else { return };
        let Handles { layer, metrics, seconds, active } = handles;
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
