use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tower::Layer;

use super::gate::GateLayer;
use super::service::{Pace, Shared};
use crate::budget::{Budget, Rate};
use crate::error::Error;
use crate::request::TURN_PATIENCE;
use crate::telemetry::Telemetry;

/// Makes the [`Pace`]s and the gates of one host.
#[derive(Clone, Debug)]
pub struct PaceLayer {
    shared: Arc<Shared>,
}

impl PaceLayer {
    /// Holds all calls of `host` to `rate`, if there is one, and to what the host itself asks for.
    pub fn new(host: Arc<str>, rate: Option<Rate>, telemetry: &Telemetry) -> Self {
        let budget = rate.map(|rate| Arc::new(Budget::new(rate)));
        // Told from the start: a gauge is believed that is 0 while all is well.
        let paused = telemetry.metrics.hosts_paused.get(()).clone();
        let (pause, epoch, telemetry) = (Mutex::default(), Instant::now(), telemetry.clone());
        Self { shared: Arc::new(Shared { host, budget, pause, epoch, paused, telemetry }) }
    }

    /// For how long the host wants to be left alone yet, if it does.
    pub fn pause_left(&self) -> Option<Duration> {
        self.shared.pause_left()
    }

    /// What a request is refused with that would have to wait longer than it may.
    pub fn refusal(&self) -> Option<Error> {
        let left = self.pause_left().filter(|left| *left > TURN_PATIENCE)?;
        Some(self.shared.left_alone(left))
    }

    /// What stands directly below the slots.
    pub fn gate(&self) -> GateLayer {
        GateLayer { shared: Arc::clone(&self.shared) }
    }
}

impl<S> Layer<S> for PaceLayer {
    type Service = Pace<S>;

    fn layer(&self, inner: S) -> Pace<S> {
        Pace { inner, shared: Arc::clone(&self.shared) }
    }
}
