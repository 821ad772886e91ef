use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dipylon_protocol::route::FileKind;
use http::StatusCode;
use opentelemetry::trace::{Link, SpanKind, TraceContextExt as _, Tracer as _};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::error::{Error, ErrorKind};
use crate::ports::Fetcher;
use crate::request::{FileRequest, Plan, Planned, RequestContext, StashKey, StashRequest, Want};
use crate::response::{Answer, ModuleResponse, Stashed};
use crate::stack::{Border, stage};
use crate::telemetry::{InFlight, Outcome, Phase, Telemetry, span};

/// Background stashes that may wait or run.
pub const BACKGROUND_MAX: usize = 10_000;

/// Does what a plan says.
#[derive(Clone)]
pub struct Dispatch {
    stash: Border<StashRequest, Stashed>,
    fetcher: Arc<dyn Fetcher>,
    background: Arc<Semaphore>,
    background_timeout: Duration,
    tasks: TaskTracker,
    telemetry: Telemetry,
}

impl Dispatch {
    /// Stashes through `stash`; `fetcher` says which modules come as whole versions. Background
    /// stashes are counted by `tasks`, which a drain waits for.
    pub fn new(
        stash: Border<StashRequest, Stashed>,
        fetcher: Arc<dyn Fetcher>,
        background_timeout: Duration,
        tasks: TaskTracker,
        telemetry: &Telemetry,
    ) -> Self {
        let background = Arc::new(Semaphore::new(BACKGROUND_MAX));
        let telemetry = telemetry.clone();
        Self { stash, fetcher, background, background_timeout, tasks, telemetry }
    }

    async fn handle(self, planned: Planned) -> Result<ModuleResponse, Error> {
        let Planned { request, plan } = planned;
        match plan {
            Plan::Stash => self.stash_now(request).await,
            Plan::StashInBackground => {
                self.stash_later(&request);
                Err(absent(&request, ErrorKind::AsyncAccepted, "is being fetched: ask again"))
            }
            Plan::Redirect(location) => Ok(redirect(location)),
            Plan::RedirectAndStash(location) => {
                self.stash_later(&request);
                Ok(redirect(location))
            }
            Plan::Refuse => {
                let why = "is not stored, and the mode (DownloadMode none, or offline) forbids to fetch it";
                Err(absent(&request, ErrorKind::NotStored, why))
            }
        }
    }

    async fn stash_now(self, request: FileRequest) -> Result<ModuleResponse, Error> {
        let started = Instant::now();
        let timings = Arc::clone(&request.context.timings);
        let asked = request.version.clone();
        let kind = request.kind;
        let stash = self.stash_request(request.context.clone(), &request, kind);
        let stashed = self.stash.send(stash).await;
        timings.add(Phase::Stash, started);
        let Stashed { version, files, outcome, .. } = stashed?;
        let content = files.get(kind).ok_or_else(|| {
            Error::new(ErrorKind::Internal, "a stash ended without the file it was asked for")
        })?;
        let mut response = ModuleResponse::new(Answer::File { kind, version, content }, outcome);
        response.asked = asked.canonical().is_none().then_some(asked);
        Ok(response)
    }

    fn stash_later(&self, request: &FileRequest) {
        let metrics = &self.telemetry.metrics;
        let Ok(place) = Arc::clone(&self.background).try_acquire_owned() else {
            metrics.background_refused.get(()).inc();
            tracing::warn!(module = %request.module, version = %request.version,
                "too many background fetches: this one is left out");
            return;
        };
        let active = InFlight::enter(metrics.background_active.get(()));
        let deadline = tokio::time::Instant::now() + self.background_timeout;
        let context = RequestContext {
            id: Arc::clone(&request.context.id),
            trace: linked_trace(&request.context),
            deadline,
            timings: Arc::default(),
        };
        // A zip brings its `.info` and `.mod` along: one 404 is enough for all three, as in Athens.
        let stash = self.stash_request(context.clone(), request, FileKind::Zip);
        let stash = self.stash.send(stash);
        let (module, version) = (request.module.clone(), request.version.clone());
        self.tasks.spawn(async move {
            let _held = (place, active);
            let outcome = match stash.await {
                Ok(stashed) => {
                    stashed.finished.wait().await;
                    stashed.outcome
                }
                Err(error) => {
                    tracing::warn!(request_id = %context.id, %module, %version, %error,
                        "a background fetch failed");
                    error.outcome()
                }
            };
            span::end(&context.trace, outcome, None);
        });
    }

    fn stash_request(
        &self,
        context: RequestContext,
        request: &FileRequest,
        kind: FileKind,
    ) -> StashRequest {
        let want = if self.fetcher.fetches_whole_versions(&request.module) {
            Want::Version
        } else {
            Want::File(kind)
        };
        let (module, version) = (request.module.clone(), request.version.clone());
        StashRequest { context, key: StashKey { module, version, want } }
    }
}

/// A new trace, linked to the request that caused it: the request's own trace ends before.
fn linked_trace(cause: &RequestContext) -> opentelemetry::Context {
    let link = Link::with_context(cause.trace.span().span_context().clone());
    let tracer = opentelemetry::global::tracer(span::SCOPE);
    let root = opentelemetry::Context::new();
    let background = tracer
        .span_builder("background_stash")
        .with_kind(SpanKind::Internal)
        .with_links(vec![link])
        .start_with_context(&tracer, &root);
    root.with_span(background)
}

fn redirect(location: String) -> ModuleResponse {
    let answer = Answer::Redirect { location, status: StatusCode::FOUND };
    ModuleResponse::new(answer, Outcome::Redirected)
}

fn absent(request: &FileRequest, kind: ErrorKind, why: &str) -> Error {
    let FileRequest { module, version, .. } = request;
    Error::new(kind, format!("not found: {module}@{version} {why}"))
}

impl fmt::Debug for Dispatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dispatch({} background places free)", self.background.available_permits())
    }
}

stage!(Dispatch: Planned => ModuleResponse);
