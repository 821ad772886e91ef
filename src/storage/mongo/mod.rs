//! `StorageType = "mongo"`: a version is a document, and its zip a file in GridFS, as Athens has them.
//!
//! ```text
//! <database>.<collection>                      a document for each version: .info and .mod
//!           .fs.files, .fs.chunks              the zips
//!           .<collection>.dipylon.saving       zips on their way, see sweep.rs
//!           .<collection>.dipylon.extras       extras
//! ```
//!
//! `layout.rs` has the documents, `save.rs` the order in which they are written: the zip first, then the
//! document, whose insert publishes the version to us and to Athens alike. A unique index makes the
//! first save stay. No transaction is used, so a single server will do, as will one that only speaks the
//! protocol.
//!
//! Every answer of the server but "there is no such document" is an error naming the operation, the
//! collection and the cause, never a miss.

use std::sync::Arc;

use bytes::Bytes;
use dipylon_middleware::blob::Blob;
use dipylon_middleware::error::Error;
use dipylon_middleware::ports::{BoxFuture, CatalogPage, NewVersion, SaveResult, Storage};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use parking_lot::Mutex;
use tempfile::NamedTempFile;
use tokio::sync::OnceCell;
use tokio::time::Instant;

mod chunks;
mod connect;
mod extra;
mod failure;
mod layout;
mod list;
mod place;
mod read;
mod save;
mod start;
mod sweep;
#[cfg(test)]
mod tests;
mod whose;

pub use chunks::MAX_BATCHES_HELD;
pub use layout::MAX_DOCUMENT_BYTES;
pub use list::MAX_REMEMBERED_ZIPS;
pub use place::ANSWER_TIMEOUT;
pub use save::TORN_AGE;
pub use start::START_MAX;
pub use sweep::SWEEP_AGE;

use super::saves::{Saves, detached};
use super::whole::MAX_REMEMBERED_VERSIONS;
use crate::config::MongoStorage;
use chunks::Chunks;
use list::ZipOf;
use place::Place;
use read::Known;
use start::Obstacle;

/// The `StorageType`.
const KIND: &str = "mongo";

/// Opens the store; makes the database, the collection and the indexes if they are missing.
///
/// # Errors
/// `Storage` when the settings cannot be right, or the server refuses them. A server that cannot be
/// reached is a warning.
pub async fn open(config: &MongoStorage) -> Result<Arc<dyn Storage>, Error> {
    let connected = connect::connect(config).await?;
    let (database, collection) = (&config.default_db_name, &config.default_collection_name);
    let place = Place::new(&connected.client, database, collection);
    let engine = Arc::new(Engine {
        chunks: Chunks::new(&place),
        place,
        saves: Saves::new(KIND),
        remembered: quick_cache::sync::Cache::new(MAX_REMEMBERED_VERSIONS),
        zips: quick_cache::sync::Cache::new(MAX_REMEMBERED_ZIPS),
        prepared: OnceCell::new(),
        swept: Mutex::new(None),
        _authorities: connected.authorities,
    });
    engine.start().await?;
    Ok(Arc::new(Mongo { engine }))
}

/// Looks at the settings without connecting.
///
/// # Errors
/// `Storage`, with the setting that [`open`] would refuse.
pub fn check_settings(config: &MongoStorage) -> Result<(), Error> {
    connect::check(config)
}

/// A store in a database of MongoDB.
#[derive(Clone)]
pub struct Mongo {
    engine: Arc<Engine>,
}

/// What does the work.
struct Engine {
    place: Place,
    chunks: Chunks,
    saves: Saves,
    remembered: quick_cache::sync::Cache<(ModulePath, Version), Known>,
    /// Zips of Athens's that a list has looked into.
    zips: quick_cache::sync::Cache<ZipOf, ()>,
    prepared: OnceCell<()>,
    /// When this process last swept up.
    swept: Mutex<Option<Instant>>,
    _authorities: Option<NamedTempFile>,
}

impl Engine {
    /// A server that cannot be reached is no reason not to start: `/readyz` says so until it is back.
    async fn start(self: &Arc<Self>) -> Result<(), Error> {
        let prepare = self.prepared.get_or_try_init(|| self.prepare());
        match tokio::time::timeout(START_MAX, prepare).await {
            Ok(Ok(())) => {
                let engine = Arc::clone(self);
                tokio::spawn(async move { engine.sweep_now_and_then().await });
                Ok(())
            }
            Ok(Err(Obstacle::Refused(error))) => Err(error),
            Ok(Err(Obstacle::Unreachable(error))) => {
                tracing::warn!(%error, "the server cannot be reached yet: starting without it");
                Ok(())
            }
            Err(_) => {
                let waited = START_MAX.as_secs();
                tracing::warn!(waited, "the server does not answer yet: starting without it");
                Ok(())
            }
        }
    }
}

impl std::fmt::Debug for Mongo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mongo({})", self.engine.place.shown)
    }
}

impl Storage for Mongo {
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

    /// A caller that goes away does not stop a save: it would leave a zip behind for an hour.
    fn save(&self, version: NewVersion) -> BoxFuture<'_, Result<SaveResult, Error>> {
        Box::pin(async move {
            version.zip.complete().await?;
            let engine = Arc::clone(&self.engine);
            detached(async move {
                let saved = engine.save(&version).await;
                engine.sweep_now_and_then().await;
                saved
            })
            .await
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
        Box::pin(async move { self.engine.write_extra(key, &bytes).await })
    }

    fn remove_extra<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.engine.remove_extra(key))
    }

    fn check(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.engine.check())
    }
}
