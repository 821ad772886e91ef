//! A store in memory that fails where a test says so.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use parking_lot::Mutex;

use super::below::{Held, error_from_below};
use super::release::Release;
use crate::blob::Blob;
use crate::error::{Error, ErrorKind};
use crate::ports::{BoxFuture, CatalogEntry, CatalogPage, NewVersion, SaveResult, Storage};
use crate::stack::Border;
use crate::storage_io::{StorageHandle, StorageIo, caller_context, note_progress};
use crate::telemetry::{StorageOperation, Telemetry};

/// The store. Versions are listed in the order in which they were saved.
#[derive(Default)]
pub(crate) struct MemoryStorage {
    state: Mutex<State>,
    held: Held,
}

#[derive(Default)]
struct State {
    releases: Vec<Release>,
    extras: HashMap<String, Bytes>,
    failing: HashSet<StorageOperation>,
    hanging: HashSet<StorageOperation>,
    /// Everything fails, as if it could not be reached.
    is_down: bool,
    stored_at: Option<(StorageOperation, Release)>,
    calls: Vec<StorageOperation>,
    /// The id of the request behind the last call.
    caller: Option<Arc<str>>,
    /// What a read does before it answers.
    steps: Option<(usize, Duration)>,
}

impl MemoryStorage {
    /// An empty store.
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A store with these versions of `example.com/m`.
    pub(crate) fn with(versions: &[&str]) -> Arc<Self> {
        let storage = Self::new();
        for version in versions {
            storage.put(Release::new("example.com/m", version));
        }
        storage
    }

    /// Puts a version in, past the port.
    pub(crate) fn put(&self, release: Release) {
        self.state.lock().releases.push(release);
    }

    /// Puts a file under `.dipylon/`, past the port.
    pub(crate) fn put_extra(&self, key: &str, bytes: impl Into<Bytes>) {
        self.state.lock().extras.insert(key.to_owned(), bytes.into());
    }

    /// A file under `.dipylon/`, past the port.
    pub(crate) fn extra(&self, key: &str) -> Option<Bytes> {
        self.state.lock().extras.get(key).cloned()
    }

    /// A whole version, past the port.
    pub(crate) fn release(&self, module: &ModulePath, version: &Version) -> Option<Release> {
        self.state.lock().find(module, version)
    }

    /// Whole versions stored.
    pub(crate) fn len(&self) -> usize {
        self.state.lock().releases.len()
    }

    /// From now on this operation fails.
    pub(crate) fn fail(&self, operation: StorageOperation) {
        self.state.lock().failing.insert(operation);
    }

    /// From now on nothing can be reached.
    pub(crate) fn down(&self) {
        self.state.lock().is_down = true;
    }

    /// When this operation is called next, somebody else stores this.
    pub(crate) fn store_at(&self, operation: StorageOperation, release: Release) {
        self.state.lock().stored_at = Some((operation, release));
    }

    /// From now on calls of this kind do not end by themselves; they can be counted.
    pub(crate) fn hang(&self, operation: StorageOperation) -> Held {
        self.state.lock().hanging.insert(operation);
        self.held.clone()
    }

    /// The next read takes so many steps, each so long, and notes each.
    pub(crate) fn take_steps(&self, steps: usize, each: Duration) {
        self.state.lock().steps = Some((steps, each));
    }

    /// From now on nothing fails.
    pub(crate) fn mend(&self) {
        let mut state = self.state.lock();
        state.failing.clear();
        state.is_down = false;
    }

    /// How often an operation was called.
    pub(crate) fn calls(&self, operation: StorageOperation) -> usize {
        self.state.lock().calls.iter().filter(|called| **called == operation).count()
    }

    /// The id of the request behind the last call.
    pub(crate) fn caller(&self) -> Option<Arc<str>> {
        self.state.lock().caller.clone()
    }

    /// The store as layers hold it, without any layer around it.
    pub(crate) fn handle(self: &Arc<Self>, telemetry: &Telemetry) -> StorageHandle {
        let storage: Arc<dyn Storage> = Arc::<Self>::clone(self);
        StorageHandle::new(Border::new(StorageIo::new(storage, telemetry)))
    }

    /// Notes the call. No real store answers without waiting, so this one does not either: a deadline
    /// that has passed is noticed.
    async fn enter(&self, operation: StorageOperation) -> Result<(), Error> {
        tokio::task::yield_now().await;
        if self.state.lock().hanging.contains(&operation) {
            return self.held.hold().await;
        }
        let mut state = self.state.lock();
        state.calls.push(operation);
        state.caller = caller_context().map(|context| context.id);
        if let Some((_, release)) = state.stored_at.take_if(|(at, _)| *at == operation) {
            state.releases.push(release);
        }
        if state.is_down {
            let error =
                Error::new(ErrorKind::StorageUnavailable, format!("{operation}: it is down"));
            return Err(error.with_cause("it is down"));
        }
        if state.failing.contains(&operation) {
            return Err(error_from_below(ErrorKind::Storage));
        }
        Ok(())
    }
}

impl State {
    fn find(&self, module: &ModulePath, version: &Version) -> Option<Release> {
        let same = |one: &&Release| one.module == *module && one.version == *version;
        self.releases.iter().find(same).cloned()
    }
}

impl Storage for MemoryStorage {
    fn kind(&self) -> &'static str {
        "memory"
    }

    fn list<'a>(&'a self, module: &'a ModulePath) -> BoxFuture<'a, Result<Vec<Version>, Error>> {
        Box::pin(async move {
            self.enter(StorageOperation::List).await?;
            let state = self.state.lock();
            let of_module = state.releases.iter().filter(|one| one.module == *module);
            Ok(of_module.map(|one| one.version.clone()).collect())
        })
    }

    fn read<'a>(
        &'a self,
        module: &'a ModulePath,
        version: &'a Version,
        kind: FileKind,
    ) -> BoxFuture<'a, Result<Option<Blob>, Error>> {
        Box::pin(async move {
            self.enter(StorageOperation::Read).await?;
            let steps = self.state.lock().steps.take();
            let (steps, each) = steps.unwrap_or_default();
            for _ in 0..steps {
                tokio::time::sleep(each).await;
                note_progress();
            }
            let found = self.state.lock().find(module, version);
            Ok(found.map(|release| {
                Blob::from_bytes(match kind {
                    FileKind::Info => release.info,
                    FileKind::Mod => release.go_mod,
                    FileKind::Zip => release.zip,
                })
            }))
        })
    }

    fn save(&self, new: NewVersion) -> BoxFuture<'_, Result<SaveResult, Error>> {
        Box::pin(async move {
            self.enter(StorageOperation::Save).await?;
            let length = new.zip.complete().await?;
            let length = usize::try_from(length).expect("a test's zip fits in memory");
            let zip = new.zip.read_at(0, length)?;
            let NewVersion { module, version, info, go_mod, .. } = new;
            let mut state = self.state.lock();
            if let Some(old) = state.find(&module, &version) {
                let same = old.go_mod == go_mod && old.zip.len() == zip.len();
                return Ok(SaveResult::Existed { same });
            }
            state.releases.push(Release { module, version, info, go_mod, zip });
            Ok(SaveResult::Created)
        })
    }

    fn catalog<'a>(
        &'a self,
        token: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<CatalogPage, Error>> {
        Box::pin(async move {
            self.enter(StorageOperation::Catalog).await?;
            let state = self.state.lock();
            let start: usize = token.map_or(0, |token| token.parse().expect("a token of ours"));
            let limit = if limit == 0 { usize::MAX } else { limit };
            let rest = state.releases.iter().skip(start).take(limit);
            let entries: Vec<_> = rest
                .map(|one| CatalogEntry {
                    module: one.module.to_string(),
                    version: one.version.to_string(),
                })
                .collect();
            let end = start + entries.len();
            Ok(CatalogPage { entries, next: (end < state.releases.len()).then(|| end.to_string()) })
        })
    }

    fn read_extra<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, Error>> {
        Box::pin(async move {
            self.enter(StorageOperation::ReadExtra).await?;
            Ok(self.extra(key))
        })
    }

    fn write_extra<'a>(&'a self, key: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            self.enter(StorageOperation::WriteExtra).await?;
            self.put_extra(key, bytes);
            Ok(())
        })
    }

    fn remove_extra<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            self.enter(StorageOperation::RemoveExtra).await?;
            self.state.lock().extras.remove(key);
            Ok(())
        })
    }

    fn check(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.enter(StorageOperation::Check))
    }
}
