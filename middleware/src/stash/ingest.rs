//! A zip on its way in: received, checked, released, saved.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dipylon_protocol::query::VersionQuery;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use dipylon_protocol::zip::{ZipCheck, ZipSummary};
use futures::StreamExt as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::checks;
use super::service::{Job, wrong_payload};
use crate::error::{Error, ErrorKind};
use crate::ports::{Expected, NewVersion, Payload, SaveResult, ZipBody};
use crate::request::FetchAsk;
use crate::spool::{Spool, SpoolWriter};
use crate::telemetry::Saved;

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

/// One zip on its way in.
pub(super) struct Ingest {
    job: Job,
    version: Version,
    known: Known,
    upstream: Arc<str>,
}

impl Ingest {
    pub(super) fn new(job: Job, version: Version, known: Known, upstream: Arc<str>) -> Self {
        Self { job, version, known, upstream }
    }

    /// Everything after the upstream's first byte. Nobody waits for the result: waiters have the
    /// spool, and what concerns the operator is logged and counted here, once.
    pub(super) async fn run(self, body: ZipBody, writer: SpoolWriter) {
        let spool = writer.spool().clone();
        let (zip, small) = tokio::join!(self.receive_and_verify(body, writer), self.small_files());
        let saved = match (zip, small) {
            (Ok(summary), Ok((info, go_mod))) => self.save(spool, summary, info, go_mod).await,
            (Err(error), _) | (_, Err(error)) => Err(error),
        };
        if let Err(error) = saved {
            let Job { context, module, .. } = &self.job;
            tracing::error!(request_id = %context.id, %module, version = %self.version, %error,
                outcome = %error.outcome(), "not stored");
        }
    }

    async fn receive_and_verify(
        &self,
        body: ZipBody,
        writer: SpoolWriter,
    ) -> Result<ZipSummary, Error> {
        let expected = self.job.expected(&self.version);
        let ((writer, received), expected) =
            tokio::join!(self.receive(body, writer), expected);
        let verified = match received {
            Ok(summary) => self.verify(&summary, expected).map(|()| summary),
            Err(error) => Err(error),
        };
        match verified {
            Ok(summary) => {
                writer.finish();
                Ok(summary)
            }
            Err(error) => {
                writer.fail(error.clone());
                self.quarantine(&error).await;
                Err(error)
            }
        }
    }

    /// Receives the body; if it breaks off, once more from the start.
    async fn receive(
        &self,
        body: ZipBody,
        writer: SpoolWriter,
    ) -> (SpoolWriter, Result<ZipSummary, Error>) {
        let check = ZipCheck::new(&self.job.module, &self.version);
        let (pieces, receiver) = mpsc::channel(CHUNKS_WAITING_MAX);
        let checker = tokio::task::spawn_blocking(move || Checker::new(writer, check).run(receiver));
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
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
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

    fn verify(&self, summary: &ZipSummary, expected: Result<Expected, Error>) -> Result<(), Error> {
        let Job { module, ports, .. } = &self.job;
        let compared = match &expected {
            Ok(expected) => {
                checks::zip_hash(module, &self.version, &summary.h1, expected, &self.upstream)
            }
            Err(error) => Err(error.clone()),
        };
        checks::count(&ports.telemetry.metrics, &expected, &compared);
        compared
    }

    async fn quarantine(&self, error: &Error) {
        if error.kind() != ErrorKind::ChecksumMismatch {
            return;
        }
        let Job { context, module, ports } = &self.job;
        let reason = error.message();
        tracing::error!(request_id = %context.id, %module, version = %self.version, reason,
            "SECURITY: wrong checksum: in quarantine");
        let written =
            ports.storage.write_quarantine(context, module, &self.version, reason).await;
        if let Err(error) = written {
            tracing::error!(%module, version = %self.version, %error, "quarantine not recorded");
        }
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
        let early = job.ports.storage.read_early(&job.context, &job.module, version, kind).await?;
        if let Some(bytes) = early {
            return Ok(bytes);
        }
        let asked = VersionQuery::Version(version.clone());
        match kind {
            FileKind::Mod => {
                let ask = FetchAsk::Mod(version.clone());
                let (fetched, expected) = job.fetch_beside_expected(ask).await?;
                let bytes = match fetched.payload {
                    Payload::Bytes(bytes) | Payload::Version { go_mod: bytes, .. } => bytes,
                    Payload::Zip(_) => return Err(wrong_payload()),
                };
                job.check_go_mod(version, &bytes, expected, &fetched.upstream)?;
                Ok(bytes)
            }
            _ => {
                let fetched = job.fetch(FetchAsk::Info(asked.clone())).await?;
                let bytes = match fetched.payload {
                    Payload::Bytes(bytes) | Payload::Version { info: bytes, .. } => bytes,
                    Payload::Zip(_) => return Err(wrong_payload()),
                };
                checks::info(&job.module, &asked, &bytes, &fetched.upstream)?;
                Ok(bytes)
            }
        }
    }

    async fn save(
        &self,
        zip: Spool,
        summary: ZipSummary,
        info: Bytes,
        go_mod: Bytes,
    ) -> Result<(), Error> {
        let Job { ports, context, module } = &self.job;
        if let Some(inside) = &summary.go_mod
            && inside[..] != go_mod[..]
        {
            let text = format!(
                "{} sent a .mod for {module}@{} that is not the go.mod of its zip",
                self.upstream, self.version
            );
            return Err(Error::new(ErrorKind::BadContent, text));
        }
        let (module, version) = (module.clone(), self.version.clone());
        let new = NewVersion { module: module.clone(), version: version.clone(), info, go_mod, zip };
        let saves = &ports.telemetry.metrics.saves;
        let mut context = context.clone();
        context.deadline = Instant::now() + SAVE_PATIENCE;
        let result = ports.storage.save(&context, new).await;
        saves.get((saved(&result),)).inc();
        match result? {
            SaveResult::Created => {
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
    /// A version that is stored is served, whatever the index says of it.
    async fn enter_in_index(&self) {
        let Self { job: Job { ports, module, context }, version, .. } = self;
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
        Ok(SaveResult::Created) => Saved::Created,
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
