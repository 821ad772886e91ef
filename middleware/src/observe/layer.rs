use tower::Layer;

use super::service::{Handles, Observe};
use crate::telemetry::{LayerName, Telemetry};

/// Makes [`Observe`]s for one layer.
#[derive(Clone, Debug)]
pub struct ObserveLayer {
    handles: Handles,
}

impl ObserveLayer {
    /// Resolves the metric handles of `layer` once.
    pub fn new(layer: LayerName, telemetry: &Telemetry) -> Self {
        Self { handles: Handles::new(layer, telemetry) }
    }
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observe<S>;

    fn layer(&self, inner: S) -> Observe<S> {
        Observe { inner, handles: self.handles.clone() }
    }
}
