//! A bucket on a real server, seen without the gateway's code; `benches/storage` fills its stores this way too.

use std::collections::BTreeMap;
use std::sync::Arc;

use dipylon::storage::object::Connector;
use dipylon_testkit::services::given::KeyedServer;
use futures::TryStreamExt as _;
use http::Method;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::client::HttpRequestBody;
use object_store::path::Path;
use object_store::{Attribute, ObjectStore, ObjectStoreExt as _};

fn connector() -> Connector {
    Connector::new(&|_| None).unwrap()
}

/// The bucket as a plain client of S3 sees it.
pub(crate) fn s3(server: &KeyedServer, bucket: &str) -> Arc<dyn ObjectStore> {
    let store = AmazonS3Builder::new()
        .with_endpoint(server.endpoint.as_str())
        .with_region("us-east-1")
        .with_bucket_name(bucket)
        .with_access_key_id(server.key.as_str())
        .with_secret_access_key(server.secret.as_str())
        .with_allow_http(true)
        .with_http_connector(connector())
        .build();
    Arc::new(store.unwrap())
}

/// The container at an endpoint that has the account in its path.
pub(crate) fn azure(endpoint: &str, key: &str, container: &str) -> Arc<dyn ObjectStore> {
    let store = MicrosoftAzureBuilder::new()
        .with_account(endpoint.rsplit_once('/').expect("an account").1)
        .with_access_key(key)
        .with_container_name(container)
        .with_endpoint(endpoint.to_owned())
        .with_allow_http(true)
        .with_http_connector(connector())
        .build();
    Arc::new(store.unwrap())
}

/// A bucket as anybody sees it.
pub(crate) enum Raw {
    /// Through a client of the store.
    Client(Arc<dyn ObjectStore>),
    /// Through Google's JSON API.
    Json(Box<JsonBucket>),
}

impl Raw {
    pub(crate) async fn put(&self, key: &str, bytes: impl Into<bytes::Bytes>) {
        match self {
            Self::Client(store) => {
                let path = Path::parse(key).unwrap();
                store.put(&path, bytes.into().into()).await.unwrap();
            }
            Self::Json(bucket) => bucket.put(key, bytes.into()).await,
        }
    }

    pub(crate) async fn remove(&self, key: &str) {
        match self {
            Self::Client(store) => store.delete(&Path::parse(key).unwrap()).await.unwrap(),
            Self::Json(bucket) => bucket.remove(key).await,
        }
    }

    /// Every object, with its media type.
    async fn all(&self) -> BTreeMap<String, String> {
        let store = match self {
            Self::Client(store) => store,
            Self::Json(bucket) => return bucket.all().await,
        };
        let all: Vec<_> = store.list(None).try_collect().await.unwrap();
        let mut objects = BTreeMap::new();
        for meta in all {
            let got = store.get(&meta.location).await.unwrap();
            let kind = got.attributes.get(&Attribute::ContentType);
            let kind = kind.map(|kind| kind.to_string()).unwrap_or_default();
            objects.insert(meta.location.to_string(), kind);
        }
        objects
    }

    /// Every object but ours, with its media type.
    pub(crate) async fn objects(&self) -> BTreeMap<String, String> {
        let mut all = self.all().await;
        all.retain(|name, _| !name.starts_with(".dipylon/"));
        all
    }

    /// What of ours there is.
    pub(crate) async fn ours(&self) -> Vec<String> {
        self.all().await.into_keys().filter(|name| name.starts_with(".dipylon/")).collect()
    }
}

/// A bucket of Google's JSON API.
pub(crate) struct JsonBucket {
    /// The emulator.
    base: String,
    bucket: String,
    connector: Connector,
}

impl JsonBucket {
    /// Makes the bucket.
    pub(crate) async fn make(base: &str, bucket: &str) -> Self {
        let (base, name) = (base.to_owned(), bucket.to_owned());
        let bucket = Self { base, bucket: name, connector: connector() };
        let body = format!("{{\"name\":\"{}\"}}", bucket.bucket);
        bucket.ask(Method::POST, "/storage/v1/b?project=dipylon".to_owned(), body.into()).await;
        bucket
    }

    async fn put(&self, key: &str, bytes: bytes::Bytes) {
        let (bucket, name) = (&self.bucket, encoded(key));
        let path = format!("/upload/storage/v1/b/{bucket}/o?uploadType=media&name={name}");
        self.ask(Method::POST, path, bytes).await;
    }

    async fn remove(&self, key: &str) {
        let path = format!("/storage/v1/b/{}/o/{}", self.bucket, encoded(key));
        self.ask(Method::DELETE, path, bytes::Bytes::new()).await;
    }

    async fn all(&self) -> BTreeMap<String, String> {
        let path = format!("/storage/v1/b/{}/o?maxResults=5000", self.bucket);
        let listed = self.ask(Method::GET, path, bytes::Bytes::new()).await;
        let listed: serde_json::Value = serde_json::from_slice(&listed).unwrap();
        let items = listed["items"].as_array().cloned().unwrap_or_default();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        items.iter().map(|item| (text(&item["name"]), text(&item["contentType"]))).collect()
    }

    async fn ask(&self, method: Method, path: String, body: bytes::Bytes) -> bytes::Bytes {
        let request = http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .body(HttpRequestBody::from(body))
            .unwrap();
        let answer = self.connector.send(request).await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.into_body().bytes().await.unwrap()
    }
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
