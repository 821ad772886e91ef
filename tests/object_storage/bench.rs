//! A store on a real server, and the same bucket seen without the gateway's code.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use dipylon_middleware::ports::Storage;
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::storage_suite::{Subject, read_range};
use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{Attribute, ObjectStore, ObjectStoreExt as _, PutOptions};

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
}

impl Bench {
    pub(crate) fn storage(&self) -> &Arc<dyn Storage> {
        self.subject.storage()
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
pub(crate) struct Raw(pub(crate) Arc<dyn ObjectStore>);

impl Raw {
    pub(crate) async fn put(&self, key: &str, bytes: impl Into<bytes::Bytes>) {
        let path = Path::parse(key).unwrap();
        let options = PutOptions::default();
        self.0.put_opts(&path, bytes.into().into(), options).await.unwrap();
    }

    pub(crate) async fn remove(&self, key: &str) {
        self.0.delete(&Path::parse(key).unwrap()).await.unwrap();
    }

    /// Every object but ours, with its media type.
    pub(crate) async fn objects(&self) -> BTreeMap<String, String> {
        let all: Vec<_> = self.0.list(None).try_collect().await.unwrap();
        let mut objects = BTreeMap::new();
        for meta in all {
            let name = meta.location.to_string();
            if name.starts_with(".dipylon/") {
                continue;
            }
            let got = self.0.get(&meta.location).await.unwrap();
            let kind = got.attributes.get(&Attribute::ContentType);
            objects.insert(name, kind.map(|kind| kind.to_string()).unwrap_or_default());
        }
        objects
    }

    /// What of ours there is.
    pub(crate) async fn ours(&self) -> Vec<String> {
        let ours = Path::parse(".dipylon").unwrap();
        let all: Vec<_> = self.0.list(Some(&ours)).try_collect().await.unwrap();
        all.into_iter().map(|meta| meta.location.to_string()).collect()
    }
}

/// How Athens lays a version out in a store of this kind.
#[derive(Clone, Copy)]
pub(crate) enum Names {
    Directory,
    #[expect(dead_code, reason = "no store of this build has this layout")]
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

pub(crate) fn bytes_of(module: &FakeModule, kind: FileKind) -> bytes::Bytes {
    match kind {
        FileKind::Info => module.info().into(),
        FileKind::Mod => module.go_mod_bytes(),
        FileKind::Zip => module.zip(),
    }
}

/// Lays these objects of a version out by hand.
pub(crate) async fn lay_out(raw: &Raw, names: Names, module: &FakeModule, kinds: &[FileKind]) {
    for kind in kinds {
        raw.put(&names.of(module, *kind), bytes_of(module, *kind)).await;
    }
}
