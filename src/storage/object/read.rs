//! Reading a file of a version, and whether the version is whole.
//!
//! Whole means: the `.info` names the version, the `.mod` has text, and the zip has at least the bytes of
//! an empty one. A store commits each object whole, so there is no need to look into the zip for its
//! end; but Athens writes the three at the same time to some stores, so an `.info` alone proves nothing.
//!
//! A version that was found whole is remembered: the next reads ask for one object each. One that is gone
//! since is looked at again.

use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use dipylon_middleware::blob::{Blob, ByteStream, OpenRange, PresignedUrl};
use dipylon_middleware::error::Error;
use dipylon_middleware::ports::BoxFuture;
use dipylon_protocol::gomod::MAX_GO_MOD_BYTES;
use dipylon_protocol::info::MAX_INFO_BYTES;
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use object_store::ObjectMeta;

use super::super::whole::{MIN_ZIP_BYTES, go_mod_is_whole, info_is_whole};
use super::Engine;
use super::client::Client;
use super::presign::Signing;

/// What there is of a version.
pub(super) enum Look {
    /// No `.info`.
    Absent,
    /// An `.info` that proves nothing.
    Torn,
    /// All of it.
    Whole(Whole),
}

/// What was seen of a whole version.
pub(super) struct Whole {
    pub(super) info: Bytes,
    pub(super) go_mod: Bytes,
    pub(super) zip: ObjectMeta,
}

impl Engine {
    /// One file of a whole version.
    pub(super) async fn read(
        &self,
        module: &ModulePath,
        version: &Version,
        kind: FileKind,
    ) -> Result<Option<Blob>, Error> {
        let key = self.layout.key(module, version, kind)?;
        if self.is_remembered(module, version) {
            if let Some(blob) = self.open(&key, kind).await? {
                return Ok(Some(blob));
            }
            self.forget(module, version);
        }
        let Look::Whole(whole) = self.look(module, version).await? else { return Ok(None) };
        self.remember(module, version);
        match kind {
            FileKind::Info => Ok(Some(Blob::from_bytes(whole.info))),
            FileKind::Mod => Ok(Some(Blob::from_bytes(whole.go_mod))),
            FileKind::Zip => Ok(Some(self.remote(&key, whole.zip))),
        }
    }

    async fn open(&self, key: &str, kind: FileKind) -> Result<Option<Blob>, Error> {
        let bytes_max = match kind {
            FileKind::Info => MAX_INFO_BYTES,
            FileKind::Mod => MAX_GO_MOD_BYTES,
            FileKind::Zip => {
                let meta = self.client.head(key).await?;
                return Ok(meta.map(|meta| self.remote(key, meta)));
            }
        };
        let bytes = self.client.get(key, bytes_max).await?;
        Ok(bytes.map(|(bytes, _)| Blob::from_bytes(bytes)))
    }

    fn remote(&self, key: &str, meta: ObjectMeta) -> Blob {
        let stored_at = Some(SystemTime::from(meta.last_modified));
        let object = Object {
            client: self.client.clone(),
            key: key.to_owned(),
            tag: meta.e_tag,
            length: meta.size,
            signing: self.signing.clone(),
        };
        // A store that does not say when leaves the beginning of time there.
        let stored_at = stored_at.filter(|at| *at > SystemTime::UNIX_EPOCH);
        Blob::remote(Arc::new(object), meta.size).since(stored_at)
    }

    /// Looks at a version. The `.info` is asked for first and alone: a version that is not there, which
    /// is what most looks find, costs one request.
    pub(super) async fn look(&self, module: &ModulePath, version: &Version) -> Result<Look, Error> {
        let key = |kind| self.layout.key(module, version, kind);
        let (info, go_mod, zip) = (key(FileKind::Info)?, key(FileKind::Mod)?, key(FileKind::Zip)?);
        let Some((info, _)) = self.client.get(&info, MAX_INFO_BYTES).await? else {
            return Ok(Look::Absent);
        };
        if !info_is_whole(&info, version) {
            return Ok(Look::Torn);
        }
        let go_mod = self.client.get(&go_mod, MAX_GO_MOD_BYTES);
        let (go_mod, zip) = tokio::join!(go_mod, self.client.head(&zip));
        Ok(match (go_mod?, zip?) {
            (Some((go_mod, _)), Some(zip))
                if go_mod_is_whole(&go_mod) && zip.size >= MIN_ZIP_BYTES =>
            {
                Look::Whole(Whole { info, go_mod, zip })
            }
            _ => Look::Torn,
        })
    }

    pub(super) fn remember(&self, module: &ModulePath, version: &Version) {
        self.remembered.insert((module.clone(), version.clone()), ());
    }

    fn is_remembered(&self, module: &ModulePath, version: &Version) -> bool {
        self.remembered.get(&(module.clone(), version.clone())).is_some()
    }

    fn forget(&self, module: &ModulePath, version: &Version) {
        self.remembered.remove(&(module.clone(), version.clone()));
    }
}

/// A stored object that is read in parts.
struct Object {
    client: Client,
    key: String,
    /// Its tag when it was looked at: another object under its name is not mixed into an answer.
    tag: Option<String>,
    length: u64,
    signing: Option<Arc<Signing>>,
}

impl OpenRange for Object {
    fn open(&self, range: Range<u64>) -> ByteStream {
        self.client.stream(&self.key, range, self.tag.clone())
    }

    fn presigned(&self) -> BoxFuture<'_, Option<PresignedUrl>> {
        Box::pin(async move {
            let signing = self.signing.as_ref()?;
            signing.url(&self.client, &self.key, self.length).await
        })
    }
}
