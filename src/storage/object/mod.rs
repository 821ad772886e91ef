//! The engine behind minio, s3, gcp and azureblob: versions as three objects of a bucket.
//!
//! ```text
//! <prefix>/<names of the layout>          see layout.rs
//! <prefix>/.dipylon/saving/<module>@<version>   held while that version is saved
//!                  /<key>                       extras
//! ```
//!
//! An object appears whole or not at all, but a version is three of them. So `.info` is written last and
//! read first; a version is believed when all three are there; and one saver at a time, the holder of a
//! claim, writes a version (see `claim.rs`). Every write is create-if-absent.
//!
//! Every answer of a store but "no such object" is an error naming the backend, the operation, the object
//! and the cause, never a miss; a missing bucket is an error too.

use std::sync::Arc;

use bytes::Bytes;
use dipylon_middleware::blob::Blob;
use dipylon_middleware::error::Error;
use dipylon_middleware::ports::{BoxFuture, CatalogPage, NewVersion, SaveResult, Storage};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;

use super::saves::{Saves, detached};
use super::whole::MAX_REMEMBERED_VERSIONS;

mod access;
mod assemble;
mod claim;
mod client;
mod extra;
mod failure;
mod http;
mod layout;
mod list;
mod options;
mod presign;
mod read;
mod save;
#[cfg(test)]
mod tests;
mod upload;

pub(super) use access::Keyring;
#[cfg(any(feature = "minio", feature = "s3"))]
pub(super) use access::SigV4;
#[cfg(any(feature = "gcp", feature = "azureblob"))]
pub(super) use access::Sign;
#[cfg(feature = "gcp")]
pub(super) use access::bearer;
pub use access::{Access, Dialect};
pub(crate) use access::{Answer, Signed, Unanswered};
pub use assemble::MAX_OPEN_VERSIONS;
pub use claim::{CLAIM_LEASE, CLAIM_WAIT_MAX};
pub(super) use client::Backend;
pub use http::{Connector, HEAD_TIMEOUT, IDLE_TIMEOUT};
pub use layout::Layout;
pub(super) use list::Resume;
#[cfg(feature = "gcp")]
pub(super) use options::{BACKOFF, BACKOFF_MAX, MAX_RETRIES, RETRY_TIMEOUT};
pub(super) use options::{ContentTypes, client_options, retries};
pub(super) use presign::Signing;
pub use presign::{Presigning, SIGN_REST, SIGN_TIMEOUT};
pub(super) use upload::LargeCommit;
pub use upload::{MAX_PARTS_HELD, PART_BYTES};

use client::Client;
use upload::Uploads;

/// What the kinds differ in.
pub(super) struct Kind {
    /// The `StorageType`.
    pub(super) name: &'static str,
    /// How objects are called.
    pub(super) layout: Layout,
    /// How a large zip gets its name.
    pub(super) large_commit: LargeCommit,
    /// Where a list can begin.
    pub(super) resume: Resume,
    /// Athens's catalogue tokens are the store's own.
    pub(super) foreign_tokens: bool,
}

/// Makes the bucket, where the kind does that.
pub(super) type MakeBucket =
    Box<dyn Fn() -> BoxFuture<'static, Result<(), Error>> + Send + Sync + 'static>;

/// Where a store lies.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The bucket, for messages.
    pub(super) bucket: String,
    /// The folder in it, without slashes at its ends; empty for none.
    pub(super) folder: String,
}

/// A store in a bucket.
#[derive(Clone)]
pub struct ObjectStorage {
    engine: Arc<Engine>,
}

/// What does the work.
struct Engine {
    client: Client,
    layout: Layout,
    resume: Resume,
    foreign_tokens: bool,
    uploads: Uploads,
    saves: Saves,
    remembered: quick_cache::sync::Cache<(ModulePath, Version), ()>,
    make_bucket: Option<MakeBucket>,
    signing: Option<Arc<Signing>>,
}

impl ObjectStorage {
    /// A store over a client; connects nowhere.
    pub(super) fn new(
        kind: &Kind,
        place: &Place,
        store: Arc<dyn Backend>,
        connector: &Connector,
        make_bucket: Option<MakeBucket>,
    ) -> Self {
        let (shown, prefix) = match place.folder.as_str() {
            "" => (place.bucket.clone(), String::new()),
            folder => (format!("{}/{folder}", place.bucket), format!("{folder}/")),
        };
        let client = Client {
            store,
            conditions: connector.conditions(),
            kind: kind.name,
            place: shown.into(),
            prefix: prefix.into(),
        };
        let engine = Engine {
            uploads: Uploads::new(&client, kind.large_commit),
            client,
            layout: kind.layout,
            resume: kind.resume,
            foreign_tokens: kind.foreign_tokens,
            saves: Saves::new(kind.name),
            remembered: quick_cache::sync::Cache::new(MAX_REMEMBERED_VERSIONS),
            make_bucket,
            signing: None,
        };
        Self { engine: Arc::new(engine) }
    }

    /// Sends clients to the store for large zips. For a store that nobody uses yet.
    pub(super) fn signing(mut self, signing: Option<Signing>) -> Self {
        if let Some(engine) = Arc::get_mut(&mut self.engine) {
            engine.signing = signing.map(Arc::new);
        }
        self
    }

    /// Looks at the bucket. A store that cannot be reached is no reason not to start: `/readyz` says so
    /// until it is back.
    ///
    /// # Errors
    /// `Storage` when the bucket is missing, or the credentials are refused.
    pub(super) async fn start(&self) -> Result<(), Error> {
        match self.engine.probe().await {
            Ok(()) => Ok(()),
            Err(Trouble::Unreachable(error)) => {
                tracing::warn!(%error, "the store cannot be reached yet: starting without it");
                Ok(())
            }
            Err(Trouble::Refused(error)) => Err(error),
        }
    }
}

/// What a look at the bucket may find.
enum Trouble {
    Unreachable(Error),
    Refused(Error),
}

impl Engine {
    fn kind(&self) -> &'static str {
        self.client.kind
    }

    /// Asks for the name of one object, and makes the bucket where it is missing and ours to make.
    async fn probe(&self) -> Result<(), Trouble> {
        let Err(error) = self.client.page("", None, None, 1).await else { return Ok(()) };
        let told = self.client.failed("list", "", &error);
        match &self.make_bucket {
            Some(make) if failure::is_place_missing(&error) => {
                make().await.map_err(Trouble::Refused)
            }
            _ if failure::is_unreachable(&error) => Err(Trouble::Unreachable(told)),
            _ => Err(Trouble::Refused(told)),
        }
    }
}

impl std::fmt::Debug for ObjectStorage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ObjectStorage({} in {})", self.engine.kind(), self.engine.client.place)
    }
}

impl Storage for ObjectStorage {
    fn kind(&self) -> &'static str {
        self.engine.kind()
    }

    fn list<'a>(&'a self, module: &'a ModulePath) -> BoxFuture<'a, Result<Vec<Version>, Error>> {
        Box::pin(self.engine.list(module))
    }

    fn read<'a>(
        &'a self,
        module: &'a ModulePath,
        version: &'a Version,
        kind: FileKind,
    ) -> BoxFuture<'a, Result<Option<Blob>, Error>> {
        Box::pin(self.engine.read(module, version, kind))
    }

    /// A caller that goes away does not stop a save: a claim would be left, and half a version.
    fn save(&self, version: NewVersion) -> BoxFuture<'_, Result<SaveResult, Error>> {
        Box::pin(async move {
            version.zip.complete().await?;
            let engine = Arc::clone(&self.engine);
            detached(async move { engine.save(&version).await }).await
        })
    }

    fn catalog<'a>(
        &'a self,
        token: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<CatalogPage, Error>> {
        Box::pin(self.engine.catalog(token, limit))
    }

    fn read_extra<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, Error>> {
        Box::pin(self.engine.read_extra(key))
    }

    fn write_extra<'a>(&'a self, key: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.engine.write_extra(key, bytes))
    }

    fn remove_extra<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.engine.remove_extra(key))
    }

    fn check(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            self.engine.probe().await.map_err(|trouble| match trouble {
                Trouble::Unreachable(error) | Trouble::Refused(error) => error,
            })
        })
    }
}
