//! Typed responses, and the one place that turns them and errors into HTTP.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use dipylon_protocol::query::VersionQuery;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use http::StatusCode;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::blob::Blob;
use crate::error::Error;
use crate::forward::Forward;
use crate::spool::Spool;
use crate::telemetry::Outcome;

/// How a call ended: what `observe` records.
pub trait HasOutcome {
    /// The outcome.
    fn outcome(&self) -> Outcome;
}

impl<T: HasOutcome> HasOutcome for Result<T, Error> {
    fn outcome(&self) -> Outcome {
        match self {
            Ok(response) => response.outcome(),
            Err(error) => error.outcome(),
        }
    }
}

/// The bytes of a file, wherever they are.
#[derive(Clone, Debug)]
pub enum Content {
    /// In memory: small files.
    Bytes(Bytes),
    /// In storage.
    Stored(Blob),
    /// Arriving: the file grows while it is read.
    Spooled(Spool),
}

/// What the module stack answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Versions, one a line.
    List(Bytes),
    /// `.info` of the newest version.
    Latest(Bytes),
    /// A file of a version.
    File {
        /// Which file.
        kind: FileKind,
        /// The canonical version it belongs to.
        version: Version,
        /// Its bytes.
        content: Content,
    },
    /// Go elsewhere.
    Redirect {
        /// Where to: a whole URL.
        location: String,
        /// 302, or 303 where a filter rule says so.
        status: StatusCode,
    },
}

/// An answer with how it came about.
#[derive(Clone, Debug)]
pub struct ModuleResponse {
    /// The answer.
    pub answer: Answer,
    /// How it came about.
    pub outcome: Outcome,
    /// Age of an answer that was kept: list, latest, queries.
    pub age: Option<Duration>,
    /// Set where the file was asked by a query: the answer may change.
    pub asked: Option<VersionQuery>,
    /// What the upstream that it comes from said in `Cache-Status`.
    pub cache_status: Option<Arc<str>>,
    /// For how many seconds it stays fresh, where it may change; below zero where it no longer is.
    pub ttl: Option<i64>,
    /// How far the request went, where the outcome does not say it.
    pub forward: Forward,
}

impl ModuleResponse {
    /// An answer without an age.
    pub fn new(answer: Answer, outcome: Outcome) -> Self {
        let forward = Forward::default();
        Self { answer, outcome, age: None, asked: None, cache_status: None, ttl: None, forward }
    }
}

impl HasOutcome for ModuleResponse {
    fn outcome(&self) -> Outcome {
        self.outcome
    }
}

/// The files that one stash has got hold of.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// `.info`.
    pub info: Option<Bytes>,
    /// `.mod`, verified.
    pub go_mod: Option<Bytes>,
    /// `.zip`, arriving.
    pub zip: Option<Spool>,
    /// What another replica has stored meanwhile.
    pub stored: Stored,
    /// What the upstream that the wanted one comes from said in `Cache-Status`.
    pub cache_status: Option<Arc<str>>,
}

/// Files of a version as they lie in storage.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// `.info`.
    pub info: Option<Blob>,
    /// `.mod`.
    pub go_mod: Option<Blob>,
    /// `.zip`.
    pub zip: Option<Blob>,
}

impl Stored {
    /// Adds a file.
    pub fn put(&mut self, kind: FileKind, blob: Blob) {
        let file = match kind {
            FileKind::Info => &mut self.info,
            FileKind::Mod => &mut self.go_mod,
            FileKind::Zip => &mut self.zip,
        };
        *file = Some(blob);
    }

    fn get(&self, kind: FileKind) -> Option<Content> {
        let blob = match kind {
            FileKind::Info => &self.info,
            FileKind::Mod => &self.go_mod,
            FileKind::Zip => &self.zip,
        };
        blob.clone().map(Content::Stored)
    }
}

impl Files {
    /// One of them.
    pub fn get(&self, kind: FileKind) -> Option<Content> {
        let fetched = match kind {
            FileKind::Info => self.info.clone().map(Content::Bytes),
            FileKind::Mod => self.go_mod.clone().map(Content::Bytes),
            FileKind::Zip => self.zip.clone().map(Content::Spooled),
        };
        fetched.or_else(|| self.stored.get(kind))
    }
}

/// What the stash stack answers: as soon as the first byte may be shown, before the commit.
#[derive(Clone, Debug)]
pub struct Stashed {
    /// Canonical version.
    pub version: Version,
    /// The wanted files.
    pub files: Files,
    /// Leader, follower or degraded; or from storage, where upstream said only which version a query stands for.
    pub outcome: Outcome,
    /// How far the request went, where the outcome does not say it.
    pub forward: Forward,
    /// Resolves when all work for this stash has ended.
    pub finished: Finished,
}

impl HasOutcome for Stashed {
    fn outcome(&self) -> Outcome {
        self.outcome
    }
}

/// Resolves when the work behind a [`Stashed`] has ended, well or badly.
#[derive(Clone, Debug)]
pub struct Finished {
    ended: CancellationToken,
    refused: Arc<OnceLock<Error>>,
}

impl Finished {
    /// A pair: the guard ends it on drop, so a panic or a cancelled task ends it too.
    pub fn new() -> (FinishGuard, Self) {
        let (ended, refused) = (CancellationToken::new(), Arc::<OnceLock<Error>>::default());
        let guard = FinishGuard { refused: Arc::clone(&refused), _end: ended.clone().drop_guard() };
        (guard, Self { ended, refused })
    }

    /// Already over.
    pub fn now() -> Self {
        let (guard, finished) = Self::new();
        drop(guard);
        finished
    }

    /// Waits for the end.
    pub async fn wait(&self) {
        self.ended.cancelled().await;
    }

    /// Waits for the end, and says why there is nothing to store, where that was found behind the answer.
    pub async fn refusal(&self) -> Option<&Error> {
        self.wait().await;
        self.refused.get()
    }
}

/// Dropped when the work has ended.
#[derive(Debug)]
pub struct FinishGuard {
    refused: Arc<OnceLock<Error>>,
    /// Dropped last: who waits for the end finds the refusal there.
    _end: DropGuard,
}

impl FinishGuard {
    /// The work has ended with this.
    pub fn refuse(self, error: Error) {
        // A guard is consumed by it, so it is the first.
        let _ = self.refused.set(error);
    }
}

/// What the checksum database's path answers.
#[derive(Clone, Debug)]
pub struct SumDbResponse {
    /// The body.
    pub body: Bytes,
    /// Whether it stays true for ever.
    pub immutable: bool,
    /// Whether it is given again to who asks next.
    pub stored: bool,
    /// How it came about.
    pub outcome: Outcome,
    /// How far the request went, where the outcome does not say it.
    pub forward: Forward,
}

impl SumDbResponse {
    /// An answer that may change and is not kept, and for which nobody was asked unless the outcome says so.
    pub fn new(body: Bytes, outcome: Outcome) -> Self {
        Self { body, immutable: false, stored: false, outcome, forward: Forward::default() }
    }
}

impl HasOutcome for SumDbResponse {
    fn outcome(&self) -> Outcome {
        self.outcome
    }
}
