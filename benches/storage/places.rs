//! The kinds of stores, each fresh and empty: those that need a server where `DIPYLON_TEST_…` says where it
//! is, as `cargo xtask bench` does.

use std::any::Any;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use dipylon::config::{Config, ExternalStorage, LoadArgs, UrlText};
use dipylon::external_storage::{Options, serve};
use dipylon::http::Listener;
use dipylon_middleware::ports::Storage;
use dipylon_middleware::telemetry::Telemetry;
use dipylon_testkit::client::Client;

/// A store.
pub(crate) struct Place {
    pub(crate) kind: &'static str,
    pub(crate) storage: Arc<dyn Storage>,
    /// Where a local disk's versions lie, so that many can be laid out at once.
    pub(crate) root: Option<PathBuf>,
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
        "memory" => place(kind, dipylon::storage::memory().await.expect("a store")),
        "disk" => disk(kind).await,
        "external" => external(kind).await,
        "minio" => configured(kind, "minio", minio(server, &name)).await,
        "s3" | "s3 of versitygw" => {
            // This kind makes no bucket; the other one does.
            configured(kind, "minio", minio(server, &name)).await;
            configured(kind, "s3", s3(server, &name)).await
        }
        "gcp" => {
            make_bucket(server, &name).await;
            let bucket = ("ATHENS_STORAGE_GCP_BUCKET", name);
            configured(kind, "gcp", vec![("STORAGE_EMULATOR_HOST", server.to_owned()), bucket])
                .await
        }
        "azureblob" => configured(kind, "azureblob", azureblob(server, &name)).await,
        _ => {
            let database = ("ATHENS_MONGO_DEFAULT_DATABASE", name);
            let settings = vec![("ATHENS_MONGO_STORAGE_URL", server.to_owned()), database];
            configured(kind, "mongo", settings).await
        }
    }
}

fn place(kind: &'static str, storage: Arc<dyn Storage>) -> Place {
    Place { kind, storage, root: None, _keep: None }
}

async fn disk(kind: &'static str) -> Place {
    let root = tempfile::tempdir().expect("a folder");
    let storage = dipylon::storage::disk(root.path().to_owned()).await.expect("a store");
    Place { kind, storage, root: Some(root.path().to_owned()), _keep: Some(Box::new(root)) }
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
async fn configured(kind: &'static str, storage_type: &str, settings: Settings) -> Place {
    let mut variables: BTreeMap<String, String> =
        settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    variables.insert("ATHENS_STORAGE_TYPE".to_owned(), storage_type.to_owned());
    let loaded = Config::load(LoadArgs::default(), &variables).expect("valid settings");
    let telemetry = Telemetry::new().expect("a fresh registry");
    let variable = |name: &str| variables.get(name).cloned();
    let storage = dipylon::storage::open(&loaded.config, &variable, &telemetry).await;
    place(kind, storage.unwrap_or_else(|error| panic!("{kind}: {error}")))
}

/// `http://KEY:SECRET@HOST:PORT` as an endpoint, a key and a secret.
fn keyed(server: &str) -> (String, String, String) {
    let (scheme, rest) = server.split_once("://").expect("a scheme");
    let (user, host) = rest.split_once('@').expect("credentials");
    let (key, secret) = user.split_once(':').expect("a key and a secret");
    (format!("{scheme}://{host}"), key.to_owned(), secret.to_owned())
}

fn minio(server: &str, bucket: &str) -> Settings {
    let (endpoint, key, secret) = keyed(server);
    vec![
        ("ATHENS_MINIO_ENDPOINT", endpoint),
        ("ATHENS_MINIO_ACCESS_KEY_ID", key),
        ("ATHENS_MINIO_SECRET_ACCESS_KEY", secret),
        ("ATHENS_MINIO_BUCKET_NAME", bucket.to_owned()),
    ]
}

fn s3(server: &str, bucket: &str) -> Settings {
    let (endpoint, key, secret) = keyed(server);
    vec![
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_ENDPOINT", endpoint),
        ("AWS_FORCE_PATH_STYLE", "true".to_owned()),
        ("AWS_ACCESS_KEY_ID", key),
        ("AWS_SECRET_ACCESS_KEY", secret),
        ("ATHENS_S3_BUCKET_NAME", bucket.to_owned()),
    ]
}

fn azureblob(server: &str, container: &str) -> Settings {
    let account = server.rsplit_once('/').expect("an account in the path").1;
    let key = std::env::var("DIPYLON_TEST_AZURITE_KEY").expect("the account's key");
    vec![
        ("DIPYLON_AZURE_ENDPOINT", server.to_owned()),
        ("DIPYLON_AZURE_CREATE_CONTAINER", "true".to_owned()),
        ("ATHENS_AZURE_ACCOUNT_NAME", account.to_owned()),
        ("ATHENS_AZURE_ACCOUNT_KEY", key),
        ("ATHENS_AZURE_CONTAINER_NAME", container.to_owned()),
    ]
}

async fn make_bucket(server: &str, bucket: &str) {
    let body = Bytes::from(format!("{{\"name\":\"{bucket}\"}}"));
    let path = "/storage/v1/b?project=dipylon";
    let made = Client::new(server).request(http::Method::POST, path, &[], body).await;
    assert!(made.status.is_success(), "{}", made.text());
}

/// A name of a bucket or database that nobody else has.
fn fresh_name() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("b{}-{}-{number}", time.expect("after 1970").as_millis(), std::process::id())
}
