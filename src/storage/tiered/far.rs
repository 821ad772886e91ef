//! The far store, called through the storage stack: its breaker, its attempts and its slots are the far
//! store's alone, so what is near is served while they refuse.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use dipylon_middleware::blob::Blob;
use dipylon_middleware::error::Error;
use dipylon_middleware::ports::{BoxFuture, CatalogPage, NewVersion, SaveResult, Storage};
use dipylon_middleware::request::RequestContext;
use dipylon_middleware::storage_io::{StorageHandle, caller_context};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use tokio::time::Instant;

/// How long a call may take that no request is behind.
pub const DETACHED_PATIENCE: Duration = Duration::from_secs(300);

/// A storage stack as a store.
#[derive(Debug)]
pub struct Far {
    stack: StorageHandle,
    kind: &'static str,
    staging: Option<PathBuf>,
}

impl Far {
    /// The stack over a backend of this kind, with its [`Storage::staging_directory`].
    pub fn over(stack: StorageHandle, kind: &'static str, staging: Option<PathBuf>) -> Self {
        Self { stack, kind, staging }
    }
}

/// The context of the request that is behind the call.
fn context() -> RequestContext {
    caller_context().unwrap_or_else(|| RequestContext::detached(Instant::now() + DETACHED_PATIENCE))
}

impl Storage for Far {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn list<'a>(&'a self, module: &'a ModulePath) -> BoxFuture<'a, Result<Vec<Version>, Error>> {
        Box::pin(async move { self.stack.list(&context(), module).await })
    }

    fn read<'a>(
        &'a self,
        module: &'a ModulePath,
        version: &'a Version,
        kind: FileKind,
    ) -> BoxFuture<'a, Result<Option<Blob>, Error>> {
        Box::pin(async move { self.stack.read(&context(), module, version, kind).await })
    }

    fn save(&self, version: NewVersion) -> BoxFuture<'_, Result<SaveResult, Error>> {
        Box::pin(async move { self.stack.save(&context(), version).await })
    }

    fn catalog<'a>(
        &'a self,
        token: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<CatalogPage, Error>> {
        let token = token.map(str::to_owned);
        Box::pin(async move { self.stack.catalog(&context(), token, limit).await })
    }

    fn read_extra<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, Error>> {
        Box::pin(async move { self.stack.read_extra(&context(), key).await })
    }

    fn write_extra<'a>(&'a self, key: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move { self.stack.write_extra(&context(), key, bytes).await })
    }

    fn remove_extra<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move { self.stack.remove_extra(&context(), key).await })
    }

    fn check(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move { self.stack.check(&context()).await })
    }

    fn staging_directory(&self) -> Option<PathBuf> {
        self.staging.clone()
    }
}
