use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::patience::{ANSWER_MAX, WALK_MAX, while_it_moves, while_it_works};
use crate::error::{Error, ErrorKind};
use crate::ports::{Storage, StorageCall, StorageReply};
use crate::request::{RequestContext, StorageRequest};
use crate::stack::stage;
use crate::telemetry::trace::{Onward, current};
use crate::telemetry::{Outcome, StorageOperation, Telemetry};

tokio::task_local! {
    /// Of the storage call under way.
    static CALLER: Caller;
}

/// Who makes a storage call, and when it last came further.
struct Caller {
    context: RequestContext,
    moved: Cell<Instant>,
}

/// The context of the storage call under way: for a backend that calls another. A task that the backend
/// starts does not know it: ask before.
pub fn caller_context() -> Option<RequestContext> {
    CALLER.try_with(|caller| caller.context.clone()).ok()
}

/// The trace that a backend hands on with a call it makes over HTTP; nothing unless it is kept. A task that
/// the backend starts knows it only [`on_behalf_of_the_caller`].
pub fn caller_trace() -> Option<Onward> {
    CALLER.try_with(|caller| caller.context.trace.onward_if_kept()).ok().flatten()
}

/// Work of the storage call under way, for a task of its own: there too the call is known.
pub fn on_behalf_of_the_caller<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let known = |caller: &Caller| {
        let (context, moved) = (caller.context.clone(), Cell::new(caller.moved.get()));
        Caller { context, moved }
    };
    let (caller, work) = (CALLER.try_with(known).ok(), current::inherited(work));
    async move {
        match caller {
            Some(caller) => CALLER.scope(caller, work).await,
            None => work.await,
        }
    }
}

/// Says that the storage call under way has come further, so that [`ANSWER_MAX`](super::ANSWER_MAX) begins
/// anew: for a backend that has to move many bytes before it can answer. Outside a call it says nothing.
pub fn note_progress() {
    let _ = CALLER.try_with(|caller| caller.moved.set(Instant::now()));
}

/// Calls a [`Storage`].
#[derive(Clone)]
pub struct StorageIo {
    storage: Arc<dyn Storage>,
    /// Nothing where the calls are counted and bounded below.
    telemetry: Option<Telemetry>,
    /// No call is waited for longer than this.
    most: Duration,
}

impl StorageIo {
    /// Over one backend.
    pub fn new(storage: Arc<dyn Storage>, telemetry: &Telemetry) -> Self {
        Self { storage, telemetry: Some(telemetry.clone()), most: Duration::MAX }
    }

    /// Under callers that wait no longer than `patience`: a call that hangs is given up a little earlier, so
    /// that the layers between see it fail and not vanish.
    #[must_use]
    pub fn within(mut self, patience: Duration) -> Self {
        self.most = patience / 10 * 9;
        self
    }

    /// Over a store that calls storage stacks of its own, which count and bound what they do.
    pub fn over_stacks(storage: Arc<dyn Storage>) -> Self {
        Self { storage, telemetry: None, most: Duration::MAX }
    }

    async fn handle(&self, request: StorageRequest) -> Result<StorageReply, Error> {
        let started = Instant::now();
        let caller = Caller { context: request.context, moved: Cell::new(started) };
        let Some(telemetry) = &self.telemetry else {
            return CALLER.scope(caller, call(&*self.storage, request.operation)).await;
        };
        let operation = request.operation.operation();
        let result = CALLER.scope(caller, self.call(request.operation)).await;
        let metrics = &telemetry.metrics;
        metrics.storage_seconds.get((operation,)).observe(started.elapsed().as_secs_f64());
        let outcome = result.as_ref().map_or_else(Error::outcome, |_| Outcome::Ok);
        metrics.storage_calls.get((operation, outcome)).inc();
        result
    }

    /// Polled in the scope of its [`CALLER`] alone.
    async fn call(&self, operation: StorageCall) -> Result<StorageReply, Error> {
        use StorageOperation::{
            Catalog, Check, List, Read, ReadExtra, RemoveExtra, Save, WriteExtra,
        };
        let name = operation.operation();
        let called = call(&*self.storage, operation);
        let answer = match name {
            Read | ReadExtra | WriteExtra | RemoveExtra | Check => {
                let moved = || CALLER.with(|caller| caller.moved.get());
                while_it_moves(called, self.most.min(ANSWER_MAX), moved).await
            }
            List | Catalog => {
                while_it_works(called, self.most.min(WALK_MAX), || self.storage.check()).await
            }
            // A save has its backend's own limits, and those of the spool it waits for.
            Save => return called.await,
        };
        answer.unwrap_or_else(|cause| {
            let text = format!("{} storage cannot {name}: {cause}", self.storage.kind());
            Err(Error::new(ErrorKind::StorageUnavailable, text).with_cause(cause))
        })
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
