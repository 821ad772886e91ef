//! `[Dipylon.Tiered]`: a bounded directory on a local disk in front of any store.
//!
//! A version never changes, so a file that was read once from the far store is kept near and served from
//! there, without asking the far store, until others need its room. The far store stays the store: it
//! decides which save is the first, and list, catalogue and the files under `.dipylon/` are its alone.
//!
//! A copy is made on the side and counts once it is whole and of the right length; a reader never waits for
//! the near disk for longer than [`NEAR_PATIENCE`], and never for a write. Whatever goes wrong on that disk
//! costs hits, never an answer, not even one that has begun: the far store serves the rest, and serves
//! alone until [`NEAR_REST`] is over.
//!
//! Copies are of one store. Those of another, which the configuration named before, are dropped.
//!
//! While the far store fails, what is near is still served. `/readyz` says so, `dipylon_tier_far_failing` is 1.
//! The storage stack, its breaker with it, stands around the far store alone ([`Far`]).

mod directory;
mod far;
mod fill;
mod near;
mod reading;
mod shelf;
#[cfg(test)]
mod tests;
mod watched;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use dipylon_middleware::blob::{Blob, BlobSource, ByteStream, OpenRange, PresignedUrl, StoreTier};
use dipylon_middleware::body;
use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_middleware::ports::{BoxFuture, CatalogPage, NewVersion, SaveResult, Storage};
use dipylon_middleware::telemetry::Telemetry;
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use futures::StreamExt as _;
use http_body_util::BodyExt as _;

pub use far::{DETACHED_PATIENCE, Far};
pub use fill::{FILL_MAX, MAX_BEHIND_BYTES};
pub use near::{
    MAX_FILLING_BYTES, MAX_NEAR_FILES, MAX_NEAR_PARTS, MAX_NEAR_READS, MAX_NEAR_WRITES,
    NEAR_PATIENCE, NEAR_REST,
};

use near::{Near, key};
use reading::{NearZip, Rest};
use shelf::{Copied, Key};
use watched::Watched;

use crate::config::TieredKeys;

/// What a copy of a file or of a spool holds in memory while it is made.
const COPYING_BYTES: usize = 512 * 1024;

/// A store behind a near tier.
pub struct Tiered {
    far: Arc<Watched>,
    near: Arc<Near>,
}

/// Puts the near tier in front of `far`, where a directory for it is configured. `whose` names the store
/// among all stores ([`super::identity`]): copies of another are dropped.
///
/// # Errors
/// `Storage` when the directory cannot be used, or another process uses it.
pub async fn over(
    far: Arc<dyn Storage>,
    whose: &str,
    keys: &TieredKeys,
    telemetry: &Telemetry,
) -> Result<Arc<dyn Storage>, Error> {
    if keys.directory.is_none() {
        return Ok(far);
    }
    Ok(open(far, whose, keys, telemetry).await?)
}

/// As [`over`], where the configuration names a directory.
///
/// # Errors
/// Those of [`over`].
pub async fn open(
    far: Arc<dyn Storage>,
    whose: &str,
    keys: &TieredKeys,
    telemetry: &Telemetry,
) -> Result<Arc<Tiered>, Error> {
    let (keys, whose, shared) = (keys.clone(), whose.to_owned(), telemetry.clone());
    let opened = tokio::task::spawn_blocking(move || Near::open(&keys, &whose, &shared)).await;
    let near = opened.map_err(|error| {
        Error::new(ErrorKind::Internal, format!("opening the near tier was cut off: {error}"))
    })??;
    Ok(Arc::new(Tiered { far: Arc::new(Watched::new(far, telemetry)), near: Arc::new(near) }))
}

/// How it stands with a near tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Copies.
    pub files: usize,
    /// What they take of the disk, those on their way in included.
    pub bytes: u64,
    /// What they may take.
    pub bytes_max: u64,
    /// Whether its disk takes no copies for a while.
    pub is_not_filled: bool,
    /// Whether its disk is not read for a while either.
    pub is_not_read: bool,
    /// Whether the store behind it fails.
    pub is_far_failing: bool,
}

impl Tiered {
    /// How it stands.
    pub fn standing(&self) -> Standing {
        Standing { is_far_failing: self.far.is_failing(), ..self.near.standing() }
    }

    /// A copy, whose zip goes on from the far store where the disk does not.
    fn found(&self, key: Key, module: &ModulePath, version: &Version, copy: Blob) -> Blob {
        let length = copy.length();
        let BlobSource::File(file) = copy.source() else { return copy };
        let (module, version) = (module.clone(), version.clone());
        let zip = NearZip {
            near: Arc::clone(&self.near),
            file: Arc::clone(file) as _,
            copy: Copied { key, length },
            rest: Rest { far: Arc::clone(&self.far), module, version },
        };
        Blob::remote(Arc::new(zip), length)
    }

    /// What the far store gave, with a copy made on the side.
    fn kept(&self, key: Key, blob: Blob) -> Blob {
        let (length, stored_at) = (blob.length(), blob.stored_at());
        match blob.source() {
            BlobSource::Remote(far) => {
                let far = Arc::clone(far);
                let passing = Passing { near: Arc::clone(&self.near), key, far, length };
                Blob::remote(Arc::new(passing), length).since(stored_at)
            }
            BlobSource::Bytes(bytes) => {
                self.keep(key, length, bytes.len(), || whole(&blob));
                blob
            }
            BlobSource::File(_) => {
                self.keep(key, length, COPYING_BYTES, || whole(&blob));
                blob
            }
        }
    }

    fn keep(&self, key: Key, length: u64, held: usize, stream: impl FnOnce() -> ByteStream) {
        if let Some(fill) = self.near.begin(key, length, held) {
            fill.spawn(stream());
        }
    }

    /// Keeps what was just saved: it is asked for next.
    fn keep_saved(&self, version: &NewVersion) {
        let key = |kind| key(&version.module, &version.version, kind);
        for (kind, bytes) in [(FileKind::Info, &version.info), (FileKind::Mod, &version.go_mod)] {
            let blob = Blob::from_bytes(bytes.clone());
            self.keep(key(kind), blob.length(), bytes.len(), || whole(&blob));
        }
        // By a descriptor of its own: the spool goes with its last handle.
        match version.zip.file().try_clone() {
            Ok(file) => {
                let blob = Blob::from_file(file, version.zip.written());
                self.keep(key(FileKind::Zip), blob.length(), COPYING_BYTES, || whole(&blob));
            }
            Err(error) => tracing::warn!(%error, "a saved zip is not kept near"),
        }
    }
}

fn whole(blob: &Blob) -> ByteStream {
    part(blob, 0..blob.length())
}

fn part(blob: &Blob, range: Range<u64>) -> ByteStream {
    body::blob(blob, range).into_data_stream().boxed()
}

/// A far file whose whole reading leaves a copy near.
struct Passing {
    near: Arc<Near>,
    key: Key,
    far: Arc<dyn OpenRange>,
    length: u64,
}

impl OpenRange for Passing {
    fn open(&self, range: Range<u64>) -> ByteStream {
        let is_whole = range == (0..self.length);
        let stream = self.far.open(range);
        let fill = is_whole.then(|| self.near.begin(self.key, self.length, MAX_BEHIND_BYTES));
        match fill.flatten() {
            Some(fill) => fill.beside(stream, Arc::clone(&self.far)),
            None => stream,
        }
    }

    fn presigned(&self) -> BoxFuture<'_, Option<PresignedUrl>> {
        self.far.presigned()
    }
}

impl std::fmt::Debug for Tiered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tiered({})", self.far.store.kind())
    }
}

impl Storage for Tiered {
    fn kind(&self) -> &'static str {
        self.far.store.kind()
    }

    fn list<'a>(&'a self, module: &'a ModulePath) -> BoxFuture<'a, Result<Vec<Version>, Error>> {
        Box::pin(async move { self.far.seen(self.far.store.list(module).await) })
    }

    fn read<'a>(
        &'a self,
        module: &'a ModulePath,
        version: &'a Version,
        kind: FileKind,
    ) -> BoxFuture<'a, Result<Option<Blob>, Error>> {
        Box::pin(async move {
            let key = key(module, version, kind);
            if let Some(copy) = self.near.find(key, kind).await {
                return Ok(Some(self.found(key, module, version, copy).of_tier(StoreTier::Near)));
            }
            let found = self.far.seen(self.far.store.read(module, version, kind).await)?;
            Ok(found.map(|blob| self.kept(key, blob).of_tier(StoreTier::Far)))
        })
    }

    fn save(&self, version: NewVersion) -> BoxFuture<'_, Result<SaveResult, Error>> {
        Box::pin(async move {
            let saved = self.far.seen(self.far.store.save(version.clone()).await)?;
            // Of a version that was there already, the far store may have other bytes.
            if saved == SaveResult::Created {
                self.keep_saved(&version);
            }
            Ok(saved)
        })
    }

    fn catalog<'a>(
        &'a self,
        token: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<CatalogPage, Error>> {
        Box::pin(async move { self.far.seen(self.far.store.catalog(token, limit).await) })
    }

    fn read_extra<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, Error>> {
        Box::pin(async move { self.far.seen(self.far.store.read_extra(key).await) })
    }

    fn write_extra<'a>(&'a self, key: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move { self.far.seen(self.far.store.write_extra(key, bytes).await) })
    }

    fn remove_extra<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move { self.far.seen(self.far.store.remove_extra(key).await) })
    }

    fn check(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            self.far.seen(self.far.store.check().await).map_err(|error| {
                let near = "what the near tier has is still served";
                Error::new(error.kind(), format!("{}; {near}", error.message()))
            })
        })
    }

    fn wants_retries(&self) -> bool {
        self.far.store.wants_retries()
    }

    fn staging_directory(&self) -> Option<PathBuf> {
        self.far.store.staging_directory()
    }
}
