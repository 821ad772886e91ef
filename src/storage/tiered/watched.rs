//! The far store, and how it is doing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dipylon_middleware::attempt::{Attempt as _, Verdict};
use dipylon_middleware::error::Error;
use dipylon_middleware::ports::Storage;
use dipylon_middleware::request::StorageRequest;
use dipylon_middleware::telemetry::Telemetry;

/// The store behind the tier.
pub(super) struct Watched {
    pub(super) store: Arc<dyn Storage>,
    is_failing: AtomicBool,
    telemetry: Telemetry,
}

impl Watched {
    pub(super) fn new(store: Arc<dyn Storage>, telemetry: &Telemetry) -> Self {
        telemetry.metrics.tier_far_failing.get(()).set(0);
        Self { store, is_failing: AtomicBool::new(false), telemetry: telemetry.clone() }
    }

    /// Whether the last call that says so found it failing.
    pub(super) fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed)
    }

    /// Notes what came of a call.
    pub(super) fn seen<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        let failing = match &result {
            Ok(_) => false,
            // As its breaker sees it: who refuses one call, or finds one version damaged, works.
            Err(error) => match StorageRequest::verdict(error) {
                Verdict::Failing => true,
                Verdict::Answered => false,
                Verdict::Silent => return result,
            },
        };
        if self.is_failing.swap(failing, Ordering::Relaxed) != failing {
            self.telemetry.metrics.tier_far_failing.get(()).set(i64::from(failing));
            match &result {
                Err(error) => {
                    tracing::warn!(%error, "the far store fails: what is near is still served");
                }
                Ok(_) => tracing::info!("the far store works again"),
            }
        }
        result
    }
}
