//! What the layers need from the outside: traits that the adapters in `src/` implement.
//!
//! A port is called from exactly one leaf or layer. Everything is typed in the words of the
//! protocol; no backend's own types cross this line.

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use dipylon_protocol::dirhash::Hash1;
use dipylon_protocol::info::Info;
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::query::VersionQuery;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;

use crate::blob::{Blob, ByteStream};
use crate::error::{Error, ErrorKind};
use crate::explain::Facts;
use crate::request::{FetchRequest, RequestContext};
use crate::response::HasOutcome;
use crate::spool::Spool;
use crate::telemetry::{Outcome, StorageOperation};

mod policy;
mod verdict;

pub use policy::{Decision, ListSource, Mode, Policy};
pub use verdict::{VERDICT_LIFE, Verdict};

/// A boxed future: boxing costs 22 ns, a named future costs every reader more.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A whole version, ready to be saved.
#[derive(Clone, Debug)]
pub struct NewVersion {
    /// Decoded module path.
    pub module: ModulePath,
    /// Canonical version.
    pub version: Version,
    /// `.info` as upstream sent it.
    pub info: Bytes,
    /// `.mod` as upstream sent it.
    pub go_mod: Bytes,
    /// The zip: complete and verified.
    pub zip: Spool,
}

/// How a save ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaveResult {
    /// The version was new.
    Created,
    /// A whole version was there already; it stays as it is. Says whether the `.mod` and the zip's
    /// length are the same.
    Existed {
        /// Whether what is stored looks like what was offered.
        same: bool,
    },
    /// The store took the version and cannot tell whether it was the first: what is stored may be
    /// another's. Nothing is believed of these bytes that was not read back.
    Taken,
}

/// One entry of the catalogue of everything stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogEntry {
    /// Decoded module path.
    pub module: String,
    /// Version.
    pub version: String,
}

/// A page of the catalogue.
#[derive(Clone, Debug, Default)]
pub struct CatalogPage {
    /// Entries in the backend's order.
    pub entries: Vec<CatalogEntry>,
    /// Where to go on, or `None` at the end.
    pub next: Option<String>,
}

/// A store of whole versions in Athens's layout, plus our own files under `.dipylon/`.
///
/// Contract: a reader never sees a part of a version; the first save of a version stays; a partial
/// or truncated entry left by a crash, or by Athens, reads as absent and is replaced by the next
/// save. Every error other than "absent" is an error, never a miss: `StorageUnavailable`, with its cause,
/// where the backend could not be asked, which may pass; else `Storage`.
pub trait Storage: Send + Sync + 'static {
    /// The `StorageType`, for messages.
    fn kind(&self) -> &'static str;

    /// Versions of `module`, in the backend's order; empty for an unknown module.
    fn list<'a>(&'a self, module: &'a ModulePath) -> BoxFuture<'a, Result<Vec<Version>, Error>>;

    /// One file of a whole version, or `None` where the version is not stored whole.
    fn read<'a>(
        &'a self,
        module: &'a ModulePath,
        version: &'a Version,
        kind: FileKind,
    ) -> BoxFuture<'a, Result<Option<Blob>, Error>>;

    /// Saves a whole version unless it is there; atomic, durable, create-if-absent.
    fn save(&self, version: NewVersion) -> BoxFuture<'_, Result<SaveResult, Error>>;

    /// A page of at most `limit` entries after `token`; `limit` 0 leaves the size to the backend.
    fn catalog<'a>(
        &'a self,
        token: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<CatalogPage, Error>>;

    /// A file of ours under `.dipylon/`; `key` is a relative path of plain elements.
    fn read_extra<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, Error>>;

    /// Writes a file of ours under `.dipylon/`, atomically; the last write stays.
    fn write_extra<'a>(&'a self, key: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<(), Error>>;

    /// Removes a file of ours under `.dipylon/`; one that is not there is removed already.
    fn remove_extra<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), Error>>;

    /// Whether the backend can be used now: for `/readyz`.
    fn check(&self) -> BoxFuture<'_, Result<(), Error>>;

    /// Whether the storage stack shall repeat calls that failed in a way that may pass. Only where the
    /// backend's own client does not, so that attempts never multiply.
    fn wants_retries(&self) -> bool {
        false
    }

    /// A local directory from which a finished spool can be taken over without copying.
    fn staging_directory(&self) -> Option<PathBuf> {
        None
    }
}

/// One call of a [`Storage`], as a value: what the storage stack carries.
#[derive(Clone, Debug)]
pub enum StorageCall {
    /// [`Storage::list`]
    List(ModulePath),
    /// [`Storage::read`]
    Read(ModulePath, Version, FileKind),
    /// [`Storage::save`]
    Save(Box<NewVersion>),
    /// [`Storage::catalog`]
    Catalog(Option<String>, usize),
    /// [`Storage::read_extra`]
    ReadExtra(Arc<str>),
    /// [`Storage::write_extra`]
    WriteExtra(Arc<str>, Bytes),
    /// [`Storage::remove_extra`]
    RemoveExtra(Arc<str>),
    /// [`Storage::check`]
    Check,
}

impl StorageCall {
    /// The metric label.
    pub fn operation(&self) -> StorageOperation {
        match self {
            Self::List(_) => StorageOperation::List,
            Self::Read(..) => StorageOperation::Read,
            Self::Save(_) => StorageOperation::Save,
            Self::Catalog(..) => StorageOperation::Catalog,
            Self::ReadExtra(_) => StorageOperation::ReadExtra,
            Self::WriteExtra(..) => StorageOperation::WriteExtra,
            Self::RemoveExtra(_) => StorageOperation::RemoveExtra,
            Self::Check => StorageOperation::Check,
        }
    }
}

/// What a [`StorageCall`] returns.
#[derive(Clone, Debug)]
pub enum StorageReply {
    /// Of [`StorageCall::List`].
    Versions(Vec<Version>),
    /// Of [`StorageCall::Read`].
    Blob(Option<Blob>),
    /// Of [`StorageCall::Save`].
    Saved(SaveResult),
    /// Of [`StorageCall::Catalog`].
    Page(CatalogPage),
    /// Of [`StorageCall::ReadExtra`].
    Extra(Option<Bytes>),
    /// Of [`StorageCall::WriteExtra`], [`StorageCall::RemoveExtra`] and [`StorageCall::Check`].
    Done,
}

impl HasOutcome for StorageReply {
    fn outcome(&self) -> Outcome {
        Outcome::Ok
    }
}

/// A zip on its way from an upstream.
pub struct ZipBody {
    /// Its length, where upstream says.
    pub length: Option<u64>,
    /// Its bytes.
    pub stream: ByteStream,
}

/// What an upstream answered.
pub enum Payload {
    /// list, latest, info, mod.
    Bytes(Bytes),
    /// zip.
    Zip(ZipBody),
    /// Everything at once: the `go` command cannot fetch less.
    Version {
        /// Canonical version.
        version: Version,
        /// `.info`.
        info: Bytes,
        /// `.mod`.
        go_mod: Bytes,
        /// `.zip`.
        zip: ZipBody,
    },
}

/// An upstream's answer.
pub struct Fetched {
    /// The answer.
    pub payload: Payload,
    /// Which entry of the GOPROXY list answered, without credentials.
    pub upstream: Arc<str>,
    /// What it said in `Cache-Status`, where it is a cache itself.
    pub cache_status: Option<Arc<str>>,
}

impl Fetched {
    /// The canonical version that this upstream's `.info` names; it must be the asked one where that is canonical.
    ///
    /// # Errors
    /// `BadContent` for what is no `.info` of what was asked.
    pub fn version_of(
        &self,
        info: &[u8],
        module: &ModulePath,
        asked: &VersionQuery,
    ) -> Result<Version, Error> {
        let bad = |error: &dyn fmt::Display| {
            let text =
                format!("{} sent a wrong .info for {module}@{asked}: {error}", self.upstream);
            Error::new(ErrorKind::BadContent, text)
        };
        let info = Info::parse(info).map_err(|error| bad(&error))?;
        info.check(asked, module).map_err(|error| bad(&error))?;
        Ok(info.version)
    }
}

impl HasOutcome for Fetched {
    fn outcome(&self) -> Outcome {
        Outcome::Ok
    }
}

/// Asks an upstream: a module proxy, or a version-control system through the `go` command.
///
/// Contract: `NotFound` only for an explicit "does not exist"; everything else is another kind. A
/// text that is plainly not what was asked for is `BadContent`.
pub trait Fetcher: Send + Sync + 'static {
    /// A name for logs and metrics, without credentials.
    fn name(&self) -> Arc<str>;
    /// Whether every answer about this module is a whole version ([`Payload::Version`]).
    fn fetches_whole_versions(&self, _module: &ModulePath) -> bool {
        false
    }
    /// Whom it would ask about this module, in this order, and how it stands with each of them.
    fn asks(&self, _module: &ModulePath) -> Vec<Facts> {
        Vec::new()
    }
    /// What a question about this module would fail with that came now, where nobody would be asked.
    fn refusal(&self, _module: &ModulePath) -> Option<Error> {
        None
    }
    /// Asks.
    fn fetch(&self, request: FetchRequest) -> BoxFuture<'_, Result<Fetched, Error>>;
}

/// What the checksum database knows of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The settings exempt the module: nothing to compare.
    Exempt,
    /// The hashes of its record.
    Hashes {
        /// Of the zip.
        zip: Hash1,
        /// Of the `.mod`.
        go_mod: Hash1,
    },
}

/// Says what the bytes of a version must be.
///
/// Errors: `PrivateChecksum` where the database does not know the version, `ChecksumUnavailable`
/// where it could not be asked, `ChecksumMismatch` where the database contradicts itself.
pub trait Verifier: Send + Sync + 'static {
    /// The expected hashes of a version.
    fn expected<'a>(
        &'a self,
        context: &'a RequestContext,
        module: &'a ModulePath,
        version: &'a Version,
    ) -> BoxFuture<'a, Result<Expected, Error>>;
}

/// Says whether a version may be served: Athens's `ValidatorHook`.
///
/// Errors: `DeniedByValidator` where it refuses, with its reason; `ValidatorFailed` where it could not
/// be asked or gave no clear answer. Bounded by the context's deadline.
pub trait Validator: Send + Sync + 'static {
    /// Asks about a version, or a query such as a branch, of a module.
    fn validate<'a>(
        &'a self,
        context: &'a RequestContext,
        module: &'a ModulePath,
        version: &'a VersionQuery,
    ) -> BoxFuture<'a, Result<(), Error>>;
}

/// Remembers when each version was first stored: `/index`.
pub trait Index: Send + Sync + 'static {
    /// Adds a version; "already there" is success.
    fn add<'a>(
        &'a self,
        module: &'a ModulePath,
        version: &'a Version,
    ) -> BoxFuture<'a, Result<(), Error>>;
    /// At most `limit` entries with a timestamp at or after `since`, oldest first.
    fn since(
        &self,
        since: time::OffsetDateTime,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<IndexEntry>, Error>>;
}

/// One line of `/index`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// Decoded module path.
    pub path: String,
    /// Version.
    pub version: String,
    /// When it was first stored.
    pub timestamp: time::OffsetDateTime,
}

/// A background stash that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueEntry {
    /// Module path.
    pub module: ModulePath,
    /// Version or query, as asked.
    pub version: VersionQuery,
    /// When it was accepted.
    pub accepted: SystemTime,
}

/// Keeps the background stashes that were accepted until they have ended, across restarts.
///
/// Errors: `Storage`, with what is wrong with the place.
pub trait QueueStore: Send + Sync + 'static {
    /// Keeps an entry; when this returns, no crash loses it.
    fn keep<'a>(&'a self, entry: &'a QueueEntry) -> BoxFuture<'a, Result<(), Error>>;

    /// Forgets an entry that has ended; one that is not there is forgotten already. A crash of the machine
    /// may bring it back.
    fn forget<'a>(
        &'a self,
        module: &'a ModulePath,
        version: &'a VersionQuery,
    ) -> BoxFuture<'a, Result<(), Error>>;
}

/// Who wants which lock.
///
/// The key is Athens's: module path and version as asked. The owner is made once for each wish for a
/// lock and is nobody else's, so an attempt whose answer was lost can be made again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LockClaim {
    /// What is locked.
    pub key: Arc<str>,
    /// Who locks it.
    pub owner: Arc<str>,
}

/// What an attempt to get a lock came to.
#[derive(Debug)]
pub enum Acquired {
    /// The lock is the claim's.
    Granted {
        /// Grows from one grant of a key to the next: carried to spans and logs, so that a late writer
        /// can be told from the one that came after it.
        fencing: u64,
    },
    /// Another has it.
    Held(Held),
    /// Its last holder found for good that there is nothing to fetch. Only [`Lock::ask_again`] says so.
    Settled(Verdict),
}

/// A moment, as a lock service counts them: by its clock, or by its revisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

/// A lock that another has.
pub struct Held {
    /// Who has it, as far as the service says; the text of a claim's owner where that is one of ours.
    pub by: Option<Arc<str>>,
    /// When it lapses unless it is renewed, where the service says.
    pub lapses_in: Option<Duration>,
    /// Resolves when it is released, where the service tells; never otherwise. A release between the
    /// attempt and the first look at this is not missed. It may resolve without reason.
    pub released: BoxFuture<'static, ()>,
    /// When that was, where the service carries verdicts: one that is found later concerns who was told this.
    pub since: Option<Moment>,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Held(lapses in {:?})", self.lapses_in)
    }
}

/// Why a lock service could not be asked, in one line without credentials. No client ever sees it:
/// what cannot be locked is done without a lock.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LockError(Arc<str>);

impl LockError {
    /// With this text.
    pub fn new(text: impl AsRef<str>) -> Self {
        Self(text.as_ref().into())
    }
}

/// Locks across replicas, each held for a lease that its holder renews.
///
/// Contract: of all that want a key at most one has it, as far as the service can promise that; a
/// lock that nobody renews lapses with its lease, which the adapter was opened with. Calls may be
/// dropped and made again. A lock saves fetches; that no wrong byte is stored does not depend on it.
///
/// Errors: only that the service could not be asked or refuses to work.
pub trait Lock: Send + Sync + 'static {
    /// The `SingleFlightType`, for messages.
    fn kind(&self) -> &'static str;

    /// Tries once, without waiting for a holder. Granted again to the owner that has it already.
    fn acquire<'a>(&'a self, claim: &'a LockClaim) -> BoxFuture<'a, Result<Acquired, LockError>>;

    /// Tries once more, for who was told at `since` that another has it. What a holder has found for good since
    /// then is the answer, as long as it stands; else as [`Lock::acquire`].
    fn ask_again<'a>(
        &'a self,
        claim: &'a LockClaim,
        since: Moment,
    ) -> BoxFuture<'a, Result<Acquired, LockError>> {
        let _ = since;
        self.acquire(claim)
    }

    /// Begins the lease anew; `false` where the lock is the claim's no more.
    fn renew<'a>(&'a self, claim: &'a LockClaim) -> BoxFuture<'a, Result<bool, LockError>>;

    /// Gives the lock back and wakes who waits for it; `false` where it was the claim's no more.
    fn release<'a>(&'a self, claim: &'a LockClaim) -> BoxFuture<'a, Result<bool, LockError>>;

    /// Gives the lock back, and leaves the verdict to who waits for it. A service that cannot carry one only
    /// releases.
    fn settle<'a>(
        &'a self,
        claim: &'a LockClaim,
        verdict: &'a Verdict,
    ) -> BoxFuture<'a, Result<bool, LockError>> {
        let _ = verdict;
        self.release(claim)
    }

    /// Proves that a lock could be had now.
    fn check(&self) -> BoxFuture<'_, Result<(), LockError>>;

    /// Gives back, at the end of the process, what it holds at the service besides locks.
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}
