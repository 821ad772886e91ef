//! Athens's own three metrics, under its names, for dashboards that were made for it; exposed where `[Dipylon]
//! AthensMetrics` says so. They say less than ours: `list` and `latest` are not counted, and a fetch is one success or
//! one failure.

use std::sync::Arc;
use std::time::Instant;

use dipylon_protocol::route::FileKind;
use prometheus::Registry;

use super::histogram::Histogram;
use super::instruments::IntCounter;
use super::labels::{LabelSet, label};
use super::metrics::{Family, Instrument, MetricInfo};
use crate::error::Error;
use crate::response::Stashed;

label! {
    /// Whether a file of a version was there.
    CacheResult = "cache_result" {
        /// It was, in memory or in storage.
        Hit = "hit",
        /// It was not.
        Miss = "miss",
    }
}

label! {
    /// Which file was asked for.
    CacheType = "cache_type" {
        /// `.info`
        Info = "info",
        /// `.mod`
        GoMod = "gomod",
        /// `.zip`
        Zip = "zip",
    }
}

label! {
    /// How a fetch ended.
    FetchResult = "fetch_result" {
        /// What was fetched is there.
        Success = "success",
        /// It failed, on whatever side.
        Failure = "failure",
    }
}

/// The bounds that Athens has.
pub const FETCH_SECONDS: &[f64] = &[0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];

const LOOKUPS: (&str, &str) =
    ("proxy_cache_lookup_total", "Files looked for, as Athens counts them.");
const FETCHES: (&str, &str) = ("proxy_upstream_fetch_total", "Fetches, as Athens counts them.");
const SECONDS: (&str, &str) =
    ("proxy_upstream_fetch_duration_seconds", "Seconds of fetches, as Athens counts them.");

/// The three, as the reference page tells of them.
pub const ATHENS_METRICS: &[MetricInfo] = &[
    info::<IntCounter, (CacheResult, CacheType)>(LOOKUPS, &[]),
    info::<IntCounter, (FetchResult,)>(FETCHES, &[]),
    info::<Histogram, (FetchResult,)>(SECONDS, FETCH_SECONDS),
];

const fn info<M: Instrument, L: LabelSet>(
    (name, help): (&'static str, &'static str),
    bounds: &'static [f64],
) -> MetricInfo {
    let (labels, label_infos) = (L::NAMES, L::INFOS);
    MetricInfo { name, help, kind: M::TYPE, labels, label_infos, combinations: L::COUNT, bounds }
}

/// Handles to the three.
pub struct AthensMetrics {
    lookups: Family<IntCounter, (CacheResult, CacheType)>,
    fetches: Family<IntCounter, (FetchResult,)>,
    fetch_seconds: Family<Histogram, (FetchResult,)>,
}

impl AthensMetrics {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            lookups: Family::register(Some(registry), LOOKUPS.0, LOOKUPS.1, &[])?,
            fetches: Family::register(Some(registry), FETCHES.0, FETCHES.1, &[])?,
            fetch_seconds: Family::register(Some(registry), SECONDS.0, SECONDS.1, FETCH_SECONDS)?,
        })
    }

    /// A file was looked for, in memory or in storage.
    pub fn looked(&self, kind: FileKind, result: CacheResult) {
        let kind = match kind {
            FileKind::Info => CacheType::Info,
            FileKind::Mod => CacheType::GoMod,
            FileKind::Zip => CacheType::Zip,
        };
        self.lookups.get((result, kind)).inc();
    }

    /// A stash that began then has answered so: counted when all of it has ended.
    pub(crate) fn stashed(self: &Arc<Self>, started: Instant, result: &Result<Stashed, Error>) {
        let this = Arc::clone(self);
        let finished = match result {
            Ok(stashed) => stashed.finished.clone(),
            Err(_) => return this.fetched(started, FetchResult::Failure),
        };
        tokio::spawn(async move {
            let is_refused = finished.refusal().await.is_some();
            let result = if is_refused { FetchResult::Failure } else { FetchResult::Success };
            this.fetched(started, result);
        });
    }

    fn fetched(&self, started: Instant, result: FetchResult) {
        self.fetches.get((result,)).inc();
        self.fetch_seconds.get((result,)).observe(started.elapsed().as_secs_f64());
    }
}
