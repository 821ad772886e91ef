//! A zip on its way in: received, checked, released, saved.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use futures::future::{Either, ready};
use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::behind::{Refusal, Room};
use super::checker::{Checked, Checker, Piece, Taken};
use super::checks;
use super::service::{Job, wrong_payload};
use super::small::{For, Small, SmallFile};
use crate::error::{Error, ErrorKind};
use crate::events::{self, Event};
use crate::ports::{Expected, Fetched, NewVersion, Payload, SaveResult, ZipBody};
use crate::request::{FetchAsk, RequestContext};
use crate::response::{FinishGuard, Finished};
use crate::spool::{Spool, SpoolWriter};
use crate::telemetry::{Outcome, Saved};

/// Attempts to receive one zip: the first, and one more if it breaks off.
pub const BODY_ATTEMPTS: u32 = 2;

/// A save has the storage stack's own deadline, not what is left of the fetch's.
const SAVE_PATIENCE: Duration = Duration::from_secs(3600);

/// How long the index may take to add one entry.
const INDEX_PATIENCE: Duration = Duration::from_secs(30);

/// Chunks between the network and the checking thread.
const CHUNKS_WAITING_MAX: usize = 4;

/// Files of the version that are known already.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) info: Option<Bytes>,
    pub(super) go_mod: Option<Bytes>,
}

/// The small files of a version.
#[derive(Clone)]
struct SmallFiles {
    info: Bytes,
    go_mod: Bytes,
    /// When they are no longer on their way to where they lie before the zip.
    early: [Finished; 2],
}

/// A zip that everybody may have, with its small files where they could be had.
struct Verified {
    small: Option<SmallFiles>,
}

/// One zip on its way in.
pub(super) struct Ingest {
    job: Job,
    version: Version,
    known: Known,
    upstream: Arc<str>,
    finished: Finished,
    began: Instant,
}

impl Ingest {
    /// `finished` resolves when [`Ingest::run`] has ended.
    pub(super) fn new(
        job: Job,
        version: Version,
        known: Known,
        upstream: Arc<str>,
        finished: Finished,
    ) -> Self {
        Self { job, version, known, upstream, finished, began: Instant::now() }
    }

    /// Everything after the upstream's first byte. No client waits for the result: they have the
    /// spool, and what concerns the operator is logged and counted here, once. It is for the other replicas.
    pub(super) async fn run(
        self,
        body: ZipBody,
        writer: SpoolWriter,
        guard: &FinishGuard,
    ) -> Result<(), Error> {
        let spool = writer.spool().clone();
        let saved = match self.receive_and_verify(body, writer, guard).await {
            Ok(Verified { small: Some(small) }) => self.save(spool, small).await,
            // Why the small files are missing was said where it happened.
            Ok(Verified { small: None }) => return Ok(()),
            Err(error) => Err(error),
        };
        saved.inspect_err(|error| self.not_stored(error))
    }

    fn not_stored(&self, error: &Error) {
        let Job { context, module, .. } = &self.job;
        tracing::error!(request_id = %context.id, %module, version = %self.version, %error,
            outcome = %error.outcome(), "not stored");
    }

    /// Ends the spool: released whole where everything agrees, refused where anything does not.
    async fn receive_and_verify(
        &self,
        body: ZipBody,
        writer: SpoolWriter,
        guard: &FinishGuard,
    ) -> Result<Verified, Error> {
        let spool = writer.spool().clone();
        // Boxed, because it is handed on where it has to wait.
        let mut judged = Box::pin(self.judged(&spool));
        let (judged, room) = match (&mut judged).now_or_never() {
            Some(expected) => {
                let room = self.room_behind(&expected, &body);
                (Either::Left(ready(expected)), room)
            }
            None => (Either::Right(judged), None),
        };
        let is_looked_at = room.is_some();
        let received = async { Ok(self.receive(body, writer, is_looked_at).await) };
        // A database that refuses ends the download at once.
        let result = tokio::try_join!(received, judged, async { Ok(self.small_files().await) });
        let refused = match result {
            Ok(((writer, received), expected, small)) => {
                let agreed = received.and_then(|taken| {
                    self.agree(&taken, &expected, &small)?;
                    Ok(taken)
                });
                match agreed {
                    Ok(taken) => {
                        writer.finish();
                        guard.received();
                        match self.checked_behind(&spool, taken, room, &small).await {
                            Ok(()) => return Ok(Verified { small: self.noted(small) }),
                            Err(error) => error,
                        }
                    }
                    Err(error) => {
                        writer.fail(error.clone());
                        error
                    }
                }
            }
            Err(error) => error,
        };
        self.job.quarantine(&self.version, &refused).await;
        Err(refused)
    }

    /// Where no checksum is to be compared with, and the zip is too long for a refusal to be a status, its clients do
    /// not wait until every byte of its content was looked at: they get it as fast as it comes, and it is stored when
    /// it is found to be sound. Nothing where it is to be checked before its last bytes are shown.
    fn room_behind(&self, expected: &Result<Expected, Error>, body: &ZipBody) -> Option<Room> {
        let ports = &self.job.ports;
        let is_exempt = matches!(expected, Ok(Expected::Exempt));
        let is_long = body.length.is_some_and(|length| length > ports.hold_back_bytes);
        let is_welcome = is_exempt && is_long && ports.spools.is_roomy();
        is_welcome.then(|| self.job.behind.room()).flatten()
    }

    /// The content of what was only looked at.
    async fn checked_behind(
        &self,
        spool: &Spool,
        taken: Taken,
        room: Option<Room>,
        small: &Result<SmallFiles, Error>,
    ) -> Result<(), Error> {
        let (Taken::Looked(_), Some(room)) = (taken, room) else { return Ok(()) };
        let Job { module, .. } = &self.job;
        let summary = match room.check(spool.clone(), module, &self.version).await {
            Ok(summary) => summary,
            Err(Refusal::Zip(error)) => {
                return Err(checks::bad_zip(module, &self.version, &self.upstream, &error));
            }
            Err(Refusal::Other(error)) => return Err(error),
        };
        self.same_go_mod(summary.go_mod.as_deref(), small)
    }

    /// What the checksum database expects. Readers see nothing before it has answered: until then a
    /// refusal is a status.
    async fn judged(&self, spool: &Spool) -> Result<Expected, Error> {
        let expected = self.job.expected(&self.version).await;
        match &expected {
            Ok(_) => spool.permit_release(),
            Err(error) => {
                checks::count(&self.job.ports.telemetry.metrics, &expected, &Ok(()));
                spool.refuse(error.clone());
            }
        }
        expected
    }

    /// The zip's hash is the expected one, and its go.mod is the `.mod`.
    fn agree(
        &self,
        taken: &Taken,
        expected: &Expected,
        small: &Result<SmallFiles, Error>,
    ) -> Result<(), Error> {
        let Self { job: Job { module, ports, .. }, version, upstream, .. } = self;
        let (compared, go_mod) = match taken {
            Taken::Checked(summary) => {
                let compared = checks::zip_hash(module, version, &summary.h1, expected, upstream);
                (compared, summary.go_mod.as_deref())
            }
            // There is nothing to compare its hash with.
            Taken::Looked(look) => (Ok(()), look.go_mod.as_deref()),
        };
        checks::count(&ports.telemetry.metrics, &Ok(expected.clone()), &compared);
        compared?;
        self.same_go_mod(go_mod, small)
    }

    fn same_go_mod(
        &self,
        inside: Option<&[u8]>,
        small: &Result<SmallFiles, Error>,
    ) -> Result<(), Error> {
        let Self { job: Job { module, .. }, version, upstream, .. } = self;
        match (small, inside) {
            (Ok(SmallFiles { go_mod, .. }), Some(inside)) if inside != &go_mod[..] => {
                let text = format!(
                    "{upstream} sent a .mod for {module}@{version} that is not the go.mod of its zip"
                );
                Err(Error::new(ErrorKind::BadContent, text))
            }
            _ => Ok(()),
        }
    }

    /// Without its small files a version is served and not stored.
    fn noted(&self, small: Result<SmallFiles, Error>) -> Option<SmallFiles> {
        small.inspect_err(|error| self.not_stored(error)).ok()
    }

    /// Receives the body; if it breaks off, once more from the start.
    async fn receive(
        &self,
        body: ZipBody,
        writer: SpoolWriter,
        is_looked_at: bool,
    ) -> (SpoolWriter, Result<Taken, Error>) {
        let named = (self.job.module.clone(), self.version.clone());
        let (pieces, receiver) = mpsc::channel(CHUNKS_WAITING_MAX);
        let checker = tokio::task::spawn_blocking(move || {
            Checker::new(writer, named, is_looked_at).run(receiver)
        });
        let deadline = self.job.context.deadline;
        let fed = timeout_at(deadline, self.feed(body, &pieces)).await.unwrap_or_else(|_| {
            let text = format!("{} took longer than StashTimeout to send a zip", self.upstream);
            Err(Error::new(ErrorKind::UpstreamTimeout, text))
        });
        if fed.is_ok() {
            // The checker has gone only where it failed, and then it says why.
            let _ = pieces.send(Piece::End).await;
        }
        drop(pieces);
        match checker.await {
            Ok(Checked { writer, result }) => {
                let result = match (fed, result) {
                    // The checker's own refusal explains a feed that could not go on.
                    (_, Err(Refusal::Zip(error))) => {
                        let Job { module, .. } = &self.job;
                        Err(checks::bad_zip(module, &self.version, &self.upstream, &error))
                    }
                    (_, Err(Refusal::Other(error))) => Err(error),
                    (Err(error), _) => Err(error),
                    (Ok(()), Ok(Some(taken))) => Ok(taken),
                    (Ok(()), Ok(None)) => Err(crashed()),
                };
                (writer, result)
            }
            Err(join) => match join.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is going down; nobody reads any more.
                Err(_) => std::future::pending().await,
            },
        }
    }

    async fn feed(&self, body: ZipBody, pieces: &mpsc::Sender<Piece>) -> Result<(), Error> {
        let mut body = body;
        for attempt in 1.. {
            let error = match self.feed_once(body, pieces).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if attempt >= BODY_ATTEMPTS || !error.kind().is_transient() {
                return Err(error);
            }
            tracing::warn!(module = %self.job.module, version = %self.version, %error,
                "a zip broke off: asking for it once more");
            let fetched = self.job.fetch(FetchAsk::Zip(self.version.clone())).await?;
            body = match fetched.payload {
                Payload::Zip(body) | Payload::Version { zip: body, .. } => body,
                Payload::Bytes(_) => return Err(error),
            };
            if pieces.send(Piece::Restart).await.is_err() {
                return Ok(());
            }
        }
        Err(crashed())
    }

    async fn feed_once(
        &self,
        mut body: ZipBody,
        pieces: &mpsc::Sender<Piece>,
    ) -> Result<(), Error> {
        let received = self.job.ports.telemetry.metrics.fetched_bytes.get(()).clone();
        while let Some(chunk) = body.stream.next().await {
            let chunk = chunk?;
            received.inc_by(chunk.len() as u64);
            if pieces.send(Piece::Data(chunk)).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// `.info` and `.mod`: known, kept early, or fetched now.
    async fn small_files(&self) -> Result<SmallFiles, Error> {
        let ((info, info_kept), (go_mod, mod_kept)) = tokio::try_join!(
            self.small_file(FileKind::Info, self.known.info.clone()),
            self.small_file(FileKind::Mod, self.known.go_mod.clone()),
        )?;
        Ok(SmallFiles { info, go_mod, early: [info_kept, mod_kept] })
    }

    async fn small_file(
        &self,
        kind: FileKind,
        known: Option<Bytes>,
    ) -> Result<(Bytes, Finished), Error> {
        let alone = |bytes| Ok((bytes, Finished::now()));
        if let Some(bytes) = known {
            return alone(bytes);
        }
        let Self { job, version, .. } = self;
        // What storage cannot be asked for is fetched: it may be back when the zip is there.
        let early = job.ports.storage.read_early(&job.context, &job.module, version, kind).await;
        if let Ok(Some(bytes)) = early {
            return alone(bytes);
        }
        match job.small(version, kind, For::Zip(self.finished.clone())).await? {
            Small::File(SmallFile { bytes, kept, .. }) => Ok((bytes, kept)),
            Small::Whole(Fetched {
                payload: Payload::Version { info, go_mod, .. },
                upstream,
                ..
            }) => {
                if kind == FileKind::Info {
                    return alone(info);
                }
                let expected = job.expected(version).await;
                job.check_go_mod(version, &go_mod, &expected, &upstream).await?;
                alone(go_mod)
            }
            Small::Whole(_) => Err(wrong_payload()),
        }
    }

    async fn save(&self, zip: Spool, small: SmallFiles) -> Result<(), Error> {
        let SmallFiles { info, go_mod, early } = small;
        let Job { ports, context, module, .. } = &self.job;
        let (module, version) = (module.clone(), self.version.clone());
        let new =
            NewVersion { module: module.clone(), version: version.clone(), info, go_mod, zip };
        let saves = &ports.telemetry.metrics.saves;
        let mut context = context.clone();
        context.deadline = Instant::now() + SAVE_PATIENCE;
        let result = ports.storage.save(&context, new).await;
        saves.get((saved(&result),)).inc();
        let result = result?;
        // What is still on its way there would stay.
        for kept in early {
            kept.wait().await;
        }
        self.drop_early(&context).await;
        match result {
            SaveResult::Created | SaveResult::Taken => {
                self.note_stored();
                self.enter_in_index().await;
                Ok(())
            }
            SaveResult::Existed { same: true } => Ok(()),
            SaveResult::Existed { same: false } => {
                tracing::warn!(%module, %version, "stored before with other bytes: the first stay");
                Ok(())
            }
        }
    }
}

impl Ingest {
    /// Once the version is whole nobody reads its early files. One that stays costs a few bytes.
    async fn drop_early(&self, context: &RequestContext) {
        let Job { ports, module, .. } = &self.job;
        if let Err(error) = ports.storage.remove_early(context, module, &self.version).await {
            tracing::warn!(%module, version = %self.version, %error, "early files are not removed");
        }
    }

    /// Where it came from is stored nowhere: for a while it is known here.
    fn note_stored(&self) {
        let Job { ports, module, context, .. } = &self.job;
        ports.telemetry.events.note(Event {
            at: SystemTime::now(),
            what: events::STORED,
            module: module.shared(),
            version: Some(self.version.shared()),
            outcome: Outcome::Ok,
            error: None,
            upstream: Some(Arc::clone(&self.upstream)),
            duration: self.began.elapsed(),
            trace: context.trace.id(),
            request_id: Arc::clone(&context.id),
        });
    }

    /// A version that is stored is served, whatever the index says of it.
    async fn enter_in_index(&self) {
        let Self { job: Job { ports, module, context, .. }, version, .. } = self;
        let added = timeout(INDEX_PATIENCE, ports.index.add(module, version)).await;
        let error = match added {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.message().to_owned(),
            Err(_) => format!("no answer within {} s", INDEX_PATIENCE.as_secs()),
        };
        tracing::error!(request_id = %context.id, %module, %version, error,
            "stored, but not in the index");
    }
}

fn saved(result: &Result<SaveResult, Error>) -> Saved {
    match result {
        Ok(SaveResult::Created | SaveResult::Taken) => Saved::Created,
        Ok(SaveResult::Existed { same: true }) => Saved::Existed,
        Ok(SaveResult::Existed { same: false }) => Saved::Differed,
        Err(_) => Saved::Failed,
    }
}

fn crashed() -> Error {
    Error::new(ErrorKind::Internal, "the check of a zip ended without a result")
}
