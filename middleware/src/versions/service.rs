use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dipylon_protocol::info::{Info, MAX_INFO_BYTES};
use dipylon_protocol::list::ListFilter;
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::query::VersionQuery;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use http_body_util::BodyExt as _;
use tokio::time::Instant;
use tower::util::ServiceExt as _;

use super::answers::{Answers, Kept, Look, Times, Within, is_failure};
use super::{NetworkMode, VersionsConfig, merge};
use crate::blob::Blob;
use crate::body;
use crate::error::{Error, ErrorKind};
use crate::flight::{NoLanding, Role};
use crate::missing_paths::{MissingPaths, Question};
use crate::ports::{Decision, Fetched, ListSource, Payload, Policy};
use crate::purge::Era;
use crate::remember::Weigh;
use crate::request::{Ask, FetchAsk, FetchRequest, FileRequest, ModuleRequest, RequestContext};
use crate::response::{Answer, HasOutcome as _, ModuleResponse};
use crate::stack::{Border, Stage, stage};
use crate::storage_io::StorageHandle;
use crate::telemetry::{Found, Metrics, Outcome, Phase, RouteName, Tier};

pub(super) type Key = (ModulePath, Question);
/// The body of a list, or of latest, and how it came about.
pub(super) type Said = (Bytes, Outcome);
pub(super) type QueryKey = (ModulePath, VersionQuery);

/// An answer for which upstream is not asked first.
pub(super) struct AtHand {
    body: Bytes,
    pub(super) outcome: Outcome,
    age: Option<Duration>,
    /// Why it is the answer, for who looks on.
    pub(super) why: &'static str,
}

/// What asking brought: the answer, and how upstream failed where it did.
struct Asked {
    kept: Kept<Said>,
    failure: Option<Error>,
}

impl Weigh for Outcome {
    fn bytes(&self) -> u64 {
        0
    }
}

/// What all calls share.
pub(super) struct Shared {
    pub(super) config: VersionsConfig,
    pub(super) upstream: Border<FetchRequest, Fetched>,
    pub(super) storage: StorageHandle,
    pub(super) policy: Arc<dyn Policy>,
    pub(super) lists: Answers<Key, Said>,
    /// Which versions queries stand for.
    pub(super) queries: Answers<QueryKey, Version>,
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
    async fn handle(self, request: ModuleRequest) -> Result<ModuleResponse, Error> {
        let ModuleRequest { context, module, ask } = request;
        match ask {
            Ask::List => self.shared.listed(context, module, Question::List).await,
            Ask::Latest => self.shared.listed(context, module, Question::Latest).await,
            Ask::File(version, kind) => {
                self.file(FileRequest { context, module, version, kind }).await
            }
        }
    }

    async fn file(self, request: FileRequest) -> Result<ModuleResponse, Error> {
        if request.version.canonical().is_some() {
            return self.inner.oneshot(request).await;
        }
        let (asked, kind) = (request.version.clone(), request.kind);
        let (shared, module) = (Arc::clone(&self.shared), request.module.clone());
        let before = shared.is_for_storage(&module, Question::List);
        let mut result = self.clone().query(request.clone()).await;
        if !before && shared.is_withdrawn(&result, &module, Question::List) {
            result = self.query(request).await;
        }
        shared.count(kind.into(), &result);
        let mut response = result?;
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
        result
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

    async fn answer(
        self: Arc<Self>,
        context: RequestContext,
        module: ModulePath,
        question: Question,
    ) -> Result<ModuleResponse, Error> {
        let decision = self.policy.decide(&module);
        let mode = self.network_mode(&decision, question);
        let key = (module, question);
        if let Some(at_hand) = self.at_hand(&context, &key, mode, &self.times(&decision)).await? {
            let AtHand { body, outcome, age, .. } = at_hand;
            if outcome == Outcome::StaleRevalidate {
                let refresh = Arc::clone(&self).refreshed(context, key.clone(), mode);
                self.lists.revalidate(&key, refresh);
            }
            return Ok(response(question, body, outcome, age));
        }
        let call = Arc::clone(&self).refreshed(context.clone(), key.clone(), mode);
        // The question is on a task of its own, and goes on by itself.
        let goes_on = || std::future::ready(());
        let within = self.within(&context);
        let _waits = context.timings.enter(Phase::Stash);
        let (kept, role) = match self.lists.unless_late(&key, within, call, goes_on).await {
            Ok(refreshed) => refreshed?,
            Err(((body, _), age)) => {
                warn_late(&key.0, &question, age);
                return Ok(response(question, body, Outcome::StaleError, Some(age)));
            }
        };
        let (body, outcome) = kept?;
        let outcome = match (outcome, role) {
            (Outcome::MissLeader, Role::Follower) => Outcome::MissFollower,
            (outcome, _) => outcome,
        };
        Ok(response(question, body, outcome, None))
    }

    /// What answers a question before upstream is asked, if anything does. Changes nothing, so who foretells goes
    /// by it too.
    pub(super) async fn at_hand(
        &self,
        context: &RequestContext,
        key: &Key,
        mode: NetworkMode,
        times: &Times,
    ) -> Result<Option<AtHand>, Error> {
        let (module, question) = key;
        let answer = |body, outcome, age, why| Ok(Some(AtHand { body, outcome, age, why }));
        if mode == NetworkMode::Offline {
            let body = self.stored(context, module, *question, mode).await?;
            let body = body.ok_or_else(|| nothing_stored(module))?;
            return answer(body, Outcome::HitStorage, None, "storage alone answers");
        }
        match self.lists.look(key, times) {
            Look::Fresh(kept, age) if !self.is_refuted(times, key, &kept) => {
                let (body, _) = kept.map_err(Error::remembered)?;
                let why = "an answer is kept that is fresh";
                return answer(body, Outcome::HitMemory, Some(age), why);
            }
            Look::Revalidate((body, _), age) => {
                let why = "an answer is kept; a newer one is fetched behind it";
                return answer(body, Outcome::StaleRevalidate, Some(age), why);
            }
            Look::Failing((body, _), age) => {
                let why = "upstream has just failed: the answer of before is given";
                return answer(body, Outcome::StaleError, Some(age), why);
            }
            Look::Fresh(..) | Look::Ask => {}
        }
        if mode == NetworkMode::Fallback
            && self.lists.has_just_failed(key)
            && let Some(body) = self.stored(context, module, *question, mode).await?
            && !body.is_empty()
        {
            let why = "upstream has just failed: what is stored is the answer";
            return answer(body, Outcome::HitStorage, None, why);
        }
        Ok(None)
    }

    pub(super) fn within(&self, context: &RequestContext) -> Within {
        Within { deadline: context.deadline, stale_if_error: self.config.stale_if_error }
    }

    /// Asks upstream and keeps the answer; once for all who ask at the same time.
    async fn refreshed(
        self: Arc<Self>,
        context: RequestContext,
        key: Key,
        mode: NetworkMode,
    ) -> Result<(Kept<Said>, Role), Error> {
        let (question, deadline) = (key.1, context.deadline);
        let shared = Arc::clone(&self);
        let landed = self
            .lists
            .ask(key.clone(), deadline, |landing| async move {
                let era = shared.missing.purges().era(&key.0);
                let asked = shared.ask(&context, &key, mode).await;
                landing.land(shared.keep(&key, asked, era));
            })
            .await;
        landed.map_err(|why| unfinished(&question, why))
    }

    /// Whether something has been found at the path since it was said that nothing is there.
    fn is_refuted(&self, times: &Times, (module, question): &Key, kept: &Kept<Said>) -> bool {
        let is_absent = kept.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound);
        is_absent && !self.missing.is_missing(module, *question, times.negative_for)
    }

    /// Keeps what may be kept of what was asked in that era; gives an older answer where upstream fails now.
    fn keep(&self, key: &Key, asked: Asked, era: Era) -> Kept<Said> {
        let Asked { kept, failure } = asked;
        if let Ok((listed, Outcome::MissDegraded)) = kept {
            return Ok((self.with_older(key, listed), Outcome::MissDegraded));
        }
        // Policy's word is none about the module.
        if failure.as_ref().is_some_and(|error| error.kind() == ErrorKind::NotStored) {
            return kept;
        }
        // Who came after a purge of it has asked anew, and may have been answered: then this is for those who wait.
        let purges = self.missing.purges();
        let Some(error) = failure.as_ref().filter(|error| is_failure(error)) else {
            let write = || {
                if failure.is_none_or(|error| error.kind().is_absence()) {
                    self.learn(key, &kept);
                    self.lists.keep(key.clone(), kept.clone());
                } else {
                    // It refuses: there is nothing to remember, and what it gave before is not given any more.
                    self.lists.drop_one(key);
                }
            };
            let undo = || {
                self.missing.exists(&key.0);
                self.lists.drop_one(key);
            };
            purges.learn(&key.0, era, write, undo);
            return kept;
        };
        let is_of_now = purges.is_still(&key.0, era);
        let age_max = self.config.stale_if_error;
        let older = match is_of_now {
            true => self.lists.failed(key, age_max),
            false => self.lists.older(key, age_max),
        };
        let Some(((body, _), age)) = older else { return kept };
        let (module, _) = key;
        tracing::warn!(%module, %error, age_seconds = age.as_secs(),
            "upstream fails: answered with an older list");
        Ok((body, Outcome::StaleError))
    }

    /// Whether there is anything at the path.
    fn learn(&self, (module, question): &Key, kept: &Kept<Said>) {
        match kept {
            Ok(_) => self.missing.exists(module),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.missing.missing(module, *question, error);
            }
            Err(_) => {}
        }
    }

    /// A list of upstream's alone, and after it what an older answer had besides: what is stored only, and what
    /// upstream has taken back since. It is for those who wait, and for nobody later, so that storage is asked
    /// again the next time.
    fn with_older(&self, key: &Key, listed: Bytes) -> Bytes {
        match self.lists.older(key, self.config.stale_if_error) {
            Some(((older, _), _)) => merge::bodies(&listed, &older),
            _ => listed,
        }
    }

    async fn ask(&self, context: &RequestContext, key: &Key, mode: NetworkMode) -> Asked {
        let (module, question) = key;
        let error = match self.ask_upstream(context, module, *question).await {
            Ok(answer) => return Asked { kept: Ok(answer), failure: None },
            Err(error) => error,
        };
        let gone = error.kind().is_absence();
        if !gone && mode == NetworkMode::Strict {
            return Asked { kept: Err(error.clone()), failure: Some(error) };
        }
        // Upstream does not have it (any more), or may be replaced: what is stored is the answer.
        let kept = match self.stored(&self.patient(context), module, *question, mode).await {
            Ok(stored) => match stored.filter(|body| !body.is_empty()) {
                Some(body) => Ok((body, Outcome::HitStorage)),
                None => Err(error.clone()),
            },
            // Storage is no authority on what upstream says: nothing of this may be kept.
            Err(failure) => return Asked { kept: Err(failure.clone()), failure: Some(failure) },
        };
        Asked { kept, failure: Some(error) }
    }

    /// A deadline for one call from now on: the first caller's patience is not everybody's, and what
    /// upstream has used up is not storage's.
    pub(super) fn patient(&self, context: &RequestContext) -> RequestContext {
        let mut context = context.clone();
        context.deadline = Instant::now() + self.config.timeout;
        context
    }

    async fn ask_upstream(
        &self,
        context: &RequestContext,
        module: &ModulePath,
        question: Question,
    ) -> Result<(Bytes, Outcome), Error> {
        let context = self.patient(context);
        let ask = match question {
            Question::List => FetchAsk::List,
            Question::Latest => FetchAsk::Latest,
        };
        let request = FetchRequest::new(context.clone(), module.clone(), ask);
        let fetched = self.upstream.send(request).await?;
        let Payload::Bytes(body) = fetched.payload else {
            return Err(Error::new(ErrorKind::Internal, "upstream answered another question"));
        };
        let bad = |error: &dyn fmt::Display| {
            let what = if question == Question::List { "list" } else { "@latest" };
            let text = format!("{} sent a wrong {what} for {module}: {error}", fetched.upstream);
            Error::new(ErrorKind::BadContent, text)
        };
        if question == Question::Latest {
            Info::parse(&body).map_err(|error| bad(&error))?;
            // A copy: the slice may keep a whole network buffer alive that nobody weighs.
            return Ok((Bytes::copy_from_slice(&body), Outcome::MissLeader));
        }
        let mut filter = ListFilter::new(module);
        filter.push(&body).map_err(|error| bad(&error))?;
        let listed = filter.finish().map_err(|error| bad(&error))?;
        let (stored, outcome) = match self.storage.list(&self.patient(&context), module).await {
            Ok(stored) => (stored, Outcome::MissLeader),
            // What upstream lists can be had from there.
            Err(error) if error.is_of_storage() => {
                tracing::warn!(%module, %error, "listed without what is stored");
                (Vec::new(), Outcome::MissDegraded)
            }
            Err(error) => return Err(error),
        };
        Ok((merge::body(&merge::merge(listed, stored)), outcome))
    }

    /// The answer from storage alone; `None` for latest where nothing is stored.
    pub(super) async fn stored(
        &self,
        context: &RequestContext,
        module: &ModulePath,
        question: Question,
        mode: NetworkMode,
    ) -> Result<Option<Bytes>, Error> {
        let stored = self.storage.list(context, module).await?;
        if question == Question::List {
            let offline = mode == NetworkMode::Offline;
            let releases = merge::releases(stored.clone());
            // Releases hide pseudo-versions, except offline, where nothing else says they exist.
            let listed = if offline || releases.is_empty() { stored } else { releases };
            return Ok(Some(merge::body(&listed)));
        }
        let Some(newest) = merge::newest(&stored) else { return Ok(None) };
        let blob = self.storage.read(context, module, &newest, FileKind::Info).await?;
        match blob {
            Some(blob) => read_info(module, &newest, &blob).await.map(Some),
            None => Ok(None),
        }
    }
}

/// The bytes of a stored `.info`, wherever they are.
async fn read_info(module: &ModulePath, version: &Version, blob: &Blob) -> Result<Bytes, Error> {
    if blob.length() > MAX_INFO_BYTES as u64 {
        let text = format!(
            "the stored .info of {module}@{version} has {} bytes, more than any .info: replace it",
            blob.length()
        );
        return Err(Error::new(ErrorKind::Storage, text));
    }
    let body = body::blob(blob, 0..blob.length());
    Ok(body.collect().await?.to_bytes())
}

fn response(
    question: Question,
    body: Bytes,
    outcome: Outcome,
    age: Option<Duration>,
) -> ModuleResponse {
    let answer = match question {
        Question::List => Answer::List(body),
        Question::Latest => Answer::Latest(body),
    };
    ModuleResponse { age, ..ModuleResponse::new(answer, outcome) }
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
        ),
        NoLanding::Crashed => Error::new(ErrorKind::Internal, "the call crashed; ask again"),
    }
}
