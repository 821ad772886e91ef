use std::future::ready;
use std::sync::Arc;

use dipylon_protocol::route::FileKind;
use serde_json::json;
use tokio_util::task::TaskTracker;
use tower::Layer;

use super::health::{LockHealth, Service};
use super::roll::{Counts, Listed};
use super::service::{Locked, Shared};
use super::state::LockLimits;
use crate::explain::{Facts, Foretold, ROWS_TOLD_MAX, Subject, Tells, file_of};
use crate::ports::{BoxFuture, Lock};
use crate::purge::Purges;
use crate::request::ModuleRequest;
use crate::storage_io::StorageHandle;
use crate::telemetry::Telemetry;

/// Makes [`Locked`] services that share one lock service.
#[derive(Clone)]
pub struct LockLayer {
    shared: Arc<Shared>,
}

impl LockLayer {
    /// Locks through `lock` within `limits`; looks for what others stored in `storage`; nothing
    /// that was found before one of `purges` counts after it; `tasks` counts the locks that are held,
    /// which a drain waits for. A fetch that waited for a lock has
    /// `stash_timeout` from the end of the wait.
    pub fn new(
        lock: Arc<dyn Lock>,
        limits: LockLimits,
        stash_timeout: std::time::Duration,
        storage: StorageHandle,
        purges: Purges,
        tasks: TaskTracker,
        telemetry: &Telemetry,
    ) -> Self {
        let service = Service::new(lock, telemetry);
        let telemetry = telemetry.clone();
        let shared = Shared::new(service, limits, stash_timeout, storage, purges, tasks, telemetry);
        Self { shared: Arc::new(shared) }
    }

    /// Whether the lock service works.
    pub fn health(&self) -> LockHealth {
        self.shared.health()
    }

    /// The oldest locks that this process has or waits for, `most` of them at most, of whose key, `MODULE@VERSION`,
    /// `is_meant` says so.
    pub fn under_way(&self, most: usize, is_meant: impl Fn(&str) -> bool) -> Vec<Listed> {
        self.shared.roll.listed(most, is_meant)
    }

    /// How many locks this process has, and waits for.
    pub fn counts(&self) -> Counts {
        self.shared.roll.counts()
    }
}

/// Whether a lock's key, `MODULE@VERSION`, is about this.
fn is_about(about: &Subject, key: &str) -> bool {
    let Some((module, version)) = key.split_once('@') else { return false };
    let is_version = about.version.as_ref().is_none_or(|asked| asked.as_str() == version);
    module == about.module.as_str() && is_version
}

fn shown(lock: &Listed) -> Facts {
    json!({
        "version": lock.key.split_once('@').map(|(_, version)| version),
        "state": lock.standing.as_str(),
        "age_seconds": lock.age.as_secs(),
        "request_id": &*lock.request_id,
        "held_by_trace": lock.held_by.map(|trace| trace.to_string()),
    })
}

impl Tells for LockLayer {
    fn tell<'a>(&'a self, about: &'a Subject) -> BoxFuture<'a, Facts> {
        let trouble = self.health().check().err().map(|error| error.to_string());
        let locks = self.under_way(ROWS_TOLD_MAX, |key| is_about(about, key));
        let locks: Vec<Facts> = locks.iter().map(shown).collect();
        let told = json!({ "works": trouble.is_none(), "trouble": trouble, "under_way": locks });
        Box::pin(ready(told))
    }

    fn foretell<'a>(&'a self, request: &'a ModuleRequest) -> BoxFuture<'a, Foretold> {
        let is_locked = file_of(request)
            .is_some_and(|file| file.kind == FileKind::Zip && file.version.canonical().is_some());
        Box::pin(ready(match self.health().check() {
            Err(_) if is_locked => Foretold::Degraded(
                "the lock service is down: no other replica is kept from it".to_owned(),
            ),
            _ => Foretold::Passes,
        }))
    }
}

impl<S> Layer<S> for LockLayer {
    type Service = Locked<S>;

    fn layer(&self, inner: S) -> Locked<S> {
        Locked { inner, shared: Arc::clone(&self.shared) }
    }
}
