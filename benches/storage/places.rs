//! The kinds of stores, each fresh and empty: those that need a server where `DIPYLON_TEST_…` says where it
//! is, as `cargo xtask bench` does.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use dipylon::config::{Config, ExternalStorage, LoadArgs, UrlText};
use dipylon::external_storage::{Options, serve};
use dipylon::http::Listener;
use dipylon::storage::memory::Memory;
use dipylon_middleware::ports::Storage;
use dipylon_middleware::telemetry::Telemetry;
use dipylon_testkit::athens::Names;
use dipylon_testkit::services::given::{KeyedServer, fresh_name};

use crate::fill::Inside;
use crate::raw::{self, JsonBucket, Raw};

/// A store.
pub(crate) struct Place {
    pub(crate) kind: &'static str,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) inside: Inside,
    _keep: Option<Box<dyn Any>>,
}

/// What a kind is called, and the variable that says where its server is.
pub(crate) const KINDS: [(&str, Option<&str>); 9] = [
    ("memory", None),
    ("disk", None),
    ("external", None),
    ("minio", Some("DIPYLON_TEST_MINIO")),
    ("s3", Some("DIPYLON_TEST_MINIO")),
    ("s3 of versitygw", Some("DIPYLON_TEST_VERSITYGW")),
    ("gcp", Some("DIPYLON_TEST_GCS")),
    ("azureblob", Some("DIPYLON_TEST_AZURITE")),
    ("mongo", Some("DIPYLON_TEST_MONGO")),
];

type Settings = Vec<(&'static str, String)>;

/// Opens a fresh store of a kind; `server` is what its variable says.
pub(crate) async fn open(kind: &'static str, server: &str) -> Place {
    let name = fresh_name();
    match kind {
        "memory" => {
            let storage = Memory::open().expect("a store");
            let inside = Inside::Folder(storage.directory().to_owned());
            Place { kind, storage: Arc::new(storage), inside, _keep: None }
        }
        "disk" => disk(kind).await,
        "external" => external(kind).await,
        "minio" => {
            let server = KeyedServer::at(server);
            let inside = bucket(Names::Directory, &server, &name);
            configured(kind, "minio", server.as_minio(&name), inside).await
        }
        "s3" | "s3 of versitygw" => {
            let server = KeyedServer::at(server);
            let inside = || bucket(Names::Blob, &server, &name);
            // This kind makes no bucket; the other one does.
            configured(kind, "minio", server.as_minio(&name), inside()).await;
            configured(kind, "s3", s3(&server, &name), inside()).await
        }
        "gcp" => {
            let raw = Raw::Json(Box::new(JsonBucket::make(server, &name).await));
            let bucket = ("ATHENS_STORAGE_GCP_BUCKET", name);
            let settings = vec![("STORAGE_EMULATOR_HOST", server.to_owned()), bucket];
            configured(kind, "gcp", settings, Inside::Bucket(Names::Blob, raw)).await
        }
        "azureblob" => {
            let key = std::env::var("DIPYLON_TEST_AZURITE_KEY").expect("the account's key");
            let raw = Raw::Client(raw::azure(server, &key, &name));
            let inside = Inside::Bucket(Names::Blob, raw);
            configured(kind, "azureblob", azureblob(server, key, &name), inside).await
        }
        _ => {
            let client = mongodb::Client::with_uri_str(server).await.expect("a server");
            let inside = Inside::Database(client.database(&name));
            let database = ("ATHENS_MONGO_DEFAULT_DATABASE", name);
            let settings = vec![("ATHENS_MONGO_STORAGE_URL", server.to_owned()), database];
            configured(kind, "mongo", settings, inside).await
        }
    }
}

fn bucket(names: Names, server: &KeyedServer, bucket: &str) -> Inside {
    Inside::Bucket(names, Raw::Client(raw::s3(server, bucket)))
}

async fn disk(kind: &'static str) -> Place {
    let root = tempfile::tempdir().expect("a folder");
    let storage = dipylon::storage::disk(root.path().to_owned()).await.expect("a store");
    let inside = Inside::Folder(root.path().to_owned());
    Place { kind, storage, inside, _keep: Some(Box::new(root)) }
}

/// Client, server and disk in one process, over loopback.
async fn external(kind: &'static str) -> Place {
    let disk = disk(kind).await;
    let listener = Listener::tcp("127.0.0.1:0").await.expect("a free port");
    let url = UrlText::new(format!("http://{}", listener.address()));
    let options = Options { log_access: false, ..Options::default() };
    let served = Arc::clone(&disk.storage);
    tokio::spawn(serve(served, listener, options, std::future::pending()));
    let config = ExternalStorage { url };
    let client = dipylon::storage::external::open(&config, &|_| None).await;
    Place { storage: client.expect("a client"), ..disk }
}

/// The store that these variables lead the program to.
async fn configured(
    kind: &'static str,
    storage_type: &str,
    settings: Settings,
    inside: Inside,
) -> Place {
    let mut variables: BTreeMap<String, String> =
        settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    variables.insert("ATHENS_STORAGE_TYPE".to_owned(), storage_type.to_owned());
    let loaded = Config::load(LoadArgs::default(), &variables).expect("valid settings");
    let telemetry = Telemetry::new().expect("a fresh registry");
    let variable = |name: &str| variables.get(name).cloned();
    let storage = dipylon::storage::open(&loaded.config, &variable, &telemetry).await;
    let storage = storage.unwrap_or_else(|error| panic!("{kind}: {error}"));
    Place { kind, storage, inside, _keep: None }
}

fn s3(server: &KeyedServer, bucket: &str) -> Settings {
    let KeyedServer { endpoint, key, secret } = server.clone();
    vec![
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_ENDPOINT", endpoint),
        ("AWS_FORCE_PATH_STYLE", "true".to_owned()),
        ("AWS_ACCESS_KEY_ID", key),
        ("AWS_SECRET_ACCESS_KEY", secret),
        ("ATHENS_S3_BUCKET_NAME", bucket.to_owned()),
    ]
}

fn azureblob(server: &str, key: String, container: &str) -> Settings {
    let account = server.rsplit_once('/').expect("an account in the path").1;
    vec![
        ("DIPYLON_AZURE_ENDPOINT", server.to_owned()),
        ("DIPYLON_AZURE_CREATE_CONTAINER", "true".to_owned()),
        ("ATHENS_AZURE_ACCOUNT_NAME", account.to_owned()),
        ("ATHENS_AZURE_ACCOUNT_KEY", key),
        ("ATHENS_AZURE_CONTAINER_NAME", container.to_owned()),
    ]
}
