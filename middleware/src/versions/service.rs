use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dipylon_protocol::path::ModulePath;
use dipylon_protocol::query::VersionQuery;
use dipylon_protocol::version::Version;
use tokio::time::Instant;

use super::answers::{Answers, Times, Within};
use super::lists::Said;
use super::queries::Resolved;
use super::{NetworkMode, VersionsConfig};
use crate::error::{Error, ErrorKind};
use crate::flight::NoLanding;
use crate::forward::Forward;
use crate::missing_paths::{MissingPaths, Question};
use crate::ports::{Decision, Fetched, ListSource, Policy};
use crate::request::{Ask, FetchRequest, FileRequest, ModuleRequest, RequestContext};
use crate::response::{HasOutcome as _, ModuleResponse};
use crate::stack::{Border, Stage, stage};
use crate::storage_io::StorageHandle;
use crate::telemetry::{Found, Metrics, Outcome, RouteName, Tier};

/// Of an answer that stands in for one that is waited for no longer.
pub(super) const STANDS_IN_FOR_LATE: Forward =
    Forward { asked: true, stale: true, collapsed: false, status: None };

pub(super) type Key = (ModulePath, Question);
pub(super) type QueryKey = (ModulePath, VersionQuery);

/// What all calls share.
pub(super) struct Shared {
    pub(super) config: VersionsConfig,
    pub(super) upstream: Border<FetchRequest, Fetched>,
    pub(super) storage: StorageHandle,
    pub(super) policy: Arc<dyn Policy>,
    pub(super) lists: Answers<Key, Said>,
    /// Which versions queries stand for.
    pub(super) queries: Answers<QueryKey, Version, Resolved>,
    /// Paths that upstream says do not exist.
    pub(super) missing: MissingPaths,
    pub(super) metrics: Arc<Metrics>,
}

/// Answers list and latest; lets files pass to `S`.
#[derive(Clone)]
pub struct Versions<S> {
    pub(super) inner: S,
    pub(super) shared: Arc<Shared>,
}

impl<S> fmt::Debug for Versions<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Versions({:?})", self.shared.config.network_mode)
    }
}

impl<S: Stage<FileRequest, Reply = ModuleResponse>> Versions<S> {
    async fn handle(&self, request: ModuleRequest) -> Result<ModuleResponse, Error> {
        let ModuleRequest { context, module, ask } = request;
        let listed = |context, module, question| {
            Box::pin(Arc::clone(&self.shared).listed(context, module, question))
        };
        match ask {
            Ask::List => listed(context, module, Question::List).await,
            Ask::Latest => listed(context, module, Question::Latest).await,
            Ask::File(version, kind) => {
                let is_query = version.canonical().is_none();
                let request = FileRequest { context, module, version, kind };
                match is_query {
                    false => self.inner.run(request).await,
                    true => Box::pin(self.clone().queried(request)).await,
                }
            }
        }
    }

    /// A file of the version that a query stands for.
    async fn queried(self, request: FileRequest) -> Result<ModuleResponse, Error> {
        let (asked, kind) = (request.version.clone(), request.kind);
        let (shared, module) = (Arc::clone(&self.shared), request.module.clone());
        let before = shared.is_for_storage(&module, Question::List);
        let mut result = self.clone().query(request.clone()).await;
        if !before && shared.is_withdrawn(&result, &module, Question::List) {
            result = self.query(request).await;
        }
        shared.count(kind.into(), &result);
        let mut response = shared.with_ttl(result?, &module);
        response.asked = Some(asked);
        Ok(response)
    }
}

stage!(Versions<S>: ModuleRequest => ModuleResponse, over FileRequest => ModuleResponse);

impl Shared {
    /// The configured mode; offline where the policy wants storage alone to answer.
    pub(super) fn network_mode(&self, decision: &Decision, question: Question) -> NetworkMode {
        let source = match question {
            Question::List => decision.list,
            Question::Latest => decision.latest,
        };
        match source {
            ListSource::Storage => NetworkMode::Offline,
            ListSource::Upstream => self.config.network_mode,
        }
    }

    /// For how long answers are given, by the policy in force.
    pub(super) fn times(&self, decision: &Decision) -> Times {
        let VersionsConfig { fresh_for, negative_for, .. } = self.config;
        Times {
            fresh_for: decision.fresh_for.unwrap_or(fresh_for),
            negative_for: decision.negative_for.unwrap_or(negative_for),
            stale_while_revalidate: self.config.stale_while_revalidate,
            stale_if_error: self.config.stale_if_error,
        }
    }

    /// Whether storage alone answers, by the policy in force.
    fn is_for_storage(&self, module: &ModulePath, question: Question) -> bool {
        let decision = self.policy.decide(module);
        self.network_mode(&decision, question) == NetworkMode::Offline
    }

    /// Whether no upstream was asked because policy has left the question to storage in the meantime: then it is
    /// storage's to answer.
    fn is_withdrawn(
        &self,
        result: &Result<ModuleResponse, Error>,
        module: &ModulePath,
        question: Question,
    ) -> bool {
        let is_refused = result.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotStored);
        is_refused && self.is_for_storage(module, question)
    }

    async fn listed(
        self: Arc<Self>,
        context: RequestContext,
        module: ModulePath,
        question: Question,
    ) -> Result<ModuleResponse, Error> {
        let before = self.is_for_storage(&module, question);
        let this = &self;
        let answer = || Arc::clone(this).answer(context.clone(), module.clone(), question);
        let mut result = answer().await;
        if !before && self.is_withdrawn(&result, &module, question) {
            result = answer().await;
        }
        let route = match question {
            Question::List => RouteName::List,
            Question::Latest => RouteName::Latest,
        };
        self.count(route, &result);
        result.map(|response| self.with_ttl(response, &module))
    }

    /// Says how long the answer stays fresh, where it is one that is asked for again.
    fn with_ttl(&self, mut response: ModuleResponse, module: &ModulePath) -> ModuleResponse {
        let fresh_for = self.times(&self.policy.decide(module)).fresh_for;
        let is_new = matches!(response.outcome, Outcome::MissLeader | Outcome::MissFollower);
        let age = response.age.or(is_new.then_some(Duration::ZERO));
        response.ttl = response.ttl.or(age.map(|age| ttl(fresh_for, age)));
        response
    }

    /// For how long what was just found out is known.
    pub(super) fn new_ttl(&self, module: &ModulePath) -> i64 {
        ttl(self.times(&self.policy.decide(module)).fresh_for, Duration::ZERO)
    }

    /// What was remembered of what was asked, and how old that is.
    fn count(&self, route: RouteName, result: &Result<ModuleResponse, Error>) {
        let found = match result.outcome() {
            Outcome::HitMemory | Outcome::Negative => Found::Hit,
            Outcome::StaleRevalidate | Outcome::StaleError => Found::Stale,
            _ => Found::Miss,
        };
        self.metrics.lookups.get((Tier::Answers, found)).inc();
        if let Ok(ModuleResponse { age: Some(age), .. }) = result {
            self.metrics.served_age_seconds.get((route,)).observe(age.as_secs_f64());
        }
    }

    pub(super) fn within(&self, context: &RequestContext) -> Within {
        Within { deadline: context.deadline, stale_if_error: self.config.stale_if_error }
    }

    /// A deadline for one call from now on: the first caller's patience is not everybody's, and what
    /// upstream has used up is not storage's.
    pub(super) fn patient(&self, context: &RequestContext) -> RequestContext {
        let mut context = context.clone();
        context.deadline = Instant::now() + self.config.timeout;
        context
    }
}

/// Whole seconds that are left of its freshness; below zero where they are over.
pub(super) fn ttl(fresh_for: Duration, age: Duration) -> i64 {
    let seconds = |time: u64| i64::try_from(time).unwrap_or(i64::MAX);
    match fresh_for.checked_sub(age) {
        Some(left) => seconds(left.as_secs()),
        // What has just ended has ended: it is never told as zero.
        None => -seconds(age.saturating_sub(fresh_for).as_secs().saturating_add(1)),
    }
}

/// Upstream is slow, or hangs: who waits gets what there was before.
pub(super) fn warn_late(module: &ModulePath, asked: &dyn fmt::Debug, age: Duration) {
    tracing::warn!(%module, ?asked, age_seconds = age.as_secs(),
        "upstream is late: answered with an older answer, and still asking");
}

pub(super) fn nothing_stored(module: &ModulePath) -> Error {
    let text =
        format!("not found: no version of {module} is stored, and upstream may not be asked");
    Error::new(ErrorKind::NotStored, text)
}

pub(super) fn unfinished(question: &dyn fmt::Debug, why: NoLanding) -> Error {
    match why {
        NoLanding::Overdue => Error::new(
            ErrorKind::DeadlineExceeded,
            format!("upstream takes longer for {question:?} than this request may wait: ask again"),
        )
        .forwarded(),
        NoLanding::Crashed => Error::new(ErrorKind::Internal, "the call crashed; ask again"),
    }
}
