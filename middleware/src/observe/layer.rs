use tower::Layer;

use super::service::{Handles, Observe};
use crate::telemetry::{LayerName, Telemetry};

/// Makes [`Observe`]s for one layer.
#[derive(Clone, Debug)]
pub struct ObserveLayer {
    handles: Option<Handles>,
}

impl ObserveLayer {
    /// Resolves the metric handles of `layer` once. Without metrics that somebody can read, and without traces,
    /// calls are neither counted nor timed.
    pub fn new(layer: LayerName, telemetry: &Telemetry) -> Self {
        let is_heard = telemetry.is_read() || telemetry.tracer.records();
        Self { handles: is_heard.then(|| Handles::new(layer, telemetry)) }
    }
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observe<S>;

    fn layer(&self, inner: S) -> Observe<S> {
        Observe::new(inner, self.handles.clone())
    }
}
