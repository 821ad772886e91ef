//! `.info` and `.mod` of a version, fetched once for all who want one at the same time: clients who
//! ask for the file, and a zip on its way in, which is stored with both.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::query::VersionQuery;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit, watch};

use super::service::{Job, wrong_payload};
use crate::error::{Error, ErrorKind};
use crate::flight::{Flights, NoLanding, Role};
use crate::ports::{Fetched, Payload};
use crate::purge::Era;
use crate::request::FetchAsk;
use crate::response::{FinishGuard, Finished};
use crate::telemetry::Outcome;

/// How long after its deadline a fetch may still say what it waited for, which tells more than that
/// it took too long.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Small files that are kept before their zips at a time: more would only wait for each other, and with them those
/// whom somebody waits for.
pub const EARLY_AT_ONCE_MAX: usize = 4;
/// Small files that may wait for that without a fetch slot.
pub const EARLY_WAITING_MAX: usize = 1024;

/// The turns of those who keep small files. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Early {
    turns: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

impl Default for Early {
    fn default() -> Self {
        let semaphore = |count| Arc::new(Semaphore::new(count));
        Self { turns: semaphore(EARLY_AT_ONCE_MAX), places: semaphore(EARLY_WAITING_MAX) }
    }
}

impl Early {
    fn place(&self) -> Option<SemaphorePermit<'_>> {
        self.places.try_acquire().ok()
    }

    async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // Nobody closes them.
        self.turns.acquire().await.ok()
    }
}

/// Small files under way, by when they were asked for; as many as the stashes that want them, whose slots bound
/// them.
pub(super) type SmallFlights = Flights<(ModulePath, Version, FileKind, Era), Result<Landed, Error>>;

/// A small file that came alone, and was checked.
#[derive(Clone, Debug)]
pub(super) struct SmallFile {
    pub(super) bytes: Bytes,
    /// Who led.
    pub(super) outcome: Outcome,
    /// Ends when it is kept before its zip, and says why where it cannot be; at once where it is not to be.
    pub(super) kept: Finished,
    /// Where a zip on its way in says that it will be stored with this.
    taker: Taker,
    /// What the upstream said in `Cache-Status`.
    pub(super) cache_status: Option<Arc<str>>,
}

/// A zip that has taken a small file along, by its own end.
#[derive(Clone, Debug)]
struct Taker(watch::Sender<Option<Finished>>);

impl Taker {
    fn take(&self, zip: &Finished) {
        self.0.send_if_modified(|taker| {
            let is_first = taker.is_none();
            taker.get_or_insert_with(|| zip.clone());
            is_first
        });
    }

    /// Waits for a zip that takes it.
    async fn taken(&self) -> Finished {
        let mut taker = self.0.subscribe();
        match taker.wait_for(Option::is_some).await.map(|taker| taker.clone()) {
            Ok(Some(zip)) => zip,
            // We hold the sender ourselves, and it was there.
            _ => std::future::pending().await,
        }
    }
}

/// What a fetch of a small file brought to all who wait for it.
#[derive(Clone, Debug)]
pub(super) enum Landed {
    /// The file.
    File(SmallFile),
    /// It came with its whole version, which only one of them can take.
    Whole,
}

/// What one of them gets.
pub(super) enum Small {
    /// The file.
    File(SmallFile),
    /// The whole version, unchecked.
    Whole(Fetched),
}

/// Who asks for a small file, and so what becomes of it.
#[derive(Clone, Debug)]
pub(super) enum For {
    /// A client: it is kept before its zip, behind the answer. Who asks until then shares it.
    Client,
    /// A zip: it is stored with that. Who asks until then shares it, because it lies nowhere yet.
    Zip(Finished),
}

impl Job {
    /// One small file: fetched and checked, or what another fetch of it brings.
    pub(super) async fn small(
        &self,
        version: &Version,
        kind: FileKind,
        whom: For,
    ) -> Result<Small, Error> {
        let parked = Arc::new(Mutex::new(None));
        let era = self.purges.era(&self.module);
        let key = (self.module.clone(), version.clone(), kind, era);
        let (job, asked, park, for_whom) =
            (self.clone(), version.clone(), Arc::clone(&parked), whom.clone());
        let deadline = self.context.deadline + LAST_WORD;
        let joined = self.flights.join(key, deadline, |landing| async move {
            match job.fetch_small(&asked, kind).await {
                Ok(Small::File(file)) => match for_whom {
                    For::Client => {
                        let (guard, kept) = Finished::new();
                        let file = SmallFile { kept, ..file };
                        landing.land(Ok(Landed::File(file.clone())));
                        job.keep_behind(&asked, kind, &file, guard).await;
                    }
                    For::Zip(finished) => {
                        landing.land(Ok(Landed::File(file)));
                        finished.wait().await;
                    }
                },
                Ok(Small::Whole(whole)) => {
                    *park.lock() = Some(whole);
                    landing.land(Ok(Landed::Whole));
                }
                Err(error) => landing.land(Err(error)),
            }
        });
        let (landed, role) = joined.await.map_err(|why| self.unlanded(version, kind, why))?;
        let landed = match role {
            Role::Leader => landed,
            Role::Follower => landed.map_err(Error::collapsed),
        };
        match landed? {
            Landed::File(mut file) => {
                if let For::Zip(finished) = &whom {
                    file.taker.take(finished);
                }
                if role == Role::Follower && file.outcome == Outcome::MissLeader {
                    file.outcome = Outcome::MissFollower;
                }
                Ok(Small::File(file))
            }
            Landed::Whole => {
                let mine = parked.lock().take();
                match mine {
                    Some(whole) => Ok(Small::Whole(whole)),
                    // Another has it, and its zip can be read only once.
                    None => {
                        let small = self.fetch_small(version, kind).await?;
                        if let (Small::File(file), For::Client) = (&small, &whom) {
                            // It was said where it happened; the answer is there all the same.
                            let _ = self.keep_early(version, kind, &file.bytes).await;
                        }
                        Ok(small)
                    }
                }
            }
        }
    }

    /// A file that came alone is checked here; a whole version is its taker's to check.
    async fn fetch_small(&self, version: &Version, kind: FileKind) -> Result<Small, Error> {
        let fetched = if kind == FileKind::Mod {
            let ask = FetchAsk::Mod(version.clone());
            let (fetched, expected) = self.fetch_beside_expected(ask).await?;
            if let Payload::Bytes(bytes) = &fetched.payload {
                self.check_go_mod(version, bytes, &expected, &fetched.upstream).await?;
            }
            fetched
        } else {
            let asked = VersionQuery::Version(version.clone());
            let fetched = self.fetch(FetchAsk::Info(asked.clone())).await?;
            if let Payload::Bytes(bytes) = &fetched.payload {
                fetched.version_of(bytes, &self.module, &asked)?;
            }
            fetched
        };
        match &fetched.payload {
            Payload::Bytes(bytes) => {
                let (bytes, cache_status) = (bytes.clone(), fetched.cache_status);
                let (outcome, kept) = (Outcome::MissLeader, Finished::now());
                let taker = Taker(watch::Sender::new(None));
                Ok(Small::File(SmallFile { bytes, outcome, kept, taker, cache_status }))
            }
            Payload::Version { .. } => Ok(Small::Whole(fetched)),
            Payload::Zip(_) => Err(wrong_payload()),
        }
    }

    /// A store takes its time to be safe: several syncs, on a disk. Nobody has to wait for a copy that the next
    /// fetch could make as well; and where many wait for their turn, a zip that comes meanwhile brings the file along.
    async fn keep_behind(
        &self,
        version: &Version,
        kind: FileKind,
        file: &SmallFile,
        guard: FinishGuard,
    ) {
        // Without a place it keeps its fetch slot, which bounds those who wait.
        let _place = self.early.place().inspect(|_| guard.received());
        let zip = tokio::select! {
            biased;
            zip = file.taker.taken() => zip,
            turn = self.early.turn() => {
                let kept = self.keep_early(version, kind, &file.bytes).await;
                drop(turn);
                return match kept {
                    Ok(()) => drop(guard),
                    Err(error) => guard.refuse(error),
                };
            }
        };
        // Nothing is on its way to where it would lie before its zip. Who asks until the zip is stored shares this.
        drop(guard);
        if zip.refusal().await.is_some() {
            // It was said where it happened.
            let _ = self.keep_early(version, kind, &file.bytes).await;
        }
    }

    fn unlanded(&self, version: &Version, kind: FileKind, why: NoLanding) -> Error {
        match why {
            NoLanding::Overdue => {
                let module = &self.module;
                let text =
                    format!("the .{kind} of {module}@{version} took longer than StashTimeout");
                Error::new(ErrorKind::UpstreamTimeout, text)
            }
            NoLanding::Crashed => Error::new(ErrorKind::Internal, "the fetch crashed; ask again"),
        }
    }
}
