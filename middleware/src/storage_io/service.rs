use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind};
use crate::ports::{Storage, StorageCall, StorageReply};
use crate::request::{RequestContext, StorageRequest};
use crate::stack::stage;
use crate::telemetry::span::traceparent_if_kept;
use crate::telemetry::{Outcome, StorageOperation, Telemetry};

/// Longest wait for a call that moves little: a read until its bytes can be had, an extra, a check. Then
/// storage counts as hanging.
pub const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Longest wait for a list or a page of the catalogue, which may take a hundred questions.
pub const WALK_MAX: Duration = Duration::from_secs(120);

tokio::task_local! {
    /// Of the storage call under way.
    static CALLER: RequestContext;
}

/// The context of the storage call under way: for a backend that calls another. A task that the backend
/// starts does not know it: ask before.
pub fn caller_context() -> Option<RequestContext> {
    CALLER.try_with(Clone::clone).ok()
}

/// The `traceparent` that a backend hands on with a call it makes over HTTP; nothing unless the trace is
/// kept. A task that the backend starts does not know it: ask before.
pub fn caller_traceparent() -> Option<String> {
    CALLER.try_with(|context| traceparent_if_kept(&context.trace)).ok().flatten()
}

/// Calls a [`Storage`].
#[derive(Clone)]
pub struct StorageIo {
    storage: Arc<dyn Storage>,
    /// Nothing where the calls are counted and bounded below.
    telemetry: Option<Telemetry>,
}

impl StorageIo {
    /// Over one backend.
    pub fn new(storage: Arc<dyn Storage>, telemetry: &Telemetry) -> Self {
        Self { storage, telemetry: Some(telemetry.clone()) }
    }

    /// Over a store that calls storage stacks of its own, which count and bound what they do.
    pub fn over_stacks(storage: Arc<dyn Storage>) -> Self {
        Self { storage, telemetry: None }
    }

    async fn handle(self, request: StorageRequest) -> Result<StorageReply, Error> {
        let operation = request.operation.operation();
        let Some(telemetry) = &self.telemetry else {
            return CALLER.scope(request.context, call(&*self.storage, request.operation)).await;
        };
        let started = Instant::now();
        let calling = self.call(request.operation);
        let result = CALLER.scope(request.context, calling).await;
        let metrics = &telemetry.metrics;
        metrics.storage_seconds.get((operation,)).observe(started.elapsed().as_secs_f64());
        let outcome = result.as_ref().map_or_else(Error::outcome, |_| Outcome::Ok);
        metrics.storage_calls.get((operation, outcome)).inc();
        result
    }

    async fn call(&self, operation: StorageCall) -> Result<StorageReply, Error> {
        let name = operation.operation();
        let called = call(&*self.storage, operation);
        let Some(patience) = patience(name) else { return called.await };
        tokio::time::timeout(patience, called).await.unwrap_or_else(|_| {
            let cause = format!("no answer within {} s", patience.as_secs());
            let text = format!("{} storage cannot {name}: {cause}", self.storage.kind());
            Err(Error::new(ErrorKind::StorageUnavailable, text).with_cause(cause))
        })
    }
}

/// How long an operation may take. A save has its backend's own limits, and those of the spool it waits
/// for.
fn patience(operation: StorageOperation) -> Option<Duration> {
    use StorageOperation::{Catalog, Check, List, Read, ReadExtra, RemoveExtra, Save, WriteExtra};
    match operation {
        Read | ReadExtra | WriteExtra | RemoveExtra | Check => Some(ANSWER_MAX),
        List | Catalog => Some(WALK_MAX),
        Save => None,
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
