//! Reading a file of a version, and whether the version is whole.
//!
//! A server of ours answers for whole versions only. Of any other, a version is looked at once: the `.info`
//! names it, the `.mod` has text, and there is a zip of at least the bytes of an empty one. It is remembered,
//! and the next reads ask for one file each; one that is gone since is looked at again. A miss costs one
//! request.

use bytes::Bytes;
use dipylon_middleware::blob::Blob;
use dipylon_middleware::error::Error;
use dipylon_protocol::gomod::MAX_GO_MOD_BYTES;
use dipylon_protocol::info::MAX_INFO_BYTES;
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use http::StatusCode;

use super::super::whole::{MIN_ZIP_BYTES, go_mod_is_whole, info_is_whole};
use super::Engine;
use super::link::Reply;
use super::wire::version_path;

/// What a server that is not ours has of a version.
pub(super) struct Whole {
    info: Bytes,
    pub(super) go_mod: Bytes,
    zip: Reply,
}

impl Engine {
    /// One file of a whole version.
    pub(super) async fn read(
        &self,
        module: &ModulePath,
        version: &Version,
        kind: FileKind,
    ) -> Result<Option<Blob>, Error> {
        let key = (module.clone(), version.clone());
        if self.is_ours().await? {
            return self.open(module, version, kind).await;
        }
        if self.remembered.get(&key).is_some() {
            if let Some(blob) = self.open(module, version, kind).await? {
                return Ok(Some(blob));
            }
            self.remembered.remove(&key);
        }
        let Some(whole) = self.look(module, version).await? else { return Ok(None) };
        self.remembered.insert(key, ());
        Ok(Some(match kind {
            FileKind::Info => Blob::from_bytes(whole.info),
            FileKind::Mod => Blob::from_bytes(whole.go_mod),
            FileKind::Zip => self.whole_zip(module, version, whole.zip).await?,
        }))
    }

    /// One file, asked for alone; absent too where it cannot be the version's.
    async fn open(
        &self,
        module: &ModulePath,
        version: &Version,
        kind: FileKind,
    ) -> Result<Option<Blob>, Error> {
        match kind {
            FileKind::Info => Ok(self.info(module, version).await?.map(Blob::from_bytes)),
            FileKind::Mod => Ok(self.go_mod(module, version).await?.map(Blob::from_bytes)),
            FileKind::Zip => match self.begin(module, version, kind).await? {
                Some(reply) => self.whole_zip(module, version, reply).await.map(Some),
                None => Ok(None),
            },
        }
    }

    /// Looks at a version of a server that is not ours.
    pub(super) async fn look(
        &self,
        module: &ModulePath,
        version: &Version,
    ) -> Result<Option<Whole>, Error> {
        let Some(info) = self.info(module, version).await? else { return Ok(None) };
        let Some(go_mod) = self.go_mod(module, version).await? else { return Ok(None) };
        let Some(zip) = self.begin(module, version, FileKind::Zip).await? else { return Ok(None) };
        if zip.length.is_some_and(|length| length < MIN_ZIP_BYTES) {
            return Ok(None);
        }
        Ok(Some(Whole { info, go_mod, zip }))
    }

    /// The length of a zip that was looked at.
    pub(super) async fn zip_length(
        &self,
        module: &ModulePath,
        version: &Version,
        whole: Whole,
    ) -> Result<u64, Error> {
        match whole.zip.length {
            Some(length) => Ok(length),
            None => Ok(self.whole_zip(module, version, whole.zip).await?.length()),
        }
    }

    /// The `.info`, if it names the version.
    async fn info(&self, module: &ModulePath, version: &Version) -> Result<Option<Bytes>, Error> {
        let Some(reply) = self.begin(module, version, FileKind::Info).await? else {
            return Ok(None);
        };
        let info = reply.bytes(MAX_INFO_BYTES).await?;
        let named = info_is_whole(&info, version);
        if !named {
            tracing::warn!(%module, %version, "the external store's .info names another version");
        }
        Ok(named.then_some(info))
    }

    async fn go_mod(&self, module: &ModulePath, version: &Version) -> Result<Option<Bytes>, Error> {
        let Some(reply) = self.begin(module, version, FileKind::Mod).await? else {
            return Ok(None);
        };
        let go_mod = reply.bytes(MAX_GO_MOD_BYTES).await?;
        Ok(go_mod_is_whole(&go_mod).then_some(go_mod))
    }

    async fn whole_zip(
        &self,
        module: &ModulePath,
        version: &Version,
        reply: Reply,
    ) -> Result<Blob, Error> {
        let path = version_path(module, version, FileKind::Zip.as_str());
        self.zip(&reading(module, version, FileKind::Zip), &path, reply).await
    }

    /// The answer with a file, its body to come; `None` where the server says that there is none.
    async fn begin(
        &self,
        module: &ModulePath,
        version: &Version,
        kind: FileKind,
    ) -> Result<Option<Reply>, Error> {
        let (what, path) =
            (reading(module, version, kind), version_path(module, version, kind.as_str()));
        let asked = self.link.get(&what, &path, None).await;
        let reply = asked.map_err(|failure| self.link.failed(&what, &path, &failure))?;
        match reply.status {
            StatusCode::OK => Ok(Some(reply)),
            _ if reply.is_absent() => Ok(None),
            _ => Err(reply.refusal().await),
        }
    }
}

fn reading(module: &ModulePath, version: &Version, kind: FileKind) -> String {
    format!("read the .{kind} of {module}@{version}")
}
