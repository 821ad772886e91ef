use std::time::SystemTime;

use bytes::Bytes;
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;

use crate::blob::Blob;
use crate::error::{Error, ErrorKind};
use crate::ports::{CatalogPage, NewVersion, SaveResult, StorageCall, StorageReply};
use crate::request::{RequestContext, StorageRequest};
use crate::response::Stored;
use crate::stack::Border;
use crate::telemetry::Phase;

/// The storage stack with typed methods: what layers hold.
#[derive(Clone, Debug)]
pub struct StorageHandle {
    stack: Border<StorageRequest, StorageReply>,
}

impl StorageHandle {
    /// Over the border of the storage stack.
    pub fn new(stack: Border<StorageRequest, StorageReply>) -> Self {
        Self { stack }
    }

    async fn call(
        &self,
        context: &RequestContext,
        operation: StorageCall,
    ) -> Result<StorageReply, Error> {
        let _waits = context.timings.enter(Phase::Storage);
        self.stack.send(StorageRequest { context: context.clone(), operation }).await
    }

    /// Versions of a module that are stored whole.
    ///
    /// # Errors
    /// Those of the backend and of the storage stack; so for all methods.
    pub async fn list(
        &self,
        context: &RequestContext,
        module: &ModulePath,
    ) -> Result<Vec<Version>, Error> {
        match self.call(context, StorageCall::List(module.clone())).await? {
            StorageReply::Versions(versions) => Ok(versions),
            _ => Err(wrong_reply()),
        }
    }

    /// One file of a whole version.
    pub async fn read(
        &self,
        context: &RequestContext,
        module: &ModulePath,
        version: &Version,
        kind: FileKind,
    ) -> Result<Option<Blob>, Error> {
        let call = StorageCall::Read(module.clone(), version.clone(), kind);
        match self.call(context, call).await? {
            StorageReply::Blob(blob) => Ok(blob),
            _ => Err(wrong_reply()),
        }
    }

    /// These files of a version; `None` unless all of them are stored.
    pub async fn stored(
        &self,
        context: &RequestContext,
        module: &ModulePath,
        version: &Version,
        kinds: &[FileKind],
    ) -> Result<Option<Stored>, Error> {
        let mut stored = Stored::default();
        for kind in kinds {
            let Some(blob) = self.read(context, module, version, *kind).await? else {
                return Ok(None);
            };
            stored.put(*kind, blob);
        }
        Ok(Some(stored))
    }

    /// Saves a whole version.
    pub async fn save(
        &self,
        context: &RequestContext,
        version: NewVersion,
    ) -> Result<SaveResult, Error> {
        match self.call(context, StorageCall::Save(Box::new(version))).await? {
            StorageReply::Saved(result) => Ok(result),
            _ => Err(wrong_reply()),
        }
    }

    /// A page of everything stored.
    pub async fn catalog(
        &self,
        context: &RequestContext,
        token: Option<String>,
        limit: usize,
    ) -> Result<CatalogPage, Error> {
        match self.call(context, StorageCall::Catalog(token, limit)).await? {
            StorageReply::Page(page) => Ok(page),
            _ => Err(wrong_reply()),
        }
    }

    /// A file of ours.
    pub async fn read_extra(
        &self,
        context: &RequestContext,
        key: &str,
    ) -> Result<Option<Bytes>, Error> {
        match self.call(context, StorageCall::ReadExtra(key.into())).await? {
            StorageReply::Extra(bytes) => Ok(bytes),
            _ => Err(wrong_reply()),
        }
    }

    /// Writes a file of ours.
    pub async fn write_extra(
        &self,
        context: &RequestContext,
        key: &str,
        bytes: Bytes,
    ) -> Result<(), Error> {
        self.call(context, StorageCall::WriteExtra(key.into(), bytes)).await.map(drop)
    }

    /// Removes a file of ours.
    pub async fn remove_extra(&self, context: &RequestContext, key: &str) -> Result<(), Error> {
        self.call(context, StorageCall::RemoveExtra(key.into())).await.map(drop)
    }

    /// Whether storage can be used now.
    pub async fn check(&self, context: &RequestContext) -> Result<(), Error> {
        self.call(context, StorageCall::Check).await.map(drop)
    }

    /// A `.info` or `.mod` that was stored before its zip.
    pub async fn read_early(
        &self,
        context: &RequestContext,
        module: &ModulePath,
        version: &Version,
        kind: FileKind,
    ) -> Result<Option<Bytes>, Error> {
        self.read_extra(context, &early_key(module, version, kind)).await
    }

    /// Stores a `.info` or `.mod` before its zip.
    pub async fn write_early(
        &self,
        context: &RequestContext,
        module: &ModulePath,
        version: &Version,
        kind: FileKind,
        bytes: Bytes,
    ) -> Result<(), Error> {
        self.write_extra(context, &early_key(module, version, kind), bytes).await
    }

    /// Removes what was stored before the zip: a version that is whole has it all.
    pub async fn remove_early(
        &self,
        context: &RequestContext,
        module: &ModulePath,
        version: &Version,
    ) -> Result<(), Error> {
        for kind in [FileKind::Info, FileKind::Mod] {
            let key = early_key(module, version, kind);
            self.call(context, StorageCall::RemoveExtra(key.into())).await?;
        }
        Ok(())
    }

    /// Why a version is in quarantine, and since when.
    pub async fn read_quarantine(
        &self,
        context: &RequestContext,
        module: &ModulePath,
        version: &Version,
    ) -> Result<Option<(Error, SystemTime)>, Error> {
        let key = quarantine_key(module, version);
        let Some(bytes) = self.read_extra(context, &key).await? else { return Ok(None) };
        let damaged = |why: &dyn std::fmt::Display| {
            Error::new(ErrorKind::Storage, format!("the record .dipylon/{key} is damaged: {why}"))
        };
        let record: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|error| damaged(&error))?;
        let reason = record["reason"].as_str().unwrap_or("unknown reason");
        let kind = match record["kind"].as_str() {
            Some(BAD_CONTENT) => ErrorKind::BadContent,
            _ => ErrorKind::ChecksumMismatch,
        };
        let seconds = std::time::Duration::from_secs(record["since"].as_u64().unwrap_or(0));
        let since = SystemTime::UNIX_EPOCH.checked_add(seconds);
        let since = since.ok_or_else(|| damaged(&"its time is beyond all clocks"))?;
        Ok(Some((Error::new(kind, reason).written_down(), since)))
    }

    /// Puts a version into quarantine from now on, for what was wrong with it.
    pub async fn write_quarantine(
        &self,
        context: &RequestContext,
        module: &ModulePath,
        version: &Version,
        wrong: &Error,
    ) -> Result<(), Error> {
        let since = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let kind = match wrong.kind() {
            ErrorKind::BadContent => BAD_CONTENT,
            _ => "checksum_mismatch",
        };
        let record = serde_json::json!({ "kind": kind, "reason": wrong.message(), "since": since });
        let bytes = record.to_string().into();
        self.write_extra(context, &quarantine_key(module, version), bytes).await
    }
}

/// The kind of a quarantine record whose zip breaks the rules.
const BAD_CONTENT: &str = "bad_content";

// None of our names may look like a stored file: Athens takes any `*.info` below the root of a disk,
// and any key with `/@v/` in a bucket, for a version.

fn early_key(module: &ModulePath, version: &Version, kind: FileKind) -> String {
    format!("early/{}/@/{}/{}", module.escaped(), version.escaped(), kind.as_str())
}

fn quarantine_key(module: &ModulePath, version: &Version) -> String {
    format!("quarantine/{}/@/{}.json", module.escaped(), version.escaped())
}

fn wrong_reply() -> Error {
    Error::new(ErrorKind::Internal, "storage answered another question than it was asked")
}
