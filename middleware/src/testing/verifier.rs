//! A checksum database and an index that say what a test tells them.

use std::sync::Arc;
use std::time::Duration;

use dipylon_protocol::path::ModulePath;
use dipylon_protocol::version::Version;
use parking_lot::Mutex;
use time::OffsetDateTime;

use crate::error::{Error, ErrorKind};
use crate::ports::{BoxFuture, Expected, Index, IndexEntry, Verifier};
use crate::request::RequestContext;

/// Answers every question alike, at once or late.
pub(crate) struct ScriptedVerifier {
    answer: Mutex<Result<Expected, Error>>,
    late: Duration,
    asked: Mutex<usize>,
}

impl ScriptedVerifier {
    /// Answers at once.
    pub(crate) fn new(answer: Result<Expected, Error>) -> Arc<Self> {
        Self::late(Duration::ZERO, answer)
    }

    /// Answers after a while.
    pub(crate) fn late(late: Duration, answer: Result<Expected, Error>) -> Arc<Self> {
        Arc::new(Self { answer: Mutex::new(answer), late, asked: Mutex::default() })
    }

    /// How often it was asked.
    pub(crate) fn asked(&self) -> usize {
        *self.asked.lock()
    }
}

impl Verifier for ScriptedVerifier {
    fn expected<'a>(
        &'a self,
        _: &'a RequestContext,
        _: &'a ModulePath,
        _: &'a Version,
    ) -> BoxFuture<'a, Result<Expected, Error>> {
        Box::pin(async move {
            *self.asked.lock() += 1;
            if self.late > Duration::ZERO {
                tokio::time::sleep(self.late).await;
            }
            self.answer.lock().clone()
        })
    }
}

/// Remembers what was added.
#[derive(Default)]
pub(crate) struct MemoryIndex {
    entries: Mutex<Vec<(ModulePath, Version)>>,
    failing: Mutex<bool>,
}

impl MemoryIndex {
    /// An empty index.
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// From now on nothing can be added.
    pub(crate) fn fail(&self) {
        *self.failing.lock() = true;
    }

    /// What was added, in order.
    pub(crate) fn added(&self) -> Vec<String> {
        self.entries.lock().iter().map(|(module, version)| format!("{module}@{version}")).collect()
    }
}

impl Index for MemoryIndex {
    fn add<'a>(
        &'a self,
        module: &'a ModulePath,
        version: &'a Version,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            if *self.failing.lock() {
                return Err(Error::new(ErrorKind::Storage, "the index fails on purpose"));
            }
            self.entries.lock().push((module.clone(), version.clone()));
            Ok(())
        })
    }

    fn since(
        &self,
        since: OffsetDateTime,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<IndexEntry>, Error>> {
        Box::pin(async move {
            let entries = self.entries.lock();
            let line = |(path, version): &(ModulePath, Version)| IndexEntry {
                path: path.to_string(),
                version: version.to_string(),
                timestamp: since,
            };
            Ok(entries.iter().take(limit).map(line).collect())
        })
    }
}
