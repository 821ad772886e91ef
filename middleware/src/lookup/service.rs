use std::time::Instant;

use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use tower::util::ServiceExt as _;

use crate::error::Error;
use crate::request::{FileRequest, Missed};
use crate::response::{Answer, Content, ModuleResponse};
use crate::stack::{Stage, stage};
use crate::storage_io::StorageHandle;
use crate::telemetry::{Outcome, Phase};

/// Answers from storage, else calls `S`.
#[derive(Clone, Debug)]
pub struct Lookup<S> {
    pub(super) inner: S,
    pub(super) storage: StorageHandle,
}

impl<S: Stage<Missed, Reply = ModuleResponse>> Lookup<S> {
    async fn handle(self, request: FileRequest) -> Result<ModuleResponse, Error> {
        // A query is never a stored name; Athens looks it up all the same and never finds it.
        if let Some(version) = request.version.canonical().cloned() {
            let started = Instant::now();
            let found = self.find(&request, &version).await;
            request.context.timings.add(Phase::Lookup, started);
            if let Some(content) = found? {
                let answer = Answer::File { kind: request.kind, version, content };
                return Ok(ModuleResponse::new(answer, Outcome::HitStorage));
            }
        }
        self.inner.oneshot(Missed { request }).await
    }

    async fn find(
        &self,
        request: &FileRequest,
        version: &Version,
    ) -> Result<Option<Content>, Error> {
        let FileRequest { context, module, kind, .. } = request;
        if let Some(blob) = self.storage.read(context, module, version, *kind).await? {
            return Ok(Some(Content::Stored(blob)));
        }
        if *kind == FileKind::Zip {
            return Ok(None);
        }
        if let Some(early) = self.storage.read_early(context, module, version, *kind).await? {
            return Ok(Some(Content::Bytes(early)));
        }
        // A commit between the two looks has taken the early file away: then the version is whole.
        let blob = self.storage.read(context, module, version, *kind).await?;
        Ok(blob.map(Content::Stored))
    }
}

stage!(Lookup<S>: FileRequest => ModuleResponse, over Missed => ModuleResponse);
