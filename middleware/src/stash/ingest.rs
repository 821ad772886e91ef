//! A zip on its way in: received, checked, released, saved.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use dipylon_protocol::zip::{ZipCheck, ZipSummary};
use futures::StreamExt as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::checks;
use super::service::{Job, wrong_payload};
use super::small::{For, Small};
use crate::error::{Error, ErrorKind};
use crate::events::{self, Event};
use crate::ports::{Expected, Fetched, NewVersion, Payload, SaveResult, ZipBody};
use crate::request::{FetchAsk, RequestContext};
use crate::response::Finished;
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

/// A zip that everybody may have, with its small files where they could be had.
struct Verified {
    small: Option<(Bytes, Bytes)>,
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
    pub(super) async fn run(self, body: ZipBody, writer: SpoolWriter) -> Result<(), Error> {
        let spool = writer.spool().clone();
        let saved = match self.receive_and_verify(body, writer).await {
            Ok(Verified { small: Some((info, go_mod)) }) => self.save(spool, info, go_mod).await,
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
    ) -> Result<Verified, Error> {
        let spool = writer.spool().clone();
        let received = async { Ok(self.receive(body, writer).await) };
        // A database that refuses ends the download at once.
        let result =
            tokio::try_join!(received, self.judged(&spool), async { Ok(self.small_files().await) });
        let refused = match result {
            Ok(((writer, received), expected, small)) => {
                match received.and_then(|summary| self.agree(&summary, &expected, &small)) {
                    Ok(()) => {
                        writer.finish();
                        return Ok(Verified { small: self.noted(small) });
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
        summary: &ZipSummary,
        expected: &Expected,
        small: &Result<(Bytes, Bytes), Error>,
    ) -> Result<(), Error> {
        let Self { job: Job { module, ports, .. }, version, upstream, .. } = self;
        let compared = checks::zip_hash(module, version, &summary.h1, expected, upstream);
        checks::count(&ports.telemetry.metrics, &Ok(expected.clone()), &compared);
        compared?;
        match (small, &summary.go_mod) {
            (Ok((_, go_mod)), Some(inside)) if inside[..] != go_mod[..] => {
                let text = format!(
                    "{upstream} sent a .mod for {module}@{version} that is not the go.mod of its zip"
                );
                Err(Error::new(ErrorKind::BadContent, text))
            }
            _ => Ok(()),
        }
    }

    /// Without its small files a version is served and not stored.
    fn noted(&self, small: Result<(Bytes, Bytes), Error>) -> Option<(Bytes, Bytes)> {
        small.inspect_err(|error| self.not_stored(error)).ok()
    }

    /// Receives the body; if it breaks off, once more from the start.
    async fn receive(
        &self,
        body: ZipBody,
        writer: SpoolWriter,
    ) -> (SpoolWriter, Result<ZipSummary, Error>) {
        let check = ZipCheck::new(&self.job.module, &self.version);
        let (pieces, receiver) = mpsc::channel(CHUNKS_WAITING_MAX);
        let checker =
            tokio::task::spawn_blocking(move || Checker::new(writer, check).run(receiver));
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
                    (Ok(()), Ok(Some(summary))) => Ok(summary),
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
    async fn small_files(&self) -> Result<(Bytes, Bytes), Error> {
        tokio::try_join!(
            self.small_file(FileKind::Info, self.known.info.clone()),
            self.small_file(FileKind::Mod, self.known.go_mod.clone()),
        )
    }

    async fn small_file(&self, kind: FileKind, known: Option<Bytes>) -> Result<Bytes, Error> {
        if let Some(bytes) = known {
            return Ok(bytes);
        }
        let Self { job, version, .. } = self;
        // What storage cannot be asked for is fetched: it may be back when the zip is there.
        let early = job.ports.storage.read_early(&job.context, &job.module, version, kind).await;
        if let Ok(Some(bytes)) = early {
            return Ok(bytes);
        }
        match job.small(version, kind, For::Zip(self.finished.clone())).await? {
            Small::File(file) => Ok(file.bytes),
            Small::Whole(Fetched {
                payload: Payload::Version { info, go_mod, .. },
                upstream,
                ..
            }) => {
                if kind == FileKind::Info {
                    return Ok(info);
                }
                let expected = job.expected(version).await;
                job.check_go_mod(version, &go_mod, &expected, &upstream).await?;
                Ok(go_mod)
            }
            Small::Whole(_) => Err(wrong_payload()),
        }
    }

    async fn save(&self, zip: Spool, info: Bytes, go_mod: Bytes) -> Result<(), Error> {
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

/// What the network hands to the checking thread.
enum Piece {
    /// The next bytes.
    Data(Bytes),
    /// The body begins again.
    Restart,
    /// The body is whole.
    End,
}

enum Refusal {
    Zip(dipylon_protocol::zip::ZipError),
    Other(Error),
}

/// What the checking thread leaves behind.
struct Checked {
    writer: SpoolWriter,
    /// The summary, or nothing where the body broke off.
    result: Result<Option<ZipSummary>, Refusal>,
}

/// Hashes, inflates and writes on a blocking thread, so that the network threads never do.
struct Checker {
    writer: SpoolWriter,
    check: ZipCheck,
    position: u64,
}

impl Checker {
    fn new(writer: SpoolWriter, check: ZipCheck) -> Self {
        Self { writer, check, position: 0 }
    }

    fn run(mut self, mut pieces: mpsc::Receiver<Piece>) -> Checked {
        while let Some(piece) = pieces.blocking_recv() {
            let taken = match piece {
                Piece::Data(bytes) => self.take(&bytes),
                Piece::Restart => {
                    self.position = 0;
                    Ok(())
                }
                Piece::End => {
                    let Self { writer, check, .. } = self;
                    let result = check.finish().map(Some).map_err(Refusal::Zip);
                    return Checked { writer, result };
                }
            };
            if let Err(refusal) = taken {
                return Checked { writer: self.writer, result: Err(refusal) };
            }
        }
        Checked { writer: self.writer, result: Ok(None) }
    }

    /// Takes the next bytes of the body. After a restart they must repeat what is written, because
    /// readers may have it already.
    fn take(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let written = self.writer.written();
        let repeated = usize::try_from(written - self.position.min(written)).unwrap_or(usize::MAX);
        let (old, new) = bytes.split_at(repeated.min(bytes.len()));
        if !old.is_empty() {
            let before =
                self.writer.spool().read_at(self.position, old.len()).map_err(Refusal::Other)?;
            if before != old {
                let text = "a zip broke off, and asked again upstream sent other bytes";
                return Err(Refusal::Other(Error::new(ErrorKind::BadContent, text)));
            }
        }
        if !new.is_empty() {
            self.check.push(new).map_err(Refusal::Zip)?;
            self.writer.write(new).map_err(Refusal::Other)?;
        }
        self.position += bytes.len() as u64;
        Ok(())
    }
}
