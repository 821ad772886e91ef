//! Lists, and what is the newest: what is kept of them, upstream, what is stored.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dipylon_protocol::info::{Info, MAX_INFO_BYTES};
use dipylon_protocol::list::ListFilter;
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use http_body_util::BodyExt as _;

use super::answers::{Kept, Look, Times, is_failure};
use super::service::{Key, STANDS_IN_FOR_LATE, Shared, nothing_stored, unfinished, warn_late};
use super::{NetworkMode, merge};
use crate::blob::Blob;
use crate::body;
use crate::error::{Error, ErrorKind};
use crate::flight::Role;
use crate::forward::Forward;
use crate::missing_paths::Question;
use crate::ports::Payload;
use crate::purge::Era;
use crate::remember::Weigh;
use crate::request::{FetchAsk, FetchRequest, RequestContext};
use crate::response::{Answer, ModuleResponse};
use crate::telemetry::{Outcome, Phase};

/// The body of a list, or of latest, and how it came about.
pub(super) type Said = (Bytes, How);

/// An answer for which upstream is not asked first.
pub(super) struct AtHand {
    body: Bytes,
    pub(super) outcome: Outcome,
    age: Option<Duration>,
    /// Why it is the answer, for who looks on.
    pub(super) why: &'static str,
}

/// How an answer came about.
#[derive(Clone, Debug)]
pub(super) struct How {
    outcome: Outcome,
    /// How far the request went, where the outcome does not say it.
    forward: Forward,
    /// How old the answer is, where an older one stands in.
    age: Option<Duration>,
    /// Whether it is given again to who asks next.
    is_kept: bool,
    /// What the upstream said in `Cache-Status`: to who has asked it, and not to who is given the same later.
    cache_status: Option<Arc<str>>,
}

impl How {
    fn new(outcome: Outcome) -> Self {
        let forward = Forward::default();
        Self { outcome, forward, age: None, is_kept: false, cache_status: None }
    }
}

/// What asking brought: the answer, and how upstream failed where it did.
struct Asked {
    kept: Kept<Said>,
    failure: Option<Error>,
}

impl Weigh for How {
    fn bytes(&self) -> u64 {
        self.cache_status.as_ref().map_or(0, |said| said.len() as u64)
    }
}

impl Shared {
    pub(super) async fn answer(
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
        let is_stale = self.lists.older(&key, Duration::MAX).is_some();
        let call = Arc::clone(&self).refreshed(context.clone(), key.clone(), mode);
        // The question is on a task of its own, and goes on by itself.
        let goes_on = || std::future::ready(());
        let within = self.within(&context);
        let _waits = context.timings.enter(Phase::Stash);
        let (kept, role) = match self.lists.unless_late(&key, within, call, goes_on).await {
            Ok(refreshed) => refreshed.map_err(|error| error.beside_older(is_stale))?,
            Err(((body, _), age)) => {
                warn_late(&key.0, &question, age);
                let mut response = response(question, body, Outcome::StaleError, Some(age));
                response.forward = STANDS_IN_FOR_LATE;
                return Ok(response);
            }
        };
        let collapsed = role == Role::Follower;
        let (body, how) = kept.map_err(|error| {
            let error = error.beside_older(is_stale);
            if collapsed { error.collapsed() } else { error }
        })?;
        let outcome = match (how.outcome, role) {
            (Outcome::MissLeader, Role::Follower) => Outcome::MissFollower,
            (outcome, _) => outcome,
        };
        let mut response = response(question, body, outcome, how.age);
        response.forward = Forward { stale: is_stale, collapsed, ..how.forward };
        response.ttl = how.is_kept.then(|| self.new_ttl(&key.0));
        response.cache_status = how.cache_status;
        Ok(response)
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
                let left = times.negative_for.saturating_sub(age);
                let (body, _) = kept.map_err(|error| error.remembered_for(left))?;
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
        let Asked { mut kept, failure } = asked;
        if let Ok((listed, how)) = &kept
            && how.outcome == Outcome::MissDegraded
        {
            return Ok((self.with_older(key, listed.clone()), how.clone()));
        }
        // Policy's word is none about the module.
        if failure.as_ref().is_some_and(|error| error.kind() == ErrorKind::NotStored) {
            return kept;
        }
        // Who came after a purge of it has asked anew, and may have been answered: then this is for those who wait.
        let purges = self.missing.purges();
        let Some(error) = failure.as_ref().filter(|error| is_failure(error)) else {
            let is_known = failure.is_none_or(|error| error.kind().is_absence());
            if let Ok((_, how)) = &mut kept {
                how.is_kept = is_known;
            }
            let write = || {
                if is_known {
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
        let (forward, age) = (error.forward(), Some(age));
        Ok((body, How { forward, age, ..How::new(Outcome::StaleError) }))
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
                Some(body) => {
                    let forward = error.forward();
                    Ok((body, How { forward, ..How::new(Outcome::HitStorage) }))
                }
                None => Err(error.clone()),
            },
            // Storage is no authority on what upstream says: nothing of this may be kept.
            Err(failure) => return Asked { kept: Err(failure.clone()), failure: Some(failure) },
        };
        Asked { kept, failure: Some(error) }
    }

    async fn ask_upstream(
        &self,
        context: &RequestContext,
        module: &ModulePath,
        question: Question,
    ) -> Result<Said, Error> {
        let context = self.patient(context);
        let ask = match question {
            Question::List => FetchAsk::List,
            Question::Latest => FetchAsk::Latest,
        };
        let request = FetchRequest::new(context.clone(), module.clone(), ask);
        let fetched = self.upstream.send(request).await.map_err(Error::forwarded_if_late)?;
        let cache_status = fetched.cache_status;
        let how = |outcome| How { cache_status, ..How::new(outcome) };
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
            return Ok((Bytes::copy_from_slice(&body), how(Outcome::MissLeader)));
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
        Ok((merge::body(&merge::merge(listed, stored)), how(outcome)))
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
