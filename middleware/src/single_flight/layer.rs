use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::TaskTracker;
use tower::Layer;

use super::service::{Landed, SingleFlight};
use crate::flight::Flights;
use crate::purge::{Era, Purges};
use crate::request::StashKey;
use crate::telemetry::Telemetry;

/// Makes [`SingleFlight`]s that share one set of flights.
#[derive(Clone)]
pub struct SingleFlightLayer {
    flights: Flights<(StashKey, Era), Landed>,
    purges: Purges,
    stash_timeout: Duration,
    telemetry: Telemetry,
}

impl SingleFlightLayer {
    /// A stash may take `stash_timeout` until its answer begins; `tasks` counts the running ones.
    pub fn new(stash_timeout: Duration, tasks: TaskTracker, telemetry: &Telemetry) -> Self {
        let (flights, purges) = (Flights::new(tasks), Purges::default());
        Self { flights, purges, stash_timeout, telemetry: telemetry.clone() }
    }

    /// After each of these purges nobody joins what began before.
    pub fn anew_after(self, purges: Purges) -> Self {
        Self { purges, ..self }
    }
}

impl<S> Layer<S> for SingleFlightLayer {
    type Service = SingleFlight<S>;

    fn layer(&self, inner: S) -> SingleFlight<S> {
        SingleFlight {
            inner,
            flights: self.flights.clone(),
            purges: self.purges.clone(),
            stash_timeout: self.stash_timeout,
            metrics: Arc::clone(&self.telemetry.metrics),
        }
    }
}
