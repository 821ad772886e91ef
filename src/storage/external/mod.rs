//! `StorageType = "external"`: a store that somebody else serves, over Athens's HTTP protocol.
//!
//! ```text
//! GET  /<escaped module>/@v/list
//!                          /<version>.info   .mod   .zip
//! POST                     /<version>.save   multipart/form-data: mod.info, mod.mod, mod.zip
//! ```
//!
//! The module is escaped and the version is not; 200 alone is success; 404 is absent. That is all the
//! protocol has. What the port promises beyond it, a server of ours adds (see
//! [`external_storage`](crate::external_storage)) and says so in a header of every answer; the client asks
//! for that header before its first call. With any other server:
//!
//! * a version is believed when its `.info` names it, its `.mod` has text and its zip has an end; that is
//!   looked at once, and remembered;
//! * an answer must say where it ends, by its length or in chunks: of one that ends with the connection
//!   only a zip is taken, which has an end of its own;
//! * a save looks first and sends then, so of two replicas that save one version at the same moment the
//!   last may win, if the server lets it; a save that went well is [`SaveResult::Taken`];
//! * the catalogue is `Unsupported`, as with Athens;
//! * extras are kept in memory, the youngest [`MAX_KEPT_EXTRA_BYTES`] of them: what is forgotten is made
//!   again.

mod extra;
mod form;
mod link;
mod list;
mod peer;
mod read;
mod room;
mod save;
mod trouble;
pub(crate) mod wire;
mod zip;

use std::sync::Arc;

use bytes::Bytes;
use dipylon_middleware::blob::Blob;
use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_middleware::ports::{BoxFuture, CatalogPage, NewVersion, SaveResult, Storage};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;

use super::saves::{Saves, detached};
use super::whole::MAX_REMEMBERED_VERSIONS;
use crate::config::ExternalStorage;
use crate::fetch::base_url::BaseUrl;
use extra::Kept;
use link::Link;
use peer::{Peer, Trouble};
use read::Known;
use room::Room;

pub use extra::MAX_KEPT_EXTRA_BYTES;
pub use link::{CONNECT_TIMEOUT, HEAD_TIMEOUT, IDLE_TIMEOUT};
pub use room::MAX_COPIED_BYTES;
pub use save::{ANSWER_TIMEOUT, STALL_TIMEOUT};

/// The `StorageType`.
const KIND: &str = "external";

/// The client of a store behind HTTP.
#[derive(Clone)]
pub struct External {
    engine: Arc<Engine>,
}

/// What does the work.
struct Engine {
    link: Link,
    peer: Peer,
    saves: Saves,
    /// Room for zips that are copied to files.
    copies: Room,
    remembered: quick_cache::sync::Cache<(ModulePath, Version), Known>,
    kept: Kept,
}

/// Opens the store. `environment` names the HTTP proxies.
///
/// # Errors
/// `Storage` when the URL cannot be used or the server refuses the credentials. A server that cannot be
/// reached is a warning.
pub async fn open(
    config: &ExternalStorage,
    environment: &(dyn Fn(&str) -> Option<String> + Sync),
) -> Result<Arc<dyn Storage>, Error> {
    let storage = External::new(config, environment)?;
    storage.start().await?;
    Ok(Arc::new(storage))
}

/// Whether the settings can be used, without asking anybody.
///
/// # Errors
/// `Storage`, naming the key.
pub fn check_settings(config: &ExternalStorage) -> Result<(), Error> {
    base_url(config).map(drop)
}

fn base_url(config: &ExternalStorage) -> Result<BaseUrl, Error> {
    let read = BaseUrl::read(config.url.as_str());
    let (base, sends_plainly) = read.map_err(|error| {
        // Not the text itself: it may hold a password.
        Error::new(ErrorKind::Storage, format!("Storage.External.URL cannot be used: {error}"))
    })?;
    if sends_plainly {
        // Athens does so, and a deployment may rely on it.
        tracing::warn!(
            key = "Storage.External.URL",
            "the password goes over plain http, for anybody on the way to read: use https"
        );
    }
    Ok(base)
}

impl External {
    fn new(
        config: &ExternalStorage,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Error> {
        let engine = Engine {
            link: Link::new(base_url(config)?, environment)?,
            peer: Peer::default(),
            saves: Saves::new(KIND),
            copies: Room::new(MAX_COPIED_BYTES),
            remembered: quick_cache::sync::Cache::new(MAX_REMEMBERED_VERSIONS),
            kept: Kept::default(),
        };
        Ok(Self { engine: Arc::new(engine) })
    }

    async fn start(&self) -> Result<(), Error> {
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

impl std::fmt::Debug for External {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "External({})", self.engine.link.base())
    }
}

impl Storage for External {
    fn kind(&self) -> &'static str {
        KIND
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

    /// A caller that goes away does not stop a save: a server that believes half a body would keep half a
    /// version.
    fn save(&self, version: NewVersion) -> BoxFuture<'_, Result<SaveResult, Error>> {
        Box::pin(async move {
            version.zip.complete().await?;
            let engine = Arc::clone(&self.engine);
            let trace = dipylon_middleware::storage_io::caller_trace();
            detached(async move { engine.save(&version, trace).await }).await
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

    /// The client sends again only what a connection lost that had been idle.
    fn wants_retries(&self) -> bool {
        true
    }

    fn check(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            self.engine.probe().await.map_err(|trouble| match trouble {
                Trouble::Unreachable(error) | Trouble::Refused(error) => error,
            })
        })
    }
}
