//! The columns of the table: a fresh place on each real server, and how the program is led there.

use bytes::Bytes;
use dipylon::config::{MinioStorage, Secret, UrlText};
use dipylon_testkit::client::Client;
use dipylon_testkit::gateway::Gateway;
use dipylon_testkit::services::given::{KeyedServer, fresh_name, variable};
use http::Method;

use crate::relay::Relay;

/// Settings of a storage type, as variables.
pub(crate) type Settings = Vec<(&'static str, String)>;

/// A fresh and empty place on a server.
pub(crate) struct Backend {
    /// The `StorageType`.
    pub(crate) kind: &'static str,
    /// The server: a host and port.
    pub(crate) server: String,
    settings: Box<dyn Fn(&str) -> Settings + Send + Sync>,
    /// What keeps the server running, where it is one for this test alone.
    _running: Option<Box<dyn std::any::Any + Send + Sync>>,
}

impl Backend {
    /// The settings that lead to the place by this host and port.
    pub(crate) fn settings(&self, address: &str) -> Settings {
        let mut settings = (self.settings)(address);
        settings.push(("ATHENS_STORAGE_TYPE", self.kind.to_owned()));
        settings
    }
}

async fn make_bucket(server: &KeyedServer, bucket: &str) {
    let config = MinioStorage {
        endpoint: UrlText::new(server.endpoint.as_str()),
        key: Secret::new(server.key.as_str()),
        secret: Secret::new(server.secret.as_str()),
        enable_ssl: false,
        bucket: bucket.to_owned(),
        region: String::new(),
    };
    dipylon::storage::minio::open(&config, &|_| None).await.expect("this kind makes its bucket");
}

fn host(server: &KeyedServer) -> String {
    server.endpoint.trim_start_matches("http://").to_owned()
}

pub(crate) async fn minio() -> Backend {
    let (keyed, bucket) = (KeyedServer::of("DIPYLON_TEST_MINIO"), fresh_name());
    make_bucket(&keyed, &bucket).await;
    let server = host(&keyed);
    let settings = move |address: &str| {
        let through = KeyedServer { endpoint: format!("http://{address}"), ..keyed.clone() };
        through.as_minio(&bucket)
    };
    Backend { kind: "minio", server, settings: Box::new(settings), _running: None }
}

pub(crate) async fn s3() -> Backend {
    s3_at("DIPYLON_TEST_MINIO").await
}

pub(crate) async fn s3_of_versitygw() -> Backend {
    s3_at("DIPYLON_TEST_VERSITYGW").await
}

async fn s3_at(name: &str) -> Backend {
    let (keyed, bucket) = (KeyedServer::of(name), fresh_name());
    make_bucket(&keyed, &bucket).await;
    let server = host(&keyed);
    let settings = move |address: &str| {
        vec![
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ENDPOINT", format!("http://{address}")),
            ("AWS_FORCE_PATH_STYLE", "true".to_owned()),
            ("AWS_ACCESS_KEY_ID", keyed.key.clone()),
            ("AWS_SECRET_ACCESS_KEY", keyed.secret.clone()),
            ("ATHENS_S3_BUCKET_NAME", bucket.clone()),
        ]
    };
    Backend { kind: "s3", server, settings: Box::new(settings), _running: None }
}

pub(crate) async fn gcp() -> Backend {
    let (base, bucket) = (variable("DIPYLON_TEST_GCS"), fresh_name());
    let body = Bytes::from(format!("{{\"name\":\"{bucket}\"}}"));
    let path = "/storage/v1/b?project=dipylon";
    let made = Client::new(&base).request(Method::POST, path, &[], body).await;
    assert!(made.status.is_success(), "{}", made.text());
    // Some of its interface is there for those alone who ask for it by its own host and port.
    let relay = Relay::renaming(base.trim_start_matches("http://")).await;
    let server = relay.address.to_string();
    let settings = move |address: &str| {
        vec![
            ("STORAGE_EMULATOR_HOST", format!("http://{address}")),
            ("ATHENS_STORAGE_GCP_BUCKET", bucket.clone()),
        ]
    };
    let settings = Box::new(settings);
    Backend { kind: "gcp", server, settings, _running: Some(Box::new(relay)) }
}

pub(crate) async fn azureblob() -> Backend {
    let endpoint = variable("DIPYLON_TEST_AZURITE");
    let rest = endpoint.trim_start_matches("http://");
    let (server, account) = rest.split_once('/').expect("an account in the path");
    let (server, account) = (server.to_owned(), account.to_owned());
    let (key, container) = (variable("DIPYLON_TEST_AZURITE_KEY"), fresh_name());
    let settings = move |address: &str| {
        vec![
            ("DIPYLON_AZURE_ENDPOINT", format!("http://{address}/{account}")),
            ("DIPYLON_AZURE_CREATE_CONTAINER", "true".to_owned()),
            ("ATHENS_AZURE_ACCOUNT_NAME", account.clone()),
            ("ATHENS_AZURE_ACCOUNT_KEY", key.clone()),
            ("ATHENS_AZURE_CONTAINER_NAME", container.clone()),
        ]
    };
    Backend { kind: "azureblob", server, settings: Box::new(settings), _running: None }
}

pub(crate) async fn mongo() -> Backend {
    let url = variable("DIPYLON_TEST_MONGO");
    let server = url.trim_start_matches("mongodb://").trim_end_matches('/').to_owned();
    let database = fresh_name();
    let settings = move |address: &str| {
        vec![
            ("ATHENS_MONGO_STORAGE_URL", format!("mongodb://{address}")),
            ("ATHENS_MONGO_DEFAULT_DATABASE", database.clone()),
        ]
    };
    Backend { kind: "mongo", server, settings: Box::new(settings), _running: None }
}

/// `dipylon external-storage` over a disk.
pub(crate) async fn external() -> Backend {
    let root = tempfile::tempdir().unwrap();
    let store = Gateway::builder(env!("CARGO_BIN_EXE_dipylon"))
        .arg("external-storage")
        .env("ATHENS_STORAGE_TYPE", "disk")
        .env("ATHENS_DISK_STORAGE_ROOT", &root.path().display().to_string())
        .env("BASIC_AUTH_USER", "robot")
        .env("BASIC_AUTH_PASS", "hush-hush")
        .ready_path("/.dipylon/check")
        .start()
        .await;
    let settings = |address: &str| {
        vec![("ATHENS_EXTERNAL_STORAGE_URL", format!("http://robot:hush-hush@{address}"))]
    };
    Backend {
        kind: "external",
        server: store.address().to_string(),
        settings: Box::new(settings),
        _running: Some(Box::new((store, root))),
    }
}
