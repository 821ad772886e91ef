//! A stored file of known length that can be read from any offset, more than once.

use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures::stream::BoxStream;

use crate::error::Error;
use crate::ports::BoxFuture;

/// Chunks of a body; an error ends it.
pub type ByteStream = BoxStream<'static, Result<Bytes, Error>>;

/// Opens a part of a stored object, for backends reached over a network.
pub trait OpenRange: Send + Sync + 'static {
    /// Streams `range`; its end never lies beyond the object's length.
    fn open(&self, range: Range<u64>) -> ByteStream;

    /// Where a client may fetch the whole object itself for a short while, if the backend is set up to
    /// send clients there for an object of this length. Asked only for a client that will be sent.
    fn presigned(&self) -> BoxFuture<'_, Option<PresignedUrl>> {
        Box::pin(std::future::ready(None))
    }
}

/// A URL that lets whoever has it read one object: a secret, which goes to the one client that asked and
/// into no log, trace, metric or error.
#[derive(Clone)]
pub struct PresignedUrl(String);

impl PresignedUrl {
    /// Of this URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The URL itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PresignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PresignedUrl(***)")
    }
}

/// Where a blob's bytes are.
#[derive(Clone)]
pub enum BlobSource {
    /// In memory.
    Bytes(Bytes),
    /// In an open file, which stays readable even when its name is removed.
    File(Arc<File>),
    /// Behind a network.
    Remote(Arc<dyn OpenRange>),
}

/// A stored file.
#[derive(Clone)]
pub struct Blob {
    length: u64,
    source: BlobSource,
    tier: Option<StoreTier>,
    stored_at: Option<SystemTime>,
}

/// Which of two stores, one before the other, has a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreTier {
    /// The one that is near.
    Near,
    /// The one behind it.
    Far,
}

impl Blob {
    /// A blob in memory.
    pub fn from_bytes(bytes: Bytes) -> Self {
        Self::new(bytes.len() as u64, BlobSource::Bytes(bytes))
    }

    /// A blob in an open file of `length` bytes.
    pub fn from_file(file: File, length: u64) -> Self {
        Self::new(length, BlobSource::File(Arc::new(file)))
    }

    /// A blob behind a network.
    pub fn remote(source: Arc<dyn OpenRange>, length: u64) -> Self {
        Self::new(length, BlobSource::Remote(source))
    }

    fn new(length: u64, source: BlobSource) -> Self {
        Self { length, source, tier: None, stored_at: None }
    }

    /// The same file, which the store says it has had since then, if it says so.
    #[must_use]
    pub fn since(self, stored_at: Option<SystemTime>) -> Self {
        Self { stored_at, ..self }
    }

    /// Since when the store has it; nothing where the store does not say.
    pub fn stored_at(&self) -> Option<SystemTime> {
        self.stored_at
    }

    /// The same file, as one of two stores has it.
    #[must_use]
    pub fn of_tier(self, tier: StoreTier) -> Self {
        Self { tier: Some(tier), ..self }
    }

    /// Which of two stores has it; nothing where there is but one.
    pub fn tier(&self) -> Option<StoreTier> {
        self.tier
    }

    /// Its length in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Where its bytes are.
    pub fn source(&self) -> &BlobSource {
        &self.source
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match self.source {
            BlobSource::Bytes(_) => "memory",
            BlobSource::File(_) => "file",
            BlobSource::Remote(_) => "remote",
        };
        write!(f, "Blob({} bytes in {source})", self.length)
    }
}
