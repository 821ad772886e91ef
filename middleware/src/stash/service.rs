use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::query::VersionQuery;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use futures::future::{Either, select};
use tokio::time::timeout_at;
use tokio_util::task::TaskTracker;

use super::checks;
use super::ingest::{Ingest, Known};
use super::small::{For, Small, SmallFile, SmallFlights};
use crate::error::{Error, ErrorKind};
use crate::forward::Forward;
use crate::ports::{BoxFuture, Expected, Fetched, Index, Payload, Verifier, ZipBody};
use crate::purge::Purges;
use crate::request::{FetchAsk, FetchRequest, RequestContext, StashRequest, TURN_PATIENCE, Want};
use crate::response::{Files, Finished, Stashed};
use crate::spool::Spools;
use crate::stack::{Border, stage};
use crate::storage_io::StorageHandle;
use crate::telemetry::trace::current;
use crate::telemetry::{Outcome, Phase, Telemetry};

/// How long a version with the wrong checksum is refused without being fetched again.
pub const QUARANTINE_FOR: Duration = Duration::from_secs(3600);

/// How long a version whose zip breaks the rules is refused without being fetched again: upstream may
/// have been the victim of something that passes.
pub const BAD_CONTENT_FOR: Duration = Duration::from_secs(300);

/// What a stash works with.
#[derive(Clone)]
pub struct StashPorts {
    /// The upstream stack.
    pub upstream: Border<FetchRequest, Fetched>,
    /// The checksum database.
    pub verifier: Arc<dyn Verifier>,
    /// The storage stack.
    pub storage: StorageHandle,
    /// The index.
    pub index: Arc<dyn Index>,
    /// Where zips arrive.
    pub spools: Spools,
    /// Bytes of a zip that are held back until the checks agree.
    pub hold_back_bytes: u64,
    /// Counts running work; a drain waits for it.
    pub tasks: TaskTracker,
    /// Metrics.
    pub telemetry: Telemetry,
}

/// Fetches, verifies, saves and indexes.
#[derive(Clone)]
pub struct Stash {
    ports: StashPorts,
    flights: SmallFlights,
    purges: Purges,
}

impl Stash {
    /// With these ports.
    pub fn new(ports: StashPorts) -> Self {
        let (flights, purges) = (SmallFlights::new(ports.tasks.clone()), Purges::default());
        Self { flights, purges, ports }
    }

    /// After each of these purges no small file is shared that was asked for before.
    pub fn anew_after(self, purges: Purges) -> Self {
        Self { purges, ..self }
    }

    async fn handle(&self, request: StashRequest) -> Result<Stashed, Error> {
        let (athens, started) = (self.ports.telemetry.athens.clone(), Instant::now());
        let result = self.clone().stash(request).await;
        if let Some(athens) = athens {
            athens.stashed(started, &result);
        }
        result
    }

    async fn stash(self, request: StashRequest) -> Result<Stashed, Error> {
        let StashRequest { context, key } = request;
        let Self { ports, flights, purges } = self;
        let (module, turn_patience) = (key.module, TURN_PATIENCE);
        let job = Job { ports, flights, purges, context, module, turn_patience };
        match key.version.canonical() {
            Some(version) => job.version(version.clone(), key.want).await,
            None => job.query(key.version, key.want).await,
        }
    }
}

impl fmt::Debug for Stash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stash")
    }
}

stage!(Stash: StashRequest => Stashed);

/// One stash under way.
#[derive(Clone)]
pub(super) struct Job {
    pub(super) ports: StashPorts,
    pub(super) flights: SmallFlights,
    pub(super) purges: Purges,
    pub(super) context: RequestContext,
    pub(super) module: ModulePath,
    /// See [`FetchRequest::turn_patience`].
    turn_patience: Duration,
}

impl Job {
    pub(super) async fn fetch(&self, ask: FetchAsk) -> Result<Fetched, Error> {
        let (context, module) = (self.context.clone(), self.module.clone());
        let request = FetchRequest::new(context, module, ask);
        let turn_patience = self.turn_patience;
        let fetched = self.ports.upstream.send(FetchRequest { turn_patience, ..request }).await;
        fetched.map_err(Error::forwarded_if_late)
    }

    /// From here on the zip comes in, and would be thrown away for want of what belongs to it: that waits for its
    /// turn until the stash's deadline.
    fn with_zip_in_hand(self) -> Self {
        Self { turn_patience: Duration::MAX, ..self }
    }

    /// The checksum database's answer, on a future that owns what it needs.
    pub(super) fn expected(
        &self,
        version: &Version,
    ) -> BoxFuture<'static, Result<Expected, Error>> {
        let (job, version) = (self.clone(), version.clone());
        Box::pin(async move {
            let _waits = job.context.timings.enter(Phase::Verify);
            let asked = job.ports.verifier.expected(&job.context, &job.module, &version);
            timeout_at(job.context.deadline, asked).await.unwrap_or_else(|_| {
                let text = format!(
                    "the checksum database did not answer for {}@{version} within StashTimeout",
                    job.module
                );
                Err(Error::new(ErrorKind::ChecksumUnavailable, text))
            })
        })
    }

    /// What was stored since storage was looked at: a request may have waited long for its turn, and the
    /// stash it would have followed has ended.
    async fn stored_meanwhile(&self, version: &Version, want: Want) -> Option<Stashed> {
        let Self { ports: StashPorts { storage, .. }, context, module, .. } = self;
        let kinds = match want {
            Want::File(FileKind::Info) => &[FileKind::Info][..],
            Want::File(FileKind::Mod) => &[FileKind::Mod],
            Want::File(FileKind::Zip) => &[FileKind::Zip],
            Want::Version => &FileKind::ALL,
        };
        let look = async {
            if let Some(stored) = storage.stored(context, module, version, kinds).await? {
                return Ok(Some(Files { stored, ..Files::default() }));
            }
            let bytes = match want {
                Want::File(kind) if kind != FileKind::Zip => {
                    storage.read_early(context, module, version, kind).await?
                }
                _ => None,
            };
            Ok::<_, Error>(bytes.map(|bytes| match want {
                Want::File(FileKind::Mod) => Files { go_mod: Some(bytes), ..Files::default() },
                _ => Files { info: Some(bytes), ..Files::default() },
            }))
        };
        match look.await {
            Ok(files) => {
                files.map(|files| Self::ended(version.clone(), files, Outcome::MissFollower))
            }
            Err(error) => {
                // It can be fetched all the same; whether it can be kept is seen then.
                tracing::debug!(%module, %version, %error, "storage could not be looked at again");
                None
            }
        }
    }

    /// What is wanted of a version whose name is known.
    async fn version(self, version: Version, want: Want) -> Result<Stashed, Error> {
        match self.stored_meanwhile(&version, want).await {
            Some(stashed) => Ok(stashed),
            None => self.absent(version, want).await,
        }
    }

    /// What is wanted of a version that is not stored.
    async fn absent(self, version: Version, want: Want) -> Result<Stashed, Error> {
        match want {
            Want::File(FileKind::Zip) => self.zip(version).await,
            Want::File(kind) => self.small_alone(version, kind).await,
            // Any file will do: each comes with the others.
            Want::Version => self.small_alone(version, FileKind::Info).await,
        }
    }

    /// What is wanted of the version that a query stands for. Upstream says only which one that is: of
    /// a version that is stored, the stored bytes are the answer.
    async fn query(self, asked: VersionQuery, want: Want) -> Result<Stashed, Error> {
        let fetched = self.fetch(FetchAsk::Info(asked.clone())).await?;
        let version = match &fetched.payload {
            Payload::Bytes(info) => fetched.version_of(info, &self.module, &asked)?,
            Payload::Version { version, .. } => version.clone(),
            Payload::Zip(_) => return Err(wrong_payload()),
        };
        if let Some(mut stashed) = self.stored_meanwhile(&version, want).await {
            // No other fetch is shared here: upstream was asked for this one, and the file was there.
            stashed.outcome = Outcome::HitStorage;
            stashed.forward = Forward { asked: true, ..Forward::default() };
            stashed.files.cache_status = fetched.cache_status;
            return Ok(stashed);
        }
        match (fetched.payload, want) {
            (Payload::Bytes(_), Want::File(FileKind::Mod | FileKind::Zip)) => {
                self.absent(version, want).await
            }
            (Payload::Bytes(info), _) => {
                let outcome = self.keep_early(&version, FileKind::Info, &info).await;
                let cache_status = fetched.cache_status;
                let files = Files { info: Some(info), cache_status, ..Files::default() };
                Ok(Self::ended(version, files, outcome))
            }
            (payload, _) => self.whole(Fetched { payload, ..fetched }).await,
        }
    }

    /// `.info` or `.mod` before the zip, or the whole version that it came with.
    async fn small_alone(self, version: Version, kind: FileKind) -> Result<Stashed, Error> {
        match self.small(&version, kind, For::Client).await? {
            Small::File(SmallFile { bytes, outcome, cache_status }) => {
                let (info, go_mod) = match kind {
                    FileKind::Mod => (None, Some(bytes)),
                    _ => (Some(bytes), None),
                };
                let files = Files { info, go_mod, cache_status, ..Files::default() };
                Ok(Self::ended(version, files, outcome))
            }
            Small::Whole(fetched) => self.whole(fetched).await,
        }
    }

    /// A stash behind which nothing goes on.
    fn ended(version: Version, files: Files, outcome: Outcome) -> Stashed {
        let (forward, finished) = (Forward::default(), Finished::now());
        Stashed { version, files, outcome, forward, finished }
    }

    async fn zip(self, version: Version) -> Result<Stashed, Error> {
        self.refuse_quarantined(&version).await?;
        let fetched = self.fetch(FetchAsk::Zip(version.clone())).await?;
        match fetched.payload {
            Payload::Zip(body) => {
                let from = (fetched.upstream, fetched.cache_status);
                self.ingest(version, body, Known::default(), from)
            }
            _ => self.whole(fetched).await,
        }
    }

    /// A whole version came at once: its small files are kept now, its zip as it arrives.
    async fn whole(self, fetched: Fetched) -> Result<Stashed, Error> {
        let upstream = fetched.upstream;
        let Payload::Version { version, info, go_mod, zip } = fetched.payload else {
            return Err(wrong_payload());
        };
        self.refuse_quarantined(&version).await?;
        let expected = self.expected(&version).await;
        self.check_go_mod(&version, &go_mod, &expected, &upstream).await?;
        self.keep_early(&version, FileKind::Info, &info).await;
        self.keep_early(&version, FileKind::Mod, &go_mod).await;
        let known = Known { info: Some(info), go_mod: Some(go_mod) };
        self.ingest(version, zip, known, (upstream, None))
    }

    fn ingest(
        self,
        version: Version,
        body: ZipBody,
        known: Known,
        (upstream, cache_status): (Arc<str>, Option<Arc<str>>),
    ) -> Result<Stashed, Error> {
        let StashPorts { spools, hold_back_bytes, tasks, .. } = &self.ports;
        let (writer, spool) = spools.create(body.length, *hold_back_bytes)?;
        let (guard, finished) = Finished::new();
        let Known { info, go_mod } = known.clone();
        let files = Files { info, go_mod, zip: Some(spool), cache_status, ..Files::default() };
        let job = self.clone().with_zip_in_hand();
        let ingest = Ingest::new(job, version.clone(), known, upstream, finished.clone());
        tasks.spawn(current::inherited(async move {
            match ingest.run(body, writer).await {
                Ok(()) => drop(guard),
                Err(error) => guard.refuse(error),
            }
        }));
        let (outcome, forward) = (Outcome::MissLeader, Forward::default());
        Ok(Stashed { version, files, outcome, forward, finished })
    }

    /// Fetches while the checksum database is asked. A fetch that fails is the answer at once.
    pub(super) async fn fetch_beside_expected(
        &self,
        ask: FetchAsk,
    ) -> Result<(Fetched, Result<Expected, Error>), Error> {
        let version = match &ask {
            FetchAsk::Mod(version) | FetchAsk::Zip(version) => version.clone(),
            _ => return Err(wrong_payload()),
        };
        let expected = self.expected(&version);
        let fetch = std::pin::pin!(self.fetch(ask));
        match select(fetch, expected).await {
            Either::Left((fetched, expected)) => Ok((fetched?, expected.await)),
            Either::Right((expected, fetch)) => Ok((fetch.await?, expected)),
        }
    }

    pub(super) async fn check_go_mod(
        &self,
        version: &Version,
        go_mod: &Bytes,
        expected: &Result<Expected, Error>,
        upstream: &str,
    ) -> Result<(), Error> {
        let compared = match expected {
            Ok(expected) => checks::go_mod(&self.module, version, go_mod, expected, upstream),
            Err(error) => Err(error.clone()),
        };
        checks::count(&self.ports.telemetry.metrics, expected, &compared);
        // Something else in place of a `.mod` says nothing about the version; a wrong checksum does.
        match &compared {
            Err(error) if error.kind() == ErrorKind::ChecksumMismatch => {
                self.quarantine(version, error).await;
            }
            _ => {}
        }
        compared
    }

    /// Records what is wrong with a version, where it is the version's fault.
    pub(super) async fn quarantine(&self, version: &Version, error: &Error) {
        let Self { context, module, ports, .. } = self;
        let reason = error.message();
        match error.kind() {
            ErrorKind::ChecksumMismatch => {
                tracing::error!(request_id = %context.id, %module, %version, reason,
                    "SECURITY: wrong checksum: in quarantine");
            }
            ErrorKind::BadContent => {}
            _ => return,
        }
        let written = ports.storage.write_quarantine(context, module, version, error).await;
        if let Err(error) = written {
            tracing::error!(%module, %version, %error, "quarantine not recorded");
        }
    }

    /// Keeps a small file before its zip. Failing costs the copy, not the answer.
    pub(super) async fn keep_early(
        &self,
        version: &Version,
        kind: FileKind,
        bytes: &Bytes,
    ) -> Outcome {
        let storage = &self.ports.storage;
        match storage.write_early(&self.context, &self.module, version, kind, bytes.clone()).await {
            Ok(()) => Outcome::MissLeader,
            Err(error) => {
                tracing::error!(request_id = %self.context.id, module = %self.module, %version,
                    kind = kind.as_str(), %error, "fetched but not kept");
                Outcome::MissDegraded
            }
        }
    }

    async fn refuse_quarantined(&self, version: &Version) -> Result<(), Error> {
        let Self { ports, context, module, .. } = self;
        match quarantined(&ports.storage, context, module, version).await {
            Ok(None) => Ok(()),
            Ok(Some(wrong)) => Err(wrong),
            Err(error) if error.is_of_storage() => {
                // What is fetched is checked again: it will be refused for the same reason.
                tracing::warn!(%module, %version, %error, "quarantine not looked at");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

/// Why a version is refused without being fetched, if it is.
pub(super) async fn quarantined(
    storage: &StorageHandle,
    context: &RequestContext,
    module: &ModulePath,
    version: &Version,
) -> Result<Option<Error>, Error> {
    let record = storage.read_quarantine(context, module, version).await?;
    let Some((wrong, since)) = record else { return Ok(None) };
    let patience = match wrong.kind() {
        ErrorKind::BadContent => BAD_CONTENT_FOR,
        _ => QUARANTINE_FOR,
    };
    // A clock that went back makes the record look new, which is the safe side.
    let is_over = since.elapsed().is_ok_and(|age| age > patience);
    Ok(Some(wrong).filter(|_| !is_over))
}

pub(super) fn wrong_payload() -> Error {
    Error::new(ErrorKind::Internal, "an upstream answered another question than it was asked")
}
