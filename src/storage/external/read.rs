//! Reading a file of a version, and whether the version is whole.
//!
//! A server of ours answers for whole versions only. Of any other, a version is looked at once: the `.info`
//! names it, the `.mod` has text, and the zip has its end. The end is asked for with `Range`, so that no
//! more than a little of the zip is sent; a server that knows none would send all of it, and there the end
//! is looked at when the zip itself is read.
//!
//! What was seen is remembered, and the next reads ask for one file each; one that is gone since, or a zip
//! of another length, is looked at again. A miss costs one request.

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
use super::zip::End;

/// What a server that is not ours has of a version.
pub(super) struct Whole {
    info: Bytes,
    pub(super) go_mod: Bytes,
    pub(super) zip: Zip,
}

/// Its zip.
pub(super) enum Zip {
    /// Its length, with its end where it should be.
    Seen(u64),
    /// It comes whole, and nobody knows yet how it ends.
    Begun(Reply),
}

/// What is remembered of a version: the length of its zip, once its end was seen.
#[derive(Clone, Copy)]
pub(super) struct Known {
    zip_bytes: Option<u64>,
}

impl Engine {
    /// One file of a whole version.
    pub(super) async fn read(
        &self,
        module: &ModulePath,
        version: &Version,
        kind: FileKind,
    ) -> Result<Option<Blob>, Error> {
        if self.is_ours().await? {
            return match kind {
                FileKind::Zip => self.zip_of_ours(module, version).await,
                _ => self.small(module, version, kind).await,
            };
        }
        if let Some(known) = self.remembered.get(&(module.clone(), version.clone())) {
            let found = match kind {
                FileKind::Zip => self.zip_again(module, version, known).await?,
                _ => self.small(module, version, kind).await?,
            };
            if found.is_some() {
                return Ok(found);
            }
            self.forget(module, version);
        }
        let Some(whole) = self.look(module, version).await? else { return Ok(None) };
        let seen = match whole.zip {
            Zip::Seen(length) => Some(length),
            Zip::Begun(reply) if kind == FileKind::Zip => {
                return self.zip_seen(module, version, reply).await;
            }
            Zip::Begun(_) => None,
        };
        self.remember(module, version, seen);
        match (kind, seen) {
            (FileKind::Info, _) => Ok(Some(Blob::from_bytes(whole.info))),
            (FileKind::Mod, _) => Ok(Some(Blob::from_bytes(whole.go_mod))),
            (FileKind::Zip, Some(length)) => {
                self.stored_zip(module, version, length, None).map(Some)
            }
            (FileKind::Zip, None) => Ok(None),
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
        let zip = match self.end_of_zip(module, version).await? {
            End::Absent => return Ok(None),
            End::Torn => {
                warn_of_torn(module, version);
                return Ok(None);
            }
            End::Whole(length) => Zip::Seen(length),
            End::Unasked(reply) if reply.length.is_some_and(|length| length < MIN_ZIP_BYTES) => {
                return Ok(None);
            }
            End::Unasked(reply) => Zip::Begun(reply),
        };
        Ok(Some(Whole { info, go_mod, zip }))
    }

    /// The length of a zip that was looked at; `None` where it turns out to be torn.
    pub(super) async fn zip_length(
        &self,
        module: &ModulePath,
        version: &Version,
        zip: Zip,
    ) -> Result<Option<u64>, Error> {
        match zip {
            Zip::Seen(length) => Ok(Some(length)),
            Zip::Begun(reply) => {
                Ok(self.zip_seen(module, version, reply).await?.map(|zip| zip.length()))
            }
        }
    }

    /// The zip of a server that answers for what it sends.
    async fn zip_of_ours(
        &self,
        module: &ModulePath,
        version: &Version,
    ) -> Result<Option<Blob>, Error> {
        let Some(reply) = self.begin(module, version, FileKind::Zip).await? else {
            return Ok(None);
        };
        if let Some(length) = reply.length {
            return self.stored_zip(module, version, length, Some(reply)).map(Some);
        }
        // Something between us and the server took its length away.
        let counted = self.counted(module, version, reply).await?;
        counted.map(Some).ok_or_else(|| self.wrong_zip(module, version, "the zip has no end"))
    }

    /// The zip of a version that was looked at before; `None` where it is no more, or torn.
    async fn zip_again(
        &self,
        module: &ModulePath,
        version: &Version,
        known: Known,
    ) -> Result<Option<Blob>, Error> {
        let Some(reply) = self.begin(module, version, FileKind::Zip).await? else {
            return Ok(None);
        };
        match reply.length {
            Some(length) if known.zip_bytes == Some(length) => {
                self.stored_zip(module, version, length, Some(reply)).map(Some)
            }
            _ => self.zip_seen(module, version, reply).await,
        }
    }

    /// Takes a whole zip, and remembers its version if it has its end; `None` where it has none.
    async fn zip_seen(
        &self,
        module: &ModulePath,
        version: &Version,
        reply: Reply,
    ) -> Result<Option<Blob>, Error> {
        let counted = self.counted(module, version, reply).await?;
        match &counted {
            Some(zip) => self.remember(module, version, Some(zip.length())),
            None => warn_of_torn(module, version),
        }
        Ok(counted)
    }

    fn remember(&self, module: &ModulePath, version: &Version, zip_bytes: Option<u64>) {
        self.remembered.insert((module.clone(), version.clone()), Known { zip_bytes });
    }

    pub(super) fn forget(&self, module: &ModulePath, version: &Version) {
        self.remembered.remove(&(module.clone(), version.clone()));
    }

    /// `.info` or `.mod`, asked for alone; absent too where it cannot be the version's.
    async fn small(
        &self,
        module: &ModulePath,
        version: &Version,
        kind: FileKind,
    ) -> Result<Option<Blob>, Error> {
        let bytes = match kind {
            FileKind::Info => self.info(module, version).await?,
            _ => self.go_mod(module, version).await?,
        };
        Ok(bytes.map(Blob::from_bytes))
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

    /// The answer with a file, its body to come; `None` where the server says that there is none.
    pub(super) async fn begin(
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

fn warn_of_torn(module: &ModulePath, version: &Version) {
    tracing::warn!(%module, %version, "the external store's zip has no end: the version is absent");
}

pub(super) fn reading(module: &ModulePath, version: &Version, kind: FileKind) -> String {
    format!("read the .{kind} of {module}@{version}")
}
