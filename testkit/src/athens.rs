//! Where Athens has the files of a version, for tests that lay versions out without the gateway's code.

use bytes::Bytes;
use dipylon_protocol::route::FileKind;
use futures::StreamExt as _;

use crate::module::FakeModule;

/// Files that are written at once.
const WRITES_AT_ONCE: usize = 64;

/// How Athens names the files of a version.
#[derive(Clone, Copy, Debug)]
pub enum Names {
    /// On a disk and in MinIO: `MODULE/VERSION/go.mod`.
    Directory,
    /// In the other object stores: `MODULE/@v/VERSION.mod`.
    Blob,
}

impl Names {
    /// The name of a file, without a slash before it.
    pub fn of(self, module: &FakeModule, kind: FileKind) -> String {
        let (path, version) = (module.path(), module.version());
        match (self, kind) {
            (Self::Directory, FileKind::Info) => format!("{path}/{version}/{version}.info"),
            (Self::Directory, FileKind::Mod) => format!("{path}/{version}/go.mod"),
            (Self::Directory, FileKind::Zip) => format!("{path}/{version}/source.zip"),
            (Self::Blob, kind) => format!("{path}/@v/{version}.{}", kind.as_str()),
        }
    }

    /// Lays whole versions out: `put` writes the bytes of one file under its name.
    pub async fn lay_out<F: Future<Output = ()>>(
        self,
        modules: impl Iterator<Item = FakeModule>,
        put: impl Fn(String, Bytes) -> F,
    ) {
        let puts = modules.flat_map(|module| {
            FileKind::ALL.map(|kind| put(self.of(&module, kind), bytes_of(&module, kind)))
        });
        futures::stream::iter(puts).buffer_unordered(WRITES_AT_ONCE).collect::<()>().await;
    }
}

/// A file of a version.
pub fn bytes_of(module: &FakeModule, kind: FileKind) -> Bytes {
    match kind {
        FileKind::Info => module.info().into(),
        FileKind::Mod => module.go_mod_bytes(),
        FileKind::Zip => module.zip(),
    }
}
