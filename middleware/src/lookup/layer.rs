use std::time::SystemTime;

use bytes::Bytes;
use dipylon_protocol::info::MAX_INFO_BYTES;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use http_body_util::BodyExt as _;
use serde_json::{Map, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tower::Layer;

use super::service::{Lookup, find};
use crate::blob::{Blob, StoreTier};
use crate::body;
use crate::error::Error;
use crate::explain::{Ending, Facts, Foretold, ROWS_TOLD_MAX, Subject, Tells, file_of};
use crate::ports::BoxFuture;
use crate::request::ModuleRequest;
use crate::storage_io::StorageHandle;
use crate::telemetry::{Outcome, Telemetry};

/// Makes [`Lookup`]s.
#[derive(Clone, Debug)]
pub struct LookupLayer {
    storage: StorageHandle,
    telemetry: Telemetry,
}

impl LookupLayer {
    /// Looks in `storage`.
    pub fn new(storage: StorageHandle, telemetry: &Telemetry) -> Self {
        Self { storage, telemetry: telemetry.clone() }
    }
}

impl LookupLayer {
    async fn stored(&self, about: &Subject, version: &Version) -> Result<Facts, Error> {
        let Subject { context, module, .. } = about;
        let (mut files, mut early, mut info) = (Map::new(), Map::new(), Facts::Null);
        let (mut tiers, mut since) = (Map::new(), None);
        for kind in FileKind::ALL {
            let stored = self.storage.read(context, module, version, kind).await?;
            if let Some(blob) = stored {
                files.insert(kind.as_str().to_owned(), blob.length().into());
                tiers
                    .extend(blob.tier().map(|tier| (kind.as_str().to_owned(), named(tier).into())));
                since = blob.stored_at().or(since);
                if kind == FileKind::Info {
                    info = shown_info(&read_small(&blob).await?);
                }
            } else if kind != FileKind::Zip
                && let Some(bytes) = self.storage.read_early(context, module, version, kind).await?
            {
                early.insert(kind.as_str().to_owned(), bytes.len().into());
                if kind == FileKind::Info {
                    info = shown_info(&bytes);
                }
            }
        }
        let is_whole = files.len() == FileKind::ALL.len();
        let quarantine = self.storage.read_quarantine(context, module, version).await?;
        let quarantine = quarantine.map(|(wrong, since)| {
            let age = since.elapsed().unwrap_or_default().as_secs();
            json!({ "outcome": wrong.outcome().as_str(), "reason": wrong.message(), "age_seconds": age })
        });
        let files = json!({
            "bytes": files,
            "early_bytes": early,
            "whole": is_whole,
            "tiers": tiers,
            "since": since.and_then(said),
        });
        Ok(json!({ "files": files, "info": info, "quarantine": quarantine }))
    }

    async fn listed(&self, about: &Subject) -> Result<Facts, Error> {
        let versions = self.storage.list(&about.context, &about.module).await?;
        let shown: Vec<&str> =
            versions.iter().rev().map(Version::as_str).take(ROWS_TOLD_MAX).collect();
        Ok(json!({ "versions": versions.len(), "some": shown }))
    }
}

/// Where a near tier stands before the store: which of the two has a file.
fn named(tier: StoreTier) -> &'static str {
    match tier {
        StoreTier::Near => "near",
        StoreTier::Far => "far",
    }
}

/// A time for people; one beyond their calendar is none.
fn said(time: SystemTime) -> Option<String> {
    OffsetDateTime::from(time).format(&Rfc3339).ok()
}

/// What it says of the version; what cannot be read says nothing.
fn shown_info(bytes: &[u8]) -> Facts {
    serde_json::from_slice(bytes).unwrap_or_default()
}

async fn read_small(blob: &Blob) -> Result<Bytes, Error> {
    if blob.length() > MAX_INFO_BYTES as u64 {
        return Ok(Bytes::new());
    }
    Ok(body::blob(blob, 0..blob.length()).collect().await?.to_bytes())
}

impl Tells for LookupLayer {
    fn tell<'a>(&'a self, about: &'a Subject) -> BoxFuture<'a, Facts> {
        Box::pin(async {
            let told = match &about.version {
                None => self.listed(about).await,
                Some(version) => match version.canonical() {
                    Some(version) => self.stored(about, version).await,
                    None => return Facts::Null,
                },
            };
            told.unwrap_or_else(|error| json!({ "trouble": error.message() }))
        })
    }

    fn foretell<'a>(&'a self, request: &'a ModuleRequest) -> BoxFuture<'a, Foretold> {
        Box::pin(async {
            let Some(file) = file_of(request) else { return Foretold::Passes };
            let Some(version) = file.version.canonical() else { return Foretold::Passes };
            match find(&self.storage, &file, version).await {
                Ok(Some(_)) => Foretold::Ends(Ending::new(Outcome::HitStorage, "it is stored")),
                Ok(None) => Foretold::Passes,
                Err(error) if error.is_of_storage() => {
                    Foretold::Degraded(format!("storage fails: {}", error.message()))
                }
                Err(error) => Foretold::Ends(Ending::with(&error)),
            }
        })
    }
}

impl<S> Layer<S> for LookupLayer {
    type Service = Lookup<S>;

    fn layer(&self, inner: S) -> Lookup<S> {
        Lookup { inner, storage: self.storage.clone(), telemetry: self.telemetry.clone() }
    }
}
