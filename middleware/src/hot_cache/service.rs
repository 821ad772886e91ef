use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use quick_cache::sync::Cache;

use crate::blob::BlobSource;
use crate::error::Error;
use crate::request::FileRequest;
use crate::response::{Answer, Content, ModuleResponse};
use crate::stack::{Stage, stage};
use crate::telemetry::athens::CacheResult;
use crate::telemetry::{Found, Outcome, Parts, Telemetry, Tier};

/// The largest file that is kept, in bytes.
pub const FILE_BYTES_MAX: usize = 64 * 1024;

/// What an entry weighs beside its bytes.
const ENTRY_BYTES: u64 = 160;

pub(super) type Key = (ModulePath, Version, FileKind);
pub(super) type Files = Cache<Key, Bytes, WeighBytes>;

#[derive(Clone)]
pub(super) struct WeighBytes;

impl quick_cache::Weighter<Key, Bytes> for WeighBytes {
    fn weight(&self, key: &Key, bytes: &Bytes) -> u64 {
        ENTRY_BYTES + (key.0.as_str().len() + key.1.as_str().len() + bytes.len()) as u64
    }
}

/// Answers from memory, else calls `S` and keeps what is small and immutable.
#[derive(Clone)]
pub struct HotCache<S> {
    pub(super) inner: S,
    pub(super) files: Option<Arc<Files>>,
    pub(super) telemetry: Telemetry,
}

impl<S> fmt::Debug for HotCache<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HotCache({} files)", self.files.as_ref().map_or(0, |files| files.len()))
    }
}

impl<S: Stage<FileRequest, Reply = ModuleResponse>> HotCache<S> {
    async fn handle(&self, request: FileRequest) -> Result<ModuleResponse, Error> {
        let Some((files, key)) = self.files.as_ref().zip(key(&request)) else {
            return Box::pin(self.inner.run(request)).await;
        };
        let Parts { metrics, athens, .. } = &*self.telemetry;
        if let Some(bytes) = files.get(&key) {
            metrics.lookups.get((Tier::Memory, Found::Hit)).inc();
            if let Some(athens) = athens {
                athens.looked(request.kind, CacheResult::Hit);
            }
            let (_, version, kind) = key;
            let answer = Answer::File { kind, version, content: Content::Bytes(bytes) };
            return Ok(ModuleResponse::new(answer, Outcome::HitMemory));
        }
        metrics.lookups.get((Tier::Memory, Found::Miss)).inc();
        let response = Box::pin(self.inner.run(request)).await?;
        // What upstream said while storage could not be asked is not what storage may have.
        let is_degraded = response.outcome == Outcome::MissDegraded;
        if let Some(bytes) = small(&response).filter(|_| !is_degraded) {
            files.insert(key, bytes);
            metrics.memory_bytes.get(()).set(i64::try_from(files.weight()).unwrap_or(i64::MAX));
            metrics.memory_files.get(()).set(i64::try_from(files.len()).unwrap_or(i64::MAX));
        }
        Ok(response)
    }
}

pub(super) fn key(request: &FileRequest) -> Option<Key> {
    Some((request.module.clone(), request.version.canonical()?.clone(), request.kind))
}

fn small(response: &ModuleResponse) -> Option<Bytes> {
    let Answer::File { content, .. } = &response.answer else { return None };
    let bytes = match content {
        Content::Bytes(bytes) => bytes,
        Content::Stored(blob) => match blob.source() {
            BlobSource::Bytes(bytes) => bytes,
            _ => return None,
        },
        Content::Spooled(_) => return None,
    };
    // A copy: the slice may keep a whole network buffer alive that nobody weighs.
    (bytes.len() <= FILE_BYTES_MAX).then(|| Bytes::copy_from_slice(bytes))
}

stage!(HotCache<S>: FileRequest => ModuleResponse, over FileRequest => ModuleResponse);
