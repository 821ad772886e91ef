use std::time::Duration;

use tokio_util::task::TaskTracker;
use tower::Layer;

use super::service::{Landed, SingleFlight};
use crate::flight::Flights;
use crate::request::StashKey;
use crate::telemetry::Telemetry;

/// Makes [`SingleFlight`]s that share one set of flights.
#[derive(Clone)]
pub struct SingleFlightLayer {
    flights: Flights<StashKey, Landed>,
    stash_timeout: Duration,
    telemetry: Telemetry,
}

impl SingleFlightLayer {
    /// A stash may take `stash_timeout` until its answer begins; `tasks` counts the running ones.
    pub fn new(stash_timeout: Duration, tasks: TaskTracker, telemetry: &Telemetry) -> Self {
        Self { flights: Flights::new(tasks), stash_timeout, telemetry: telemetry.clone() }
    }
}

impl<S> Layer<S> for SingleFlightLayer {
    type Service = SingleFlight<S>;

    fn layer(&self, inner: S) -> SingleFlight<S> {
        SingleFlight {
            inner,
            flights: self.flights.clone(),
            stash_timeout: self.stash_timeout,
            active: self.telemetry.metrics.flights_active.get(()).clone(),
        }
    }
}
