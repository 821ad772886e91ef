use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use tower::util::ServiceExt as _;

use crate::error::Error;
use crate::request::HasContext;
use crate::response::HasOutcome;
use crate::stack::{Stage, stage};
use crate::telemetry::trace::Entered;
use crate::telemetry::{Histogram, InFlight, IntGauge, LayerName, Metrics, Outcome, Telemetry};

/// The handles of one layer, resolved when the stack is built.
#[derive(Clone)]
pub(super) struct Handles {
    layer: LayerName,
    metrics: Arc<Metrics>,
    seconds: Histogram,
    active: IntGauge,
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

/// Counts and times the calls of `S`.
#[derive(Clone, Debug)]
pub struct Observe<S> {
    pub(super) inner: S,
    pub(super) handles: Handles,
}

impl<S> Observe<S> {
    async fn handle<Request>(self, mut request: Request) -> Result<S::Reply, Error>
    where
        S: Stage<Request>,
        S::Reply: HasOutcome,
        Request: HasContext + Send + 'static,
    {
        let Self { inner, handles } = self;
        let mut call = Call::start(handles, &mut request);
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
struct Call {
    handles: Handles,
    started: Instant,
    span: Option<Entered>,
    outcome: Outcome,
    error: Option<String>,
    _active: InFlight,
}

impl Call {
    fn start(handles: Handles, request: &mut impl HasContext) -> Self {
        Self {
            started: Instant::now(),
            span: request.context_mut().trace.enter(),
            outcome: Outcome::Dropped,
            error: None,
            _active: InFlight::enter(&handles.active),
            handles,
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let Handles { layer, metrics, seconds, .. } = &self.handles;
        let ended = Instant::now();
        metrics.layer_calls.get((*layer, self.outcome)).inc();
        let exemplar = self.span.as_ref().and_then(Entered::exemplar);
        seconds.observe_in(ended.duration_since(self.started).as_secs_f64(), exemplar);
        if let Some(span) = self.span.take() {
            let times = (self.started, ended);
            span.end((*layer).into(), times, self.outcome, self.error.as_deref());
        }
    }
}
