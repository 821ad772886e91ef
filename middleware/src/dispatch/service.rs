use std::fmt;
use std::sync::Arc;

use http::StatusCode;

use super::background::Background;
use crate::error::{Error, ErrorKind};
use crate::ports::Fetcher;
use crate::request::{FileRequest, Plan, Planned, StashKey, StashRequest, Want};
use crate::response::{Answer, ModuleResponse, Stashed};
use crate::stack::{Border, stage};
use crate::telemetry::{Outcome, Phase};

/// Does what a plan says.
#[derive(Clone)]
pub struct Dispatch {
    stash: Border<StashRequest, Stashed>,
    fetcher: Arc<dyn Fetcher>,
    background: Background,
}

impl Dispatch {
    /// Stashes through `stash`, or in the `background`; `fetcher` says which modules come as whole versions.
    pub fn new(
        stash: Border<StashRequest, Stashed>,
        fetcher: Arc<dyn Fetcher>,
        background: Background,
    ) -> Self {
        Self { stash, fetcher, background }
    }

    async fn handle(&self, planned: Planned) -> Result<ModuleResponse, Error> {
        let Planned { request, plan } = planned;
        match plan {
            Plan::Stash => self.stash_now(request).await,
            Plan::StashInBackground => Err(match self.background.accept(&request).await {
                true => absent(&request, ErrorKind::AsyncAccepted, "is being fetched: ask again"),
                false => forbidden(&request),
            }),
            Plan::Redirect(location) => Ok(redirect(location)),
            Plan::RedirectAndStash(location) => {
                self.background.accept(&request).await;
                Ok(redirect(location))
            }
            Plan::Refuse => Err(forbidden(&request)),
        }
    }

    async fn stash_now(&self, request: FileRequest) -> Result<ModuleResponse, Error> {
        let asked = request.version.clone();
        let kind = request.kind;
        let stash = self.stash_request(&request);
        let waits = request.context.timings.enter(Phase::Stash);
        let stashed = self.stash.send(stash).await;
        drop(waits);
        let Stashed { version, files, outcome, forward, .. } = stashed?;
        let cache_status = files.cache_status.clone();
        let content = files.get(kind).ok_or_else(|| {
            Error::new(ErrorKind::Internal, "a stash ended without the file it was asked for")
        })?;
        let mut response = ModuleResponse::new(Answer::File { kind, version, content }, outcome);
        (response.cache_status, response.forward) = (cache_status, forward);
        response.asked = asked.canonical().is_none().then_some(asked);
        Ok(response)
    }

    fn stash_request(&self, request: &FileRequest) -> StashRequest {
        let want = if self.fetcher.fetches_whole_versions(&request.module) {
            Want::Version
        } else {
            Want::File(request.kind)
        };
        let (module, version) = (request.module.clone(), request.version.clone());
        let context = request.context.clone();
        StashRequest { context, key: StashKey { module, version, want } }
    }
}

fn redirect(location: String) -> ModuleResponse {
    let answer = Answer::Redirect { location, status: StatusCode::FOUND };
    ModuleResponse::new(answer, Outcome::Redirected)
}

fn forbidden(request: &FileRequest) -> Error {
    let why = "is not stored, and policy (DownloadMode none, offline, or what storage alone resolves) \
               forbids to fetch it";
    absent(request, ErrorKind::NotStored, why)
}

fn absent(request: &FileRequest, kind: ErrorKind, why: &str) -> Error {
    let FileRequest { module, version, .. } = request;
    Error::new(kind, format!("not found: {module}@{version} {why}"))
}

impl fmt::Debug for Dispatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dispatch({:?})", self.background)
    }
}

stage!(Dispatch: Planned => ModuleResponse);
