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

use super::service::{Job, wrong_payload};
use crate::error::{Error, ErrorKind};
use crate::flight::{Flights, NoLanding, Role};
use crate::ports::{Fetched, Payload};
use crate::purge::Era;
use crate::request::FetchAsk;
use crate::response::Finished;
use crate::telemetry::Outcome;

/// How long after its deadline a fetch may still say what it waited for, which tells more than that
/// it took too long.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Small files under way, by when they were asked for; as many as the stashes that want them, whose slots bound
/// them.
pub(super) type SmallFlights = Flights<(ModulePath, Version, FileKind, Era), Result<Landed, Error>>;

/// A small file that came alone, and was checked.
#[derive(Clone, Debug)]
pub(super) struct SmallFile {
    pub(super) bytes: Bytes,
    /// Who led, and whether it is kept.
    pub(super) outcome: Outcome,
    /// What the upstream said in `Cache-Status`.
    pub(super) cache_status: Option<Arc<str>>,
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
    /// A client: it is kept at once, before its zip.
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
            match job.fetch_small(&asked, kind, &for_whom).await {
                Ok(Small::File(file)) => {
                    landing.land(Ok(Landed::File(file)));
                    if let For::Zip(finished) = for_whom {
                        finished.wait().await;
                    }
                }
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
                    None => self.fetch_small(version, kind, &whom).await,
                }
            }
        }
    }

    /// A file that came alone is checked here; a whole version is its taker's to check.
    async fn fetch_small(
        &self,
        version: &Version,
        kind: FileKind,
        whom: &For,
    ) -> Result<Small, Error> {
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
        match (&fetched.payload, whom) {
            (Payload::Bytes(bytes), whom) => {
                let outcome = match whom {
                    For::Client => self.keep_early(version, kind, bytes).await,
                    For::Zip(_) => Outcome::MissLeader,
                };
                let (bytes, cache_status) = (bytes.clone(), fetched.cache_status);
                Ok(Small::File(SmallFile { bytes, outcome, cache_status }))
            }
            (Payload::Version { .. }, _) => Ok(Small::Whole(fetched)),
            (Payload::Zip(_), _) => Err(wrong_payload()),
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
