//! What is made at start: the collection, and with it the database, and the indexes.
//!
//! Athens's index begins with a field that no document has, so no query of Athens's or ours can use it.
//! The unique index of ours on module and version finds a version without a walk through the collection,
//! and lets one saver of a version through; Athens is served by it too.

use std::time::Duration;

use dipylon_middleware::error::Error;
use mongodb::IndexModel;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Document, doc};
use mongodb::options::IndexOptions;

use super::Engine;
use super::failure::Failure;
use super::place::call;

/// The name of our index.
const OUR_INDEX: &str = "dipylon_module_version";
/// What cannot be done without it. Servers have different codes for what is in the way.
const UNIQUE: &str = "make the unique index on module and version (is there a version with two \
    documents? remove one of them)";

/// What may keep a store from being used.
pub(super) enum Obstacle {
    /// The server cannot be asked now.
    Unreachable(Error),
    /// It can, and says no.
    Refused(Error),
}

impl Obstacle {
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Unreachable(error) | Self::Refused(error) => error,
        }
    }
}

impl Engine {
    /// Makes what is missing, once; until it has succeeded, before every save and check.
    pub(super) async fn prepared(&self) -> Result<(), Error> {
        let prepared = self.prepared.get_or_try_init(|| self.prepare()).await;
        prepared.map(drop).map_err(Obstacle::into_error)
    }

    /// Makes what is missing.
    pub(super) async fn prepare(&self) -> Result<(), Obstacle> {
        let name = self.place.modules.name().to_owned();
        match call(self.place.database.create_collection(name)).await {
            Ok(()) => tracing::info!(collection = &*self.place.shown, "made the collection"),
            Err(failure) if failure.is_there_already() => {}
            // Somebody who may only read finds it made, or finds nothing.
            Err(failure) if failure.is_denied() => self.cannot_make("the collection", &failure),
            Err(failure) => return Err(self.obstacle("make the collection", &failure)),
        }
        // Sparse, so that documents of other programs may lack both fields.
        let name = OUR_INDEX.to_owned();
        let unique = IndexOptions::builder().name(name).unique(true).sparse(true).build();
        let keys = doc! { "module": 1, "version": 1 };
        let index = IndexModel::builder().keys(keys).options(unique).build();
        match call(self.place.modules.create_index(index)).await {
            Ok(_) => {}
            Err(failure) if failure.is_denied() => self.cannot_make(OUR_INDEX, &failure),
            Err(failure) => return Err(self.obstacle(UNIQUE, &failure)),
        }
        self.make_indexes_of_athens().await;
        Ok(())
    }

    /// As Athens makes them, with their default names. One that cannot be made is no obstacle, to Athens
    /// neither: a server may lack sparse indexes, or have the index with other options.
    async fn make_indexes_of_athens(&self) {
        let index = |keys: Document, unique: Option<bool>, sparse: Option<bool>| {
            let mut options = IndexOptions::default();
            (options.unique, options.sparse) = (unique, sparse);
            IndexModel::builder().keys(keys).options(options).build()
        };
        let versions = doc! { "base_url": 1, "module": 1, "version": 1 };
        let versions = index(versions, Some(true), Some(true));
        let files = index(doc! { "filename": 1, "uploadDate": 1 }, None, None);
        let chunks = index(doc! { "files_id": 1, "n": 1 }, Some(true), None);
        let made = [
            call(self.place.modules.create_index(versions)).await,
            call(self.place.files.create_index(files)).await,
            call(self.place.chunks.create_index(chunks)).await,
        ];
        for failure in made.into_iter().filter_map(Result::err) {
            let error = self.place.failed("make an index of Athens's", &failure);
            tracing::debug!(%error, "an index is missing");
        }
    }

    fn cannot_make(&self, what: &str, failure: &Failure) {
        let error = self.place.failed(&format!("make {what}"), failure);
        tracing::warn!(%error, "if it is missing, somebody who may has to make it");
    }

    fn obstacle(&self, what: &str, failure: &Failure) -> Obstacle {
        let error = self.place.failed(what, failure);
        match failure.is_unreachable() {
            true => Obstacle::Unreachable(error),
            false => Obstacle::Refused(error),
        }
    }

    /// Whether the store can be used now. A collection that somebody dropped is made again, with its
    /// indexes: MongoDB itself takes a missing collection for an empty one.
    pub(super) async fn check(&self) -> Result<(), Error> {
        self.prepared().await?;
        let failed = |failure: Failure| self.place.failed("look up anything", &failure);
        let nobody = doc! { "_id": ObjectId::from_bytes([0; 12]) };
        call(self.place.modules.find_one(nobody)).await.map_err(failed)?;
        let named = doc! { "name": self.place.modules.name() };
        match call(self.place.database.list_collection_names().filter(named)).await {
            Ok(names) if names.is_empty() => {
                tracing::warn!(collection = &*self.place.shown, "the collection is gone");
                self.prepare().await.map_err(Obstacle::into_error)
            }
            Ok(_) => Ok(()),
            Err(failure) if failure.is_denied() => Ok(()),
            Err(failure) => Err(failed(failure)),
        }
    }
}

/// How long a start waits for the server before it goes on without.
pub const START_MAX: Duration = Duration::from_secs(30);
