//! What queries stand for: `master`, `v1`, and the like.
//!
//! In most modes those below find it out, with the file that was asked for. In mode `async` nobody waits for files,
//! and a query has none of its own to come back for: upstream is asked for its version alone, at once, as it is
//! for list and latest, and the files of that version come in the background.

use std::sync::Arc;
use std::time::Duration;

use dipylon_protocol::query::VersionQuery;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;

use super::answers::{Kept, Look, Times, is_failure};
use super::service::{
    QueryKey, STANDS_IN_FOR_LATE, Shared, Versions, nothing_stored, ttl, unfinished, warn_late,
};
use super::{NetworkMode, merge};
use crate::error::{Error, ErrorKind};
use crate::flight::Role;
use crate::forward::Forward;
use crate::missing_paths::Question;
use crate::ports::{ListSource, Mode, Payload};
use crate::purge::Era;
use crate::request::{FetchAsk, FetchRequest, FileRequest, RequestContext};
use crate::response::{Answer, ModuleResponse};
use crate::stack::Stage;
use crate::telemetry::{Outcome, Phase};

/// What upstream says that a query stands for.
#[derive(Clone, Debug)]
pub(super) struct Resolved {
    version: Version,
    /// What the upstream said in `Cache-Status`: to who has asked it, and not to who is given the same later.
    cache_status: Option<Arc<str>>,
}

/// What becomes of a request for a file of a query.
pub(super) enum Course {
    /// It goes on as one for this version, for so many seconds yet where that is known.
    Known(Version, Option<i64>),
    /// So it does, and what the query stands for is asked anew behind it.
    Revalidate(Version, Duration),
    /// So it does, because upstream has just failed to say.
    Failing(Version, Duration),
    /// It goes on as it is: nobody may say what the query stands for.
    Passes,
    /// Upstream is asked what the query stands for.
    ResolvedFirst,
    /// Those below find out, with the file.
    ResolvedBelow,
}

impl<S: Stage<FileRequest, Reply = ModuleResponse>> Versions<S> {
    /// A file of the version that a query stands for.
    pub(super) async fn query(self, request: FileRequest) -> Result<ModuleResponse, Error> {
        let Self { inner, shared } = &self;
        let key = (request.module.clone(), request.version.clone());
        match shared.course(&request.context, &key).await? {
            Course::Known(version, ttl) => {
                let mut response = self.known(request, version).await?;
                response.ttl = ttl.or(response.ttl);
                Ok(response)
            }
            Course::Revalidate(version, age) => {
                let refresh = self.clone().resolved(key.clone(), shared.patient(&request.context));
                shared.queries.revalidate(&key, refresh);
                let not_asked = Forward::default();
                self.stale(request, (version, age), Outcome::StaleRevalidate, not_asked).await
            }
            Course::Failing(version, age) => {
                let not_asked = Forward::default();
                self.stale(request, (version, age), Outcome::StaleError, not_asked).await
            }
            Course::Passes => inner.run(request).await,
            Course::ResolvedFirst => self.resolved_first(request, key).await,
            Course::ResolvedBelow => self.unknown(request, key).await,
        }
    }

    /// A file of a query that those below resolve; that of an older answer where they fail to.
    async fn unknown(&self, request: FileRequest, key: QueryKey) -> Result<ModuleResponse, Error> {
        let asked = self.shared.missing.purges().era(&key.0);
        let is_stale = self.shared.queries.older(&key, Duration::MAX).is_some();
        let call = self.inner.run(request.clone());
        let patient = self.shared.patient(&request.context);
        let goes_on = || self.clone().resolved(key.clone(), patient);
        let within = self.shared.within(&request.context);
        let result = match self.shared.queries.unless_late(&key, within, call, goes_on).await {
            Ok(result) => result,
            Err(older) => {
                warn_late(&key.0, &key.1, older.1);
                return self.stale(request, older, Outcome::StaleError, STANDS_IN_FOR_LATE).await;
            }
        };
        let older = self.shared.learn_query(&key, found(&result), asked);
        match (result, older) {
            (Err(error), Some(older)) => {
                let forward = Forward { stale: true, ..error.forward() };
                let stale = self.stale(request, older, Outcome::StaleError, forward).await;
                stale.map_err(|_| error.beside_older(is_stale))
            }
            (Ok(mut response), _) => {
                response.forward.stale = is_stale;
                response.ttl = found_in(&response).map(|_| self.shared.new_ttl(&key.0));
                Ok(response)
            }
            (Err(error), None) => Err(error.beside_older(is_stale)),
        }
    }

    /// A file of the version that upstream says a query stands for; of an older answer where it fails to say.
    async fn resolved_first(
        &self,
        request: FileRequest,
        key: QueryKey,
    ) -> Result<ModuleResponse, Error> {
        let Shared { queries, config, .. } = &*self.shared;
        let is_stale = queries.older(&key, Duration::MAX).is_some();
        let call = self.clone().resolved(key.clone(), request.context.clone());
        // The question is on a task of its own, and goes on by itself.
        let goes_on = || std::future::ready(());
        let within = self.shared.within(&request.context);
        let waits = request.context.timings.enter(Phase::Stash);
        let resolved = match queries.unless_late(&key, within, call, goes_on).await {
            Ok(resolved) => resolved,
            Err(older) => {
                warn_late(&key.0, &key.1, older.1);
                return self.stale(request, older, Outcome::StaleError, STANDS_IN_FOR_LATE).await;
            }
        };
        drop(waits);
        match resolved {
            Ok((resolved, role)) => {
                let collapsed = role == Role::Follower;
                let forward = Forward { asked: true, stale: is_stale, collapsed, status: None };
                self.just_resolved(request, resolved, forward).await
            }
            Err(error) => {
                let older = is_failure(&error).then(|| queries.older(&key, config.stale_if_error));
                let Some(older) = older.flatten() else { return Err(error.beside_older(is_stale)) };
                let forward = Forward { stale: true, ..error.forward() };
                let stale = self.stale(request, older, Outcome::StaleError, forward).await;
                stale.map_err(|_| error.beside_older(true))
            }
        }
    }

    /// A file of the version that upstream has just said a query stands for.
    async fn just_resolved(
        &self,
        request: FileRequest,
        Resolved { version, cache_status }: Resolved,
        forward: Forward,
    ) -> Result<ModuleResponse, Error> {
        let module = request.module.clone();
        let mut response = self.known(request, version).await.map_err(|error| {
            let error = error.forwarded().beside_older(forward.stale);
            if forward.collapsed { error.collapsed() } else { error }
        })?;
        // A file that is fetched now says itself how far that went.
        if matches!(response.outcome, Outcome::HitMemory | Outcome::HitStorage) {
            (response.forward, response.cache_status) = (forward, cache_status);
        }
        response.ttl = Some(self.shared.new_ttl(&module));
        Ok(response)
    }

    /// Finds out anew what a query stands for, once for all who ask at the same time.
    async fn resolved(
        self,
        key: QueryKey,
        context: RequestContext,
    ) -> Result<(Resolved, Role), Error> {
        let Self { inner, shared } = self;
        let (module, query) = key.clone();
        let landed = shared.queries.ask(key.clone(), context.deadline, {
            let shared = Arc::clone(&shared);
            |landing| async move {
                let era = shared.missing.purges().era(&module);
                let context = shared.patient(&context);
                if shared.policy.decide(&module).mode == Mode::Async {
                    let said = shared.version_of(&context, &key).await;
                    shared.learn_query(&key, said.as_ref().map(|said| Some(&said.version)), era);
                    // Below, where files are asked for, `negative` does so.
                    match &said {
                        Ok(_) => shared.missing.exists(&module),
                        Err(error) if error.kind() == ErrorKind::NotFound => {
                            shared.keep_query(&key, Err(error.clone()), era);
                        }
                        Err(_) => {}
                    }
                    return landing.land(said);
                }
                let kind = FileKind::Info;
                let request = FileRequest { context, module, version: query, kind };
                let result = inner.run(request).await;
                shared.learn_query(&key, found(&result), era);
                landing.land(result.and_then(|response| match response.answer {
                    Answer::File { version, .. } => {
                        Ok(Resolved { version, cache_status: response.cache_status })
                    }
                    _ => {
                        let text = "not found: clients are sent elsewhere";
                        Err(Error::new(ErrorKind::NotStored, text))
                    }
                }));
            }
        });
        let (resolved, role) = landed.await.map_err(|why| unfinished(&"the version", why))?;
        match role {
            Role::Leader => Ok((resolved?, role)),
            Role::Follower => Ok((resolved.map_err(Error::collapsed)?, role)),
        }
    }

    async fn known(
        &self,
        mut request: FileRequest,
        version: Version,
    ) -> Result<ModuleResponse, Error> {
        request.version = VersionQuery::Version(version);
        self.inner.run(request).await
    }

    /// A file of the version that a query stood for a while ago.
    async fn stale(
        &self,
        request: FileRequest,
        (version, age): (Version, Duration),
        outcome: Outcome,
        forward: Forward,
    ) -> Result<ModuleResponse, Error> {
        let mut response = self.known(request, version).await?;
        // A file that is fetched now is none that was kept.
        if matches!(response.outcome, Outcome::HitMemory | Outcome::HitStorage) {
            (response.outcome, response.forward) = (outcome, forward);
        }
        response.age = Some(age);
        Ok(response)
    }
}

impl Shared {
    /// What becomes of a request for a file of a query, by what is known of it. Changes nothing, so who foretells
    /// goes by it too.
    ///
    /// # Errors
    /// A "no" that is remembered; `NotStored` where storage alone answers and has no such version.
    pub(super) async fn course(
        &self,
        context: &RequestContext,
        key: &QueryKey,
    ) -> Result<Course, Error> {
        let (module, query) = key;
        let decision = self.policy.decide(module);
        let times = self.times(&decision);
        let negative_for = decision.negative_for.unwrap_or(self.config.negative_version_for);
        let look = self.queries.look(key, &Times { negative_for, ..times });
        match look {
            Look::Fresh(Ok(version), age) => {
                return Ok(Course::Known(version, Some(ttl(times.fresh_for, age))));
            }
            // In other modes those below know what is remembered, and whether it counts.
            Look::Fresh(Err(error), age) if decision.mode == Mode::Async => {
                return Err(error.remembered_for(negative_for.saturating_sub(age)));
            }
            _ => {}
        }
        if self.network_mode(&decision, Question::List) == NetworkMode::Offline {
            let stored = self.storage.list(context, module).await?;
            // Who fetches would ask an upstream what the query stands for.
            let would_ask = decision.list == ListSource::Storage
                && matches!(decision.mode, Mode::Sync | Mode::Async);
            return match merge::newest_matching(query, &stored) {
                Some(version) => Ok(Course::Known(version, None)),
                None if would_ask => Err(nothing_stored(module)),
                None => Ok(Course::Passes),
            };
        }
        match look {
            Look::Revalidate(version, age) => Ok(Course::Revalidate(version, age)),
            Look::Failing(version, age) => Ok(Course::Failing(version, age)),
            Look::Fresh(..) | Look::Ask if decision.mode == Mode::Async => {
                // A branch that there was says more than that there is neither list nor latest.
                let has_older = self.queries.older(key, self.config.stale_if_error).is_some();
                match self.missing.nothing_at(module, times.negative_for).filter(|_| !has_older) {
                    Some(error) => Err(error.remembered()),
                    None => Ok(Course::ResolvedFirst),
                }
            }
            Look::Fresh(..) | Look::Ask => Ok(Course::ResolvedBelow),
        }
    }

    /// The version that upstream says a query stands for.
    async fn version_of(
        &self,
        context: &RequestContext,
        (module, query): &QueryKey,
    ) -> Result<Resolved, Error> {
        let ask = FetchAsk::Info(query.clone());
        let request = FetchRequest::new(context.clone(), module.clone(), ask);
        let fetched = self.upstream.send(request).await.map_err(Error::forwarded_if_late)?;
        let version = match &fetched.payload {
            Payload::Bytes(info) => fetched.version_of(info, module, query)?,
            // All of it came at once, as from `direct`, and is near when it is fetched.
            Payload::Version { version, .. } => version.clone(),
            Payload::Zip(_) => {
                let text = "upstream answered another question";
                return Err(Error::new(ErrorKind::Internal, text));
            }
        };
        Ok(Resolved { version, cache_status: fetched.cache_status })
    }

    /// Remembers what a query stands for; the older answer that stands in where that could not be found out.
    /// What was purged since it was `asked` is not known again.
    fn learn_query(
        &self,
        key: &QueryKey,
        found: Result<Option<&Version>, &Error>,
        asked: Era,
    ) -> Option<(Version, Duration)> {
        match found {
            Ok(Some(version)) => {
                self.keep_query(key, Ok(version.clone()), asked);
                None
            }
            Err(error) if is_failure(error) => {
                let age_max = self.config.stale_if_error;
                let is_of_now = self.missing.purges().is_still(&key.0, asked);
                let older = match is_of_now {
                    true => self.queries.failed(key, age_max),
                    false => self.queries.older(key, age_max),
                }?;
                let ((module, query), age_seconds) = (key, older.1.as_secs());
                tracing::warn!(%module, %query, %error, age_seconds,
                    "upstream fails: answered with what the query stood for before");
                Some(older)
            }
            // It exists no more, or policy has become another.
            _ => {
                if self.missing.purges().is_still(&key.0, asked) {
                    self.queries.drop_one(key);
                }
                None
            }
        }
    }

    fn keep_query(&self, key: &QueryKey, said: Kept<Version>, asked: Era) {
        let write = || self.queries.keep(key.clone(), said);
        self.missing.purges().learn(&key.0, asked, write, || self.queries.drop_one(key));
    }
}

/// The version whose file was found for a query; `None` where clients are sent elsewhere.
fn found(result: &Result<ModuleResponse, Error>) -> Result<Option<&Version>, &Error> {
    result.as_ref().map(found_in)
}

fn found_in(response: &ModuleResponse) -> Option<&Version> {
    match response {
        ModuleResponse { answer: Answer::File { version, .. }, asked: Some(_), .. } => {
            Some(version)
        }
        _ => None,
    }
}
