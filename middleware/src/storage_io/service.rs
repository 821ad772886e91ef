use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::error::Error;
use crate::ports::{Storage, StorageCall, StorageReply};
use crate::request::StorageRequest;
use crate::stack::stage;
use crate::telemetry::span::traceparent_if_kept;
use crate::telemetry::{Outcome, Telemetry};

tokio::task_local! {
    /// The `traceparent` of the storage call under way, where its trace is kept.
    static TRACEPARENT: Option<String>;
}

/// The `traceparent` that a backend hands on with a call it makes over HTTP; nothing unless the trace is
/// kept. A task that the backend starts does not know it: ask before.
pub fn caller_traceparent() -> Option<String> {
    TRACEPARENT.try_with(Clone::clone).ok().flatten()
}

/// Calls a [`Storage`].
#[derive(Clone)]
pub struct StorageIo {
    storage: Arc<dyn Storage>,
    telemetry: Telemetry,
}

impl StorageIo {
    /// Over one backend.
    pub fn new(storage: Arc<dyn Storage>, telemetry: &Telemetry) -> Self {
        Self { storage, telemetry: telemetry.clone() }
    }

    async fn handle(self, request: StorageRequest) -> Result<StorageReply, Error> {
        let operation = request.operation.operation();
        let started = Instant::now();
        let traceparent = traceparent_if_kept(&request.context.trace);
        let calling = call(&*self.storage, request.operation);
        let result = TRACEPARENT.scope(traceparent, calling).await;
        let metrics = &self.telemetry.metrics;
        metrics.storage_seconds.get((operation,)).observe(started.elapsed().as_secs_f64());
        let outcome = result.as_ref().map_or_else(Error::outcome, |_| Outcome::Ok);
        metrics.storage_calls.get((operation, outcome)).inc();
        result
    }
}

async fn call(storage: &dyn Storage, call: StorageCall) -> Result<StorageReply, Error> {
    Ok(match call {
        StorageCall::List(module) => StorageReply::Versions(storage.list(&module).await?),
        StorageCall::Read(module, version, kind) => {
            StorageReply::Blob(storage.read(&module, &version, kind).await?)
        }
        StorageCall::Save(version) => StorageReply::Saved(storage.save(*version).await?),
        StorageCall::Catalog(token, limit) => {
            StorageReply::Page(storage.catalog(token.as_deref(), limit).await?)
        }
        StorageCall::ReadExtra(key) => StorageReply::Extra(storage.read_extra(&key).await?),
        StorageCall::WriteExtra(key, bytes) => {
            storage.write_extra(&key, bytes).await?;
            StorageReply::Done
        }
        StorageCall::RemoveExtra(key) => {
            storage.remove_extra(&key).await?;
            StorageReply::Done
        }
        StorageCall::Check => {
            storage.check().await?;
            StorageReply::Done
        }
    })
}

impl fmt::Debug for StorageIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StorageIo({})", self.storage.kind())
    }
}

stage!(StorageIo: StorageRequest => StorageReply);
