use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use http::StatusCode;

use crate::error::Error;
use crate::request::{FileRequest, Missed};
use crate::response::{Answer, Content, ModuleResponse};
use crate::stack::{Stage, stage};
use crate::storage_io::StorageHandle;
use crate::telemetry::athens::CacheResult;
use crate::telemetry::{Found, Outcome, Parts, Telemetry, Tier};

/// Answers from storage, else calls `S`.
#[derive(Clone, Debug)]
pub struct Lookup<S> {
    pub(super) inner: S,
    pub(super) storage: StorageHandle,
    pub(super) telemetry: Telemetry,
}

impl<S: Stage<Missed, Reply = ModuleResponse>> Lookup<S> {
    async fn handle(&self, request: FileRequest) -> Result<ModuleResponse, Error> {
        // A query is never a stored name; Athens looks it up all the same and never finds it.
        if let Some(version) = request.version.canonical().cloned() {
            match find(&self.storage, &request, &version).await {
                Ok(Some(content)) => {
                    self.count(request.kind, Found::Hit);
                    let answer = Answer::File { kind: request.kind, version, content };
                    return Ok(ModuleResponse::new(answer, Outcome::HitStorage));
                }
                Ok(None) => self.count(request.kind, Found::Miss),
                Err(error) if error.is_of_storage() => {
                    return self.without_storage(request, error).await;
                }
                Err(error) => return Err(error),
            }
        }
        self.inner.run(Missed { request }).await
    }

    fn count(&self, kind: FileKind, found: Found) {
        let Parts { metrics, athens, .. } = &*self.telemetry;
        metrics.lookups.get((Tier::Storage, found)).inc();
        if let Some(athens) = athens {
            let is_hit = found == Found::Hit;
            athens.looked(kind, if is_hit { CacheResult::Hit } else { CacheResult::Miss });
        }
    }

    /// Lets upstream answer where storage could not be asked.
    async fn without_storage(
        &self,
        request: FileRequest,
        failure: Error,
    ) -> Result<ModuleResponse, Error> {
        tracing::debug!(request_id = %request.context.id, module = %request.module,
            version = %request.version, error = %failure, "storage fails: upstream is asked");
        match self.inner.run(Missed { request }).await {
            Ok(mut response) => {
                if matches!(response.outcome, Outcome::MissLeader | Outcome::MissFollower) {
                    response.outcome = Outcome::MissDegraded;
                }
                Ok(response)
            }
            Err(error) if is_about_the_version(&error) => Err(failure.and_then(&error)),
            Err(error) => Err(error),
        }
    }
}

/// The file, from a whole version, or from before its zip was there.
pub(super) async fn find(
    storage: &StorageHandle,
    request: &FileRequest,
    version: &Version,
) -> Result<Option<Content>, Error> {
    let FileRequest { context, module, kind, .. } = request;
    if let Some(blob) = storage.read(context, module, version, *kind).await? {
        return Ok(Some(Content::Stored(blob)));
    }
    if *kind == FileKind::Zip {
        return Ok(None);
    }
    if let Some(early) = storage.read_early(context, module, version, *kind).await? {
        return Ok(Some(Content::Bytes(early)));
    }
    // A commit between the two looks has taken the early file away: then the version is whole.
    let blob = storage.read(context, module, version, *kind).await?;
    Ok(blob.map(Content::Stored))
}

/// Whether an error says something of the version, which might be stored all the same; 5xx and 429 say only
/// that nothing could be found out.
fn is_about_the_version(error: &Error) -> bool {
    let status = error.kind().row().status;
    status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS
}

stage!(Lookup<S>: FileRequest => ModuleResponse, over Missed => ModuleResponse);
