//! A store on a real server, and the same bucket seen without the gateway's code.

use std::sync::Arc;

use dipylon_middleware::ports::Storage;
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use dipylon_testkit::athens::{Names, bytes_of};
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::storage_suite::{Subject, read_range};

use crate::raw::Raw;

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

    /// Lays whole versions out by hand.
    pub(crate) async fn lay_out_all(&self, modules: impl Iterator<Item = FakeModule>) {
        let put = |name: String, bytes| async move { self.raw.put(&name, bytes).await };
        self.names.lay_out(modules, put).await;
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
