use std::future::ready;
use std::sync::Arc;

use dipylon_protocol::route::FileKind;
use serde_json::json;
use tokio_util::task::TaskTracker;
use tower::Layer;

use super::health::{LockHealth, Service};
use super::service::{Locked, Shared};
use super::state::LockLimits;
use crate::explain::{Facts, Foretold, Subject, Tells, file_of};
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
}

impl Tells for LockLayer {
    fn tell<'a>(&'a self, _: &'a Subject) -> BoxFuture<'a, Facts> {
        let trouble = self.health().check().err().map(|error| error.to_string());
        Box::pin(ready(json!({ "works": trouble.is_none(), "trouble": trouble })))
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
