//! Object stores in which locks lie: a bucket of its own for each test, reached by a line.

use std::sync::Arc;
use std::time::Duration;

use dipylon::config::{AzureBlobStorage, GcpStorage, MinioStorage, S3Storage, Secret, UrlText};
use dipylon::lock::stores::{AzureLock, MIN_LEASE, ObjectLock, Terms};
use dipylon::storage::object::Connector;
use dipylon::storage::{azureblob, gcp, minio, s3};
use dipylon_middleware::ports::{Acquired, Lock, LockClaim, Storage};
use dipylon_testkit::services::given::{KeyedServer, fresh_name, variable};
use http::{Method, Request};
use object_store::azure::{AzureAccessKey, AzureAuthorizer, AzureCredential};
use object_store::client::HttpRequestBody;
use tokio::runtime::Handle;

use crate::line::Line;
use crate::raw::{self, JsonBucket, Raw};
use crate::relay::Relay;

/// How long a lock of another program stands in these tests.
pub(crate) const FOREIGN: Duration = Duration::from_secs(4);

/// A store, and a bucket in it that is empty.
pub(crate) struct Store {
    line: Line,
    keys: Keys,
    bucket: String,
    pub(crate) raw: Raw,
}

enum Keys {
    /// As `StorageType` minio has it.
    Minio(KeyedServer),
    /// As `StorageType` s3 has it.
    S3(KeyedServer),
    /// Some of the emulator's interface is there for those alone who ask for it by its own host and port.
    Gcp { _relay: Relay },
    /// The endpoint past the line, the account, and its key.
    Azure(String, String, String),
}

fn no_environment(_: &str) -> Option<String> {
    None
}

/// The host and port of a URL.
pub(crate) fn authority(url: &str) -> &str {
    let (_, rest) = url.split_once("://").expect("a scheme");
    rest.split('/').next().expect("a first piece")
}

impl Store {
    pub(crate) async fn minio() -> Self {
        Self::at("DIPYLON_TEST_MINIO", Keys::Minio).await
    }

    pub(crate) async fn versitygw() -> Self {
        Self::at("DIPYLON_TEST_VERSITYGW", Keys::S3).await
    }

    async fn at(name: &str, keys: impl FnOnce(KeyedServer) -> Keys) -> Self {
        let (server, bucket) = (KeyedServer::of(name), fresh_name());
        let line = Line::to(authority(&server.endpoint)).await;
        // Opening it makes the bucket.
        minio::open(&minio_config(&server, &server.endpoint, &bucket), &no_environment)
            .await
            .expect("a bucket");
        let raw = Raw::Client(raw::s3(&server, &bucket));
        Self { line, keys: keys(server), bucket, raw }
    }

    pub(crate) async fn gcp() -> Self {
        let (base, bucket) = (variable("DIPYLON_TEST_GCS"), fresh_name());
        let raw = Raw::Json(Box::new(JsonBucket::make(&base, &bucket).await));
        let relay = Relay::renaming(authority(&base)).await;
        let line = Line::to(&relay.address.to_string()).await;
        Self { line, keys: Keys::Gcp { _relay: relay }, bucket, raw }
    }

    pub(crate) async fn azurite() -> Self {
        let (endpoint, key) =
            (variable("DIPYLON_TEST_AZURITE"), variable("DIPYLON_TEST_AZURITE_KEY"));
        let account = endpoint.rsplit_once('/').expect("an account").1.to_owned();
        let bucket = fresh_name();
        let ours = azureblob::Extensions { endpoint: &endpoint, create_container: true };
        azureblob::open(&azure_config(&account, &key, &bucket), ours, &no_environment)
            .await
            .expect("a container");
        let raw = Raw::Client(raw::azure(&endpoint, &key, &bucket));
        let line = Line::to(authority(&endpoint)).await;
        Self { line, keys: Keys::Azure(endpoint, account, key), bucket, raw }
    }

    /// The host and port at the end of the line.
    pub(crate) fn address(&self) -> String {
        self.line.address.to_string()
    }

    /// The endpoint at the end of the line.
    fn endpoint(&self) -> String {
        match &self.keys {
            Keys::Minio(_) | Keys::S3(_) | Keys::Gcp { .. } => {
                format!("http://{}", self.line.address)
            }
            Keys::Azure(_, account, _) => format!("http://{}/{account}", self.line.address),
        }
    }

    /// A replica.
    pub(crate) fn open(&self, lease: Duration) -> Arc<dyn Lock> {
        let (endpoint, terms) =
            (self.endpoint(), Terms { lease, foreign: FOREIGN, longest: Duration::MAX });
        match &self.keys {
            Keys::Minio(server) => {
                let config = minio_config(server, &endpoint, &self.bucket);
                let access = minio::access(&config, &no_environment).expect("settings");
                Arc::new(ObjectLock::s3(access, terms))
            }
            Keys::S3(server) => {
                let config = s3_config(server, &endpoint, &self.bucket);
                let opening = s3::access(&config, &no_environment);
                let access = tokio::task::block_in_place(|| Handle::current().block_on(opening));
                Arc::new(ObjectLock::s3(access.expect("settings"), terms))
            }
            Keys::Gcp { .. } => {
                let access = gcp::access(&gcp_config(&self.bucket), &endpoint, &no_environment);
                Arc::new(ObjectLock::gcp(access.expect("settings"), terms))
            }
            Keys::Azure(_, account, key) => {
                let ours = azureblob::Extensions { endpoint: &endpoint, create_container: false };
                let config = azure_config(account, key, &self.bucket);
                let access = azureblob::access(&config, ours, &no_environment).expect("settings");
                Arc::new(AzureLock::open(access, lease))
            }
        }
    }

    /// The store itself, as a gateway has it.
    pub(crate) async fn storage(&self) -> Arc<dyn Storage> {
        let endpoint = self.endpoint();
        let opened = match &self.keys {
            Keys::Minio(server) => {
                minio::open(&minio_config(server, &endpoint, &self.bucket), &no_environment).await
            }
            Keys::S3(server) => {
                s3::open(&s3_config(server, &endpoint, &self.bucket), &no_environment).await
            }
            Keys::Gcp { .. } => {
                gcp::open(&gcp_config(&self.bucket), &endpoint, &no_environment).await
            }
            Keys::Azure(_, account, key) => {
                let ours = azureblob::Extensions { endpoint: &endpoint, create_container: false };
                let config = azure_config(account, key, &self.bucket);
                azureblob::open(&config, ours, &no_environment).await
            }
        };
        opened.expect("a store")
    }

    /// Where the lock of a key lies.
    pub(crate) fn name(&self, key: &str) -> String {
        match &self.keys {
            Keys::Minio(_) | Keys::S3(_) => format!("lock/{key}"),
            Keys::Gcp { .. } => format!(".dipylon/lock/{key}"),
            Keys::Azure(..) => format!("lease/{key}"),
        }
    }

    /// Locks that are held, and what else of locks lies there but free leases.
    pub(crate) async fn left(&self) -> Vec<String> {
        let mut left = self.raw.ours().await;
        left.retain(|name| name.starts_with(".dipylon/lock"));
        for name in self.raw.objects().await.into_keys() {
            if name.starts_with("lock/") {
                left.push(name);
            } else if let Some(key) = name.strip_prefix("lease/")
                && self.is_leased(key).await
            {
                left.push(name);
            }
        }
        left
    }

    async fn is_leased(&self, key: &str) -> bool {
        let lock = self.open(Duration::from_secs(15));
        let claim = LockClaim { key: key.into(), owner: format!("looks at {key}").into() };
        match lock.acquire(&claim).await {
            Ok(Acquired::Granted { .. }) => {
                assert_eq!(lock.release(&claim).await, Ok(true));
                false
            }
            Ok(Acquired::Held(_) | Acquired::Settled(_)) => true,
            Err(error) => panic!("{key}: {error}"),
        }
    }

    /// Takes a lock away behind its holder's back.
    pub(crate) async fn evict(&self, key: &str) {
        let name = self.name(key);
        if let Keys::Azure(endpoint, account, key) = &self.keys {
            self.break_lease(endpoint, account, key, &name).await;
        }
        self.raw.remove(&name).await;
    }

    async fn break_lease(&self, endpoint: &str, account: &str, key: &str, name: &str) {
        let name = name.replace('@', "%40");
        let mut request = Request::builder()
            .method(Method::PUT)
            .uri(format!("{endpoint}/{}/{name}?comp=lease", self.bucket))
            .header("x-ms-lease-action", "break")
            .header("x-ms-lease-break-period", "0")
            .header("content-length", "0")
            .body(HttpRequestBody::empty())
            .expect("a request");
        let credential = AzureCredential::AccessKey(AzureAccessKey::try_new(key).expect("a key"));
        AzureAuthorizer::new(&credential, account)
            .try_authorize(&mut request)
            .expect("a signature");
        let connector = Connector::new(&no_environment).expect("a connector");
        let answer = connector.send(request).await.expect("an answer");
        assert!(answer.status().is_success(), "{}", answer.status());
    }

    /// What a gateway is told of it.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        let (endpoint, bucket) = (self.endpoint(), self.bucket.clone());
        match &self.keys {
            Keys::S3(server) => vec![
                ("ATHENS_STORAGE_TYPE", "s3".to_owned()),
                ("ATHENS_SINGLE_FLIGHT_TYPE", "s3".to_owned()),
                ("AWS_REGION", "us-east-1".to_owned()),
                ("AWS_ENDPOINT", endpoint),
                ("AWS_FORCE_PATH_STYLE", "true".to_owned()),
                ("AWS_ACCESS_KEY_ID", server.key.clone()),
                ("AWS_SECRET_ACCESS_KEY", server.secret.clone()),
                ("ATHENS_S3_BUCKET_NAME", bucket),
            ],
            Keys::Minio(server) => vec![
                ("ATHENS_STORAGE_TYPE", "minio".to_owned()),
                ("ATHENS_SINGLE_FLIGHT_TYPE", "s3".to_owned()),
                ("ATHENS_MINIO_ENDPOINT", endpoint),
                ("ATHENS_MINIO_ACCESS_KEY_ID", server.key.clone()),
                ("ATHENS_MINIO_SECRET_ACCESS_KEY", server.secret.clone()),
                ("ATHENS_MINIO_BUCKET_NAME", bucket),
            ],
            Keys::Gcp { .. } => vec![
                ("ATHENS_STORAGE_TYPE", "gcp".to_owned()),
                ("ATHENS_SINGLE_FLIGHT_TYPE", "gcp".to_owned()),
                ("STORAGE_EMULATOR_HOST", endpoint),
                ("ATHENS_STORAGE_GCP_BUCKET", bucket),
            ],
            Keys::Azure(_, account, key) => vec![
                ("ATHENS_STORAGE_TYPE", "azureblob".to_owned()),
                ("ATHENS_SINGLE_FLIGHT_TYPE", "azureblob".to_owned()),
                ("DIPYLON_AZURE_ENDPOINT", endpoint),
                ("ATHENS_AZURE_ACCOUNT_NAME", account.clone()),
                ("ATHENS_AZURE_ACCOUNT_KEY", key.clone()),
                ("ATHENS_AZURE_CONTAINER_NAME", bucket),
            ],
        }
    }

    /// How long a lock of the default settings outlives its holder.
    pub(crate) fn default_lease(&self) -> Duration {
        match &self.keys {
            Keys::Minio(_) | Keys::S3(_) | Keys::Gcp { .. } => Duration::from_secs(10),
            Keys::Azure(..) => Duration::from_secs(15),
        }
    }

    /// The shortest that it grants; zero where a lock is an object, which has no end of its own.
    pub(crate) fn shortest_lease(&self) -> Duration {
        match &self.keys {
            Keys::Minio(_) | Keys::S3(_) | Keys::Gcp { .. } => Duration::ZERO,
            Keys::Azure(..) => MIN_LEASE,
        }
    }

    /// What the paths of its locks have in common, and of nothing else of it.
    pub(crate) fn lock_paths(&self) -> &'static str {
        match &self.keys {
            Keys::Azure(..) => "/lease/",
            Keys::Minio(_) | Keys::S3(_) => "/lock/",
            // The name of an object is one piece of a path there.
            Keys::Gcp { .. } => "lock%2F",
        }
    }

    pub(crate) fn stop(&self) {
        self.line.cut();
    }

    pub(crate) fn restart(&self) {
        self.line.mend();
    }
}

fn minio_config(server: &KeyedServer, endpoint: &str, bucket: &str) -> MinioStorage {
    MinioStorage {
        endpoint: UrlText::new(endpoint),
        key: Secret::new(server.key.as_str()),
        secret: Secret::new(server.secret.as_str()),
        enable_ssl: false,
        bucket: bucket.to_owned(),
        region: String::new(),
    }
}

fn s3_config(server: &KeyedServer, endpoint: &str, bucket: &str) -> S3Storage {
    S3Storage {
        region: "us-east-1".to_owned(),
        key: Secret::new(server.key.as_str()),
        secret: Secret::new(server.secret.as_str()),
        token: Secret::default(),
        bucket: bucket.to_owned(),
        force_path_style: true,
        use_default_configuration: false,
        credentials_endpoint: UrlText::default(),
        aws_container_credentials_relative_uri: String::new(),
        endpoint: UrlText::new(endpoint),
    }
}

fn gcp_config(bucket: &str) -> GcpStorage {
    GcpStorage { project_id: String::new(), bucket: bucket.to_owned(), json_key: Secret::default() }
}

fn azure_config(account: &str, key: &str, container: &str) -> AzureBlobStorage {
    AzureBlobStorage {
        account_name: account.to_owned(),
        account_key: Secret::new(key),
        managed_identity_resource_id: String::new(),
        credential_scope: String::new(),
        container_name: container.to_owned(),
    }
}
