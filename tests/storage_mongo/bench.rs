//! A store in a database of its own, and the same database seen without the gateway's code.

use std::collections::BTreeSet;
use std::sync::Arc;

use dipylon::config::{MongoStorage, UrlText};
use dipylon_middleware::ports::Storage;
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::services::given::{fresh_name, variable};
use dipylon_testkit::storage_suite::{Subject, read_range};
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, DateTime, Document, doc};
use mongodb::{Client, Database};

use crate::rows::{self, zip_name};

/// The server's URL.
pub(crate) fn url() -> String {
    variable("DIPYLON_TEST_MONGO")
}

pub(crate) fn config(url: &str, database: &str) -> MongoStorage {
    MongoStorage {
        url: UrlText::new(url),
        default_db_name: database.to_owned(),
        default_collection_name: "modules".to_owned(),
        cert_path: None,
        insecure: false,
    }
}

/// More versions than the first answer of a server to a `find` has, several times over. `many.rs` has
/// more than a batch of ours; SQLite takes minutes to save so many.
const MANY_VERSIONS: usize = 520;

pub(crate) async fn fresh() -> Subject {
    bench().await.subject.refusing_token("no-object-id").many_versions(MANY_VERSIONS)
}

pub(crate) async fn fresh_over_postgresql() -> Subject {
    let config = config(&variable("DIPYLON_TEST_MONGOPG"), &fresh_name());
    let storage = dipylon::storage::mongo::open(&config).await.unwrap();
    Subject::new(storage).refusing_token("no-object-id").many_versions(MANY_VERSIONS)
}

pub(crate) async fn bench() -> Bench {
    let name = fresh_name();
    let raw = Raw::new(&name).await;
    Bench::open(raw).await
}

/// A store and its database.
pub(crate) struct Bench {
    pub(crate) subject: Subject,
    pub(crate) raw: Raw,
}

impl Bench {
    /// Opens the store in a database that may have something in it.
    pub(crate) async fn open(raw: Raw) -> Self {
        let config = config(&url(), raw.database.name());
        let storage = dipylon::storage::mongo::open(&config).await.unwrap();
        Self { subject: Subject::new(storage), raw }
    }

    pub(crate) fn storage(&self) -> &Arc<dyn Storage> {
        self.subject.storage()
    }

    pub(crate) async fn read(&self, module: &FakeModule, kind: FileKind) -> Option<Vec<u8>> {
        read(self.storage(), module, kind).await
    }

    pub(crate) async fn is_stored(&self, module: &FakeModule) -> bool {
        self.read(module, FileKind::Info).await == Some(module.info().into_bytes())
            && self.read(module, FileKind::Mod).await == Some(module.go_mod_bytes().to_vec())
            && self.read(module, FileKind::Zip).await == Some(module.zip().to_vec())
    }

    pub(crate) async fn is_absent(&self, module: &FakeModule) -> bool {
        for kind in FileKind::ALL {
            if self.read(module, kind).await.is_some() {
                return false;
            }
        }
        true
    }

    pub(crate) async fn list(&self, module: &str) -> Vec<String> {
        let module = ModulePath::parse(module).unwrap();
        let listed = self.storage().list(&module).await.unwrap();
        listed.iter().map(ToString::to_string).collect()
    }

    pub(crate) async fn catalog(&self) -> BTreeSet<String> {
        let page = self.storage().catalog(None, 0).await.unwrap();
        page.entries
            .into_iter()
            .map(|entry| format!("{}@{}", entry.module, entry.version))
            .collect()
    }
}

pub(crate) async fn read(
    storage: &Arc<dyn Storage>,
    module: &FakeModule,
    kind: FileKind,
) -> Option<Vec<u8>> {
    let (path, version) = names(module);
    let blob = storage.read(&path, &version, kind).await.unwrap()?;
    Some(read_range(&blob, 0..blob.length()).await.unwrap().to_vec())
}

pub(crate) fn names(module: &FakeModule) -> (ModulePath, Version) {
    (ModulePath::parse(module.path()).unwrap(), Version::parse(module.version()).unwrap())
}

/// An id that was made long ago, so that nobody waits for whoever made it.
pub(crate) fn old_id() -> ObjectId {
    let mut bytes = ObjectId::new().bytes();
    bytes[..4].copy_from_slice(&0x6000_0000_u32.to_be_bytes());
    ObjectId::from_bytes(bytes)
}

/// A database as any client sees it. It writes and reads as Athens does, through the driver's own GridFS.
#[derive(Clone)]
pub(crate) struct Raw {
    pub(crate) database: Database,
}

impl Raw {
    pub(crate) async fn new(database: &str) -> Self {
        let client = Client::with_uri_str(url()).await.unwrap();
        Self { database: client.database(database) }
    }

    pub(crate) async fn insert(&self, collection: &str, document: Document) {
        self.database.collection(collection).insert_one(document).await.unwrap();
    }

    pub(crate) async fn find(&self, collection: &str, filter: Document) -> Vec<Document> {
        let found = self.database.collection::<Document>(collection).find(filter).await.unwrap();
        futures::TryStreamExt::try_collect(found).await.unwrap()
    }

    pub(crate) async fn remove(&self, collection: &str, filter: Document) {
        self.database.collection::<Document>(collection).delete_many(filter).await.unwrap();
    }

    pub(crate) async fn set(&self, collection: &str, filter: Document, fields: Document) {
        let collection = self.database.collection::<Document>(collection);
        let set = collection.update_many(filter, doc! { "$set": fields }).await.unwrap();
        assert!(set.matched_count > 0, "something is there to be changed");
    }

    /// The document that Athens writes.
    pub(crate) async fn put_document(&self, id: ObjectId, module: &FakeModule) {
        self.insert("modules", rows::document(id, module)).await;
    }

    /// Uploads a zip under a name.
    pub(crate) async fn put_zip(&self, name: &str, bytes: &[u8]) -> Bson {
        let bucket = self.database.gridfs_bucket(None);
        let mut upload = bucket.open_upload_stream(name).await.unwrap();
        upload.write_all(bytes).await.unwrap();
        let id = upload.id().clone();
        upload.close().await.unwrap();
        id
    }

    /// A whole version, in Athens's order.
    pub(crate) async fn put(&self, module: &FakeModule) {
        self.put_document(old_id(), module).await;
        self.put_zip(&zip_name(module), &module.zip()).await;
    }

    /// The zip that Athens would serve: the youngest of the name.
    pub(crate) async fn zip_for_athens(&self, module: &FakeModule) -> Vec<u8> {
        let bucket = self.database.gridfs_bucket(None);
        let mut download = bucket.open_download_stream_by_name(zip_name(module)).await.unwrap();
        let mut bytes = Vec::new();
        download.read_to_end(&mut bytes).await.unwrap();
        bytes
    }

    /// Dates a zip, as if its upload had been then.
    pub(crate) async fn date(&self, zip: &Bson, date: DateTime) {
        self.set("fs.files", doc! { "_id": zip }, doc! { "uploadDate": date }).await;
    }
}
