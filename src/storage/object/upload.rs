//! How a zip reaches the store: in one piece where it is small, else in parts, and never whole in memory.
//!
//! A zip appears under its name only whole, and only where there was none.

use std::sync::Arc;

use bytes::Bytes;
use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_middleware::ports::BoxFuture;
use dipylon_middleware::spool::Spool;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{MultipartId, PutPayload};
use tokio::sync::Semaphore;

use super::claim::Claim;
use super::client::Client;
use super::failure;

/// Bytes of a part, and of the largest zip that is sent in one piece. S3 allows 10,000 parts of at
/// least 5 MiB.
pub const PART_BYTES: u64 = 8 << 20;
/// Parts of one zip on their way at once.
const PARTS_AT_ONCE: usize = 2;
/// Parts of all zips held in memory at once: 32 MiB.
pub const MAX_PARTS_HELD: usize = 4;
/// Bytes read from a spool at a time.
const READ_BYTES: u64 = 256 * 1024;

/// How a zip that comes in parts gets its name only where that is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::storage) enum LargeCommit {
    /// The end of the upload has a condition.
    #[cfg_attr(
        not(any(feature = "minio", feature = "s3")),
        expect(dead_code, reason = "no store of this build is of this kind")
    )]
    ConditionalEnd,
    /// The beginning of the upload has a condition. Parts go one after the other.
    #[cfg_attr(
        not(feature = "gcp"),
        expect(dead_code, reason = "no store of this build is of this kind")
    )]
    ConditionalBeginning,
    /// The name is looked at right before the upload ends, under the claim.
    #[cfg_attr(
        not(feature = "azureblob"),
        expect(dead_code, reason = "no store of this build is of this kind")
    )]
    CheckedEnd,
}

impl LargeCommit {
    fn parts_at_once(self) -> usize {
        match self {
            Self::ConditionalBeginning => 1,
            Self::ConditionalEnd | Self::CheckedEnd => PARTS_AT_ONCE,
        }
    }
}

/// Sends zips.
#[derive(Clone, Debug)]
pub(super) struct Uploads {
    client: Client,
    commit: LargeCommit,
    parts: Arc<Semaphore>,
}

impl Uploads {
    pub(super) fn new(client: &Client, commit: LargeCommit) -> Self {
        Self { client: client.clone(), commit, parts: Arc::new(Semaphore::new(MAX_PARTS_HELD)) }
    }

    /// Sends the finished `zip` while `claim` is held. `false` where there is an object of that name
    /// already.
    ///
    /// # Errors
    /// `Storage` when the store refuses, the claim is lost, or the spool cannot be read.
    pub(super) async fn send(&self, key: &str, claim: &Claim, zip: &Spool) -> Result<bool, Error> {
        let length = zip.written();
        if length <= PART_BYTES {
            let _room = self.room().await?;
            let payload = read_part(zip, 0, length).await?;
            return Ok(self.client.create(key, payload).await?.is_some());
        }
        self.in_parts(key, claim, zip, length).await
    }

    async fn in_parts(
        &self,
        key: &str,
        claim: &Claim,
        zip: &Spool,
        length: u64,
    ) -> Result<bool, Error> {
        let path = self.client.path(key)?;
        let id = match self.client.store.create_multipart(&path).await {
            Ok(id) => id,
            Err(object_store::Error::Precondition { .. }) => return Ok(false),
            Err(error) => return Err(self.client.failed("write", key, &error)),
        };
        let upload = Upload { client: self.client.clone(), path, id: Some(id) };
        let parts = self.send_parts(&upload, key, zip, length).await?;
        claim.still_held().await?;
        if self.commit == LargeCommit::CheckedEnd && self.client.head(key).await?.is_some() {
            return Ok(false);
        }
        self.end(upload, key, parts, length).await
    }

    async fn send_parts(
        &self,
        upload: &Upload,
        key: &str,
        zip: &Spool,
        length: u64,
    ) -> Result<Vec<PartId>, Error> {
        let numbers = 0..length.div_ceil(PART_BYTES);
        let parts = numbers.map(|number| self.send_part(upload, key, zip, number));
        futures::stream::iter(parts).buffered(self.commit.parts_at_once()).try_collect().await
    }

    fn send_part<'a>(
        &'a self,
        upload: &'a Upload,
        key: &'a str,
        zip: &'a Spool,
        number: u64,
    ) -> BoxFuture<'a, Result<PartId, Error>> {
        Box::pin(async move {
            let _room = self.room().await?;
            let start = number * PART_BYTES;
            let payload = read_part(zip, start, PART_BYTES.min(zip.written() - start)).await?;
            let number = usize::try_from(number).unwrap_or(usize::MAX);
            let sent = upload.send(number, payload).await;
            sent.map_err(|error| self.client.failed("write", key, &error))
        })
    }

    async fn end(
        &self,
        mut upload: Upload,
        key: &str,
        parts: Vec<PartId>,
        length: u64,
    ) -> Result<bool, Error> {
        use object_store::Error as StoreError;
        let known = self.client.conditions.are_known();
        match upload.complete(parts.clone()).await {
            Ok(()) => Ok(true),
            // An end that was sent twice finds its upload gone; then the zip is there, and ours: the
            // claim lets nobody else write it.
            Err(StoreError::NotFound { .. }) if self.has(key, length).await? => {
                upload.id = None;
                Ok(true)
            }
            Err(StoreError::Precondition { .. } | StoreError::AlreadyExists { .. }) => Ok(false),
            Err(error) if known && failure::is_not_implemented(&error) => {
                self.client.warn_of_missing_conditions();
                let ended = upload.complete(parts).await;
                ended.map(|()| true).map_err(|error| self.client.failed("write", key, &error))
            }
            Err(error) => Err(self.client.failed("write", key, &error)),
        }
    }

    async fn has(&self, key: &str, length: u64) -> Result<bool, Error> {
        Ok(self.client.head(key).await?.is_some_and(|meta| meta.size == length))
    }

    async fn room(&self) -> Result<tokio::sync::SemaphorePermit<'_>, Error> {
        let closed = |_| Error::new(ErrorKind::Internal, "the room for parts of zips was closed");
        self.parts.acquire().await.map_err(closed)
    }
}

/// An upload in parts. Dropped before its end, it is given up, because the store would keep its parts.
struct Upload {
    client: Client,
    path: Path,
    id: Option<MultipartId>,
}

impl Upload {
    async fn send(&self, number: usize, payload: PutPayload) -> object_store::Result<PartId> {
        let id = self.id.clone().unwrap_or_default();
        self.client.store.put_part(&self.path, &id, number, payload).await
    }

    async fn complete(&mut self, parts: Vec<PartId>) -> object_store::Result<()> {
        let id = self.id.clone().unwrap_or_default();
        self.client.store.complete_multipart(&self.path, &id, parts).await?;
        self.id = None;
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let (Some(id), Ok(runtime)) = (self.id.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let (client, path) = (self.client.clone(), std::mem::take(&mut self.path));
        runtime.spawn(async move {
            match client.store.abort_multipart(&path, &id).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => {
                    let error = client.failed("give up the upload of", path.as_ref(), &error);
                    tracing::warn!(%error, "parts of an upload stay in the store");
                }
            }
        });
    }
}

/// Reads a part of a finished spool on a blocking thread.
async fn read_part(zip: &Spool, start: u64, length: u64) -> Result<PutPayload, Error> {
    let zip = zip.clone();
    let read = tokio::task::spawn_blocking(move || {
        let mut pieces: Vec<Bytes> = Vec::new();
        let mut at = start;
        while at < start + length {
            let bytes = READ_BYTES.min(start + length - at);
            pieces.push(zip.read_at(at, usize::try_from(bytes).unwrap_or(usize::MAX))?);
            at += bytes;
        }
        Ok(PutPayload::from_iter(pieces))
    });
    read.await.unwrap_or_else(|error| {
        Err(Error::new(ErrorKind::Internal, format!("reading a spool was cut off: {error}")))
    })
}
