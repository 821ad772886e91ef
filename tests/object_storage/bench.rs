//! A store on a real server, and the same bucket seen without the gateway's code.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use dipylon::storage::object::Connector;
use dipylon_middleware::ports::Storage;
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::storage_suite::{Subject, read_range};
use futures::TryStreamExt as _;
use http::Method;
use object_store::client::HttpRequestBody;
use object_store::path::Path;
use object_store::{Attribute, ObjectStore, ObjectStoreExt as _};

/// A server as `DIPYLON_TEST_…` names it: `http://KEY:SECRET@HOST:PORT`.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) endpoint: String,
    pub(crate) key: String,
    pub(crate) secret: String,
}

impl Server {
    pub(crate) fn of(variable: &str) -> Self {
        let url = std::env::var(variable)
            .unwrap_or_else(|_| panic!("{variable} is not set: cargo xtask test sets it"));
        let (scheme, rest) = url.split_once("://").expect("a scheme");
        let (user, host) = rest.split_once('@').expect("credentials");
        let (key, secret) = user.split_once(':').expect("a key and a secret");
        Self {
            endpoint: format!("{scheme}://{}", host.trim_end_matches('/')),
            key: key.to_owned(),
            secret: secret.to_owned(),
        }
    }
}

/// A bucket name that no other test has.
pub(crate) fn fresh_bucket() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("t{}-{}-{number}", time.as_millis(), std::process::id())
}

/// A store and its bucket.
pub(crate) struct Bench {
    pub(crate) subject: Subject,
    pub(crate) raw: Raw,
    /// How Athens names objects in such a store.
    pub(crate) names: Names,
    /// Athens's media types of info, mod and zip.
    pub(crate) types: [&'static str; 3],
    /// The variables that lead the program to the same store.
    pub(crate) settings: Vec<(&'static str, String)>,
}

impl Bench {
    pub(crate) fn storage(&self) -> &Arc<dyn Storage> {
        self.subject.storage()
    }

    /// Lays these objects of a version out by hand.
    pub(crate) async fn lay_out(&self, module: &FakeModule, kinds: &[FileKind]) {
        for kind in kinds {
            self.raw.put(&self.names.of(module, *kind), bytes_of(module, *kind)).await;
        }
    }

    pub(crate) async fn read(&self, module: &FakeModule, kind: FileKind) -> Option<Vec<u8>> {
        let (path, version) = names(module);
        let blob = self.storage().read(&path, &version, kind).await.unwrap()?;
        Some(read_range(&blob, 0..blob.length()).await.unwrap().to_vec())
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

    pub(crate) async fn catalog(&self) -> Vec<String> {
        let page = self.storage().catalog(None, 0).await.unwrap();
        page.entries
            .into_iter()
            .map(|entry| format!("{}@{}", entry.module, entry.version))
            .collect()
    }
}

pub(crate) fn names(module: &FakeModule) -> (ModulePath, Version) {
    (ModulePath::parse(module.path()).unwrap(), Version::parse(module.version()).unwrap())
}

/// A bucket as anybody sees it.
pub(crate) enum Raw {
    /// Through a client of the store.
    Client(Arc<dyn ObjectStore>),
    /// Through Google's JSON API.
    Json(JsonBucket),
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
    pub(crate) base: String,
    pub(crate) bucket: String,
}

impl JsonBucket {
    pub(crate) async fn make(&self) {
        let body = format!("{{\"name\":\"{}\"}}", self.bucket);
        self.ask(Method::POST, "/storage/v1/b?project=dipylon".to_owned(), body.into()).await;
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
        let connector = Connector::new(&|_| None).unwrap();
        let answer = connector.send(request).await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.into_body().bytes().await.unwrap()
    }
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// How Athens lays a version out in a store of this kind.
#[derive(Clone, Copy)]
pub(crate) enum Names {
    Directory,
    Blob,
}

impl Names {
    pub(crate) fn of(self, module: &FakeModule, kind: FileKind) -> String {
        let (path, version) = (module.path(), module.version());
        match (self, kind) {
            (Self::Directory, FileKind::Info) => format!("{path}/{version}/{version}.info"),
            (Self::Directory, FileKind::Mod) => format!("{path}/{version}/go.mod"),
            (Self::Directory, FileKind::Zip) => format!("{path}/{version}/source.zip"),
            (Self::Blob, kind) => format!("{path}/@v/{version}.{}", kind.as_str()),
        }
    }
}

fn bytes_of(module: &FakeModule, kind: FileKind) -> bytes::Bytes {
    match kind {
        FileKind::Info => module.info().into(),
        FileKind::Mod => module.go_mod_bytes(),
        FileKind::Zip => module.zip(),
    }
}
