use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio_util::task::TaskTracker;
use tower::Layer;

use super::service::{Landed, SingleFlight};
use crate::explain::{Ending, Facts, Foretold, ROWS_TOLD_MAX, Subject, Tells, file_of};
use crate::flight::{Flights, UnderWay};
use crate::ports::BoxFuture;
use crate::purge::{Era, Purges};
use crate::request::{ModuleRequest, StashKey, Want};
use crate::telemetry::{Outcome, Telemetry};

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

impl SingleFlightLayer {
    /// The oldest flights, `most` of them at most, of which `is_meant` says so.
    pub fn under_way(
        &self,
        most: usize,
        is_meant: impl Fn(&StashKey) -> bool,
    ) -> Vec<UnderWay<StashKey>> {
        let seen = self.flights.under_way(most, |(key, _)| is_meant(key));
        let of_key = |UnderWay { key: (key, _), age, followers }| UnderWay { key, age, followers };
        seen.into_iter().map(of_key).collect()
    }

    /// Flights under way.
    pub fn count(&self) -> usize {
        self.flights.len()
    }
}

impl Tells for SingleFlightLayer {
    fn tell<'a>(&'a self, about: &'a Subject) -> BoxFuture<'a, Facts> {
        let is_meant = |key: &StashKey| {
            let is_version = about.version.as_ref().is_none_or(|version| *version == key.version);
            key.module == about.module && is_version
        };
        let flights = self.under_way(ROWS_TOLD_MAX, is_meant).into_iter().map(|flight| {
            json!({
                "version": flight.key.version.as_str(),
                "want": flight.key.want.as_str(),
                "age_seconds": flight.age.as_secs(),
                "followers": flight.followers,
            })
        });
        Box::pin(ready(flights.collect()))
    }

    fn foretell<'a>(&'a self, request: &'a ModuleRequest) -> BoxFuture<'a, Foretold> {
        let era = self.purges.era(&request.module);
        let joins = file_of(request).is_some_and(|file| {
            [Want::File(file.kind), Want::Version].into_iter().any(|want| {
                let (module, version) = (file.module.clone(), file.version.clone());
                self.flights.is_under_way(&(StashKey { module, version, want }, era))
            })
        });
        Box::pin(ready(if joins {
            Foretold::Ends(Ending::new(Outcome::MissFollower, "it is being fetched already"))
        } else {
            Foretold::Passes
        }))
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
