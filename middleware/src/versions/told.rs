//! What is known of lists and queries, and what would become of a question, without asking it.

use dipylon_protocol::query::VersionQuery;
use serde_json::json;

use super::answers::{Look, Times};
use super::layer::VersionsLayer;
use super::service::{Shared, nothing_stored};
use super::{NetworkMode, merge};
use crate::error::Error;
use crate::explain::{Ending, Facts, Foretold, Subject, Tells};
use crate::missing_paths::Question;
use crate::ports::{BoxFuture, ListSource, Mode};
use crate::request::{Ask, ModuleRequest};
use crate::telemetry::Outcome;

fn fact<V>(look: Look<V>) -> Facts {
    let (state, age) = match look {
        Look::Fresh(Ok(_), age) => ("fresh", age),
        Look::Fresh(Err(error), age) => {
            let age = age.as_secs();
            return json!({ "state": "does_not_exist", "age_seconds": age, "reason": error.message() });
        }
        Look::Revalidate(_, age) => ("stale", age),
        Look::Failing(_, age) => ("upstream_fails", age),
        Look::Ask => return Facts::Null,
    };
    json!({ "state": state, "age_seconds": age.as_secs() })
}

impl Shared {
    async fn foretell_list(
        &self,
        request: &ModuleRequest,
        question: Question,
    ) -> Result<Foretold, Error> {
        let ModuleRequest { context, module, .. } = request;
        let decision = self.policy.decide(module);
        let mode = self.network_mode(&decision, question);
        let ends = |outcome, why: &str| Ok(Foretold::Ends(Ending::new(outcome, why)));
        if mode == NetworkMode::Offline {
            return match self.stored(context, module, question, mode).await? {
                Some(_) => ends(Outcome::HitStorage, "storage alone answers"),
                None => Err(nothing_stored(module)),
            };
        }
        let (key, times) = ((module.clone(), question), self.times(&decision));
        match self.lists.look(&key, &times) {
            Look::Fresh(kept, _) if !self.is_refuted(&times, &key, &kept) => {
                kept.map_err(Error::remembered)?;
                return ends(Outcome::HitMemory, "an answer is kept that is fresh");
            }
            Look::Revalidate(..) => {
                return ends(
                    Outcome::StaleRevalidate,
                    "an answer is kept; a newer one is fetched behind it",
                );
            }
            Look::Failing(..) => {
                return ends(
                    Outcome::StaleError,
                    "upstream has just failed: the answer of before is given",
                );
            }
            Look::Fresh(..) | Look::Ask => {}
        }
        let is_fallback = mode == NetworkMode::Fallback;
        let stored = match is_fallback {
            true => self.stored(context, module, question, mode).await?,
            false => None,
        };
        let has_stored = stored.is_some_and(|body| !body.is_empty());
        if has_stored && self.lists.has_just_failed(&key) {
            return ends(
                Outcome::HitStorage,
                "upstream has just failed: what is stored is the answer",
            );
        }
        if self.lists.is_under_way(&key) {
            return ends(Outcome::MissFollower, "upstream is being asked already");
        }
        if let Some((_, age)) = self.lists.older(&key, self.config.stale_if_error) {
            let why = format!("upstream cannot be asked: an answer is {} s old", age.as_secs());
            return Ok(Foretold::StandsIn(Ending::new(Outcome::StaleError, why)));
        }
        Ok(match has_stored {
            true => Foretold::StandsIn(Ending::new(
                Outcome::HitStorage,
                "upstream cannot be asked: what is stored is the answer",
            )),
            false => Foretold::Passes,
        })
    }

    async fn foretell_query(
        &self,
        request: &ModuleRequest,
        query: &VersionQuery,
    ) -> Result<Foretold, Error> {
        let ModuleRequest { context, module, .. } = request;
        let key = (module.clone(), query.clone());
        let decision = self.policy.decide(module);
        let negative_for = decision.negative_for.unwrap_or(self.config.negative_version_for);
        let times = Times { negative_for, ..self.times(&decision) };
        let look = self.queries.look(&key, &times);
        match look {
            Look::Fresh(Ok(version), _) => return Ok(Foretold::Becomes(version)),
            Look::Fresh(Err(error), _) if decision.mode == Mode::Async => {
                return Err(error.remembered());
            }
            _ => {}
        }
        if self.network_mode(&decision, Question::List) == NetworkMode::Offline {
            let stored = self.storage.list(context, module).await?;
            let would_ask = decision.list == ListSource::Storage
                && matches!(decision.mode, Mode::Sync | Mode::Async);
            return match merge::newest_matching(query, &stored) {
                Some(version) => Ok(Foretold::Becomes(version)),
                None if would_ask => Err(nothing_stored(module)),
                None => Ok(Foretold::Passes),
            };
        }
        let ends = |outcome, why: &str| Ok(Foretold::Ends(Ending::new(outcome, why)));
        match look {
            Look::Revalidate(version, _) | Look::Failing(version, _) => {
                Ok(Foretold::Becomes(version))
            }
            Look::Fresh(..) | Look::Ask if decision.mode == Mode::Async => {
                let has_older = self.queries.older(&key, self.config.stale_if_error).is_some();
                let missing = self.missing.nothing_at(module, self.times(&decision).negative_for);
                match missing.filter(|_| !has_older) {
                    Some(error) => Err(error.remembered()),
                    None => ends(
                        Outcome::AsyncAccepted,
                        "upstream is asked what the query stands for; that version is fetched in the background, \
                         unless it is here",
                    ),
                }
            }
            Look::Fresh(..) | Look::Ask => Ok(Foretold::Passes),
        }
    }
}

impl Tells for VersionsLayer {
    fn tell<'a>(&'a self, about: &'a Subject) -> BoxFuture<'a, Facts> {
        let Shared { lists, queries, config, .. } = &*self.shared;
        let decision = self.shared.policy.decide(&about.module);
        let times = self.shared.times(&decision);
        let of = |question| fact(lists.look(&(about.module.clone(), question), &times));
        let mut told = json!({ "list": of(Question::List), "latest": of(Question::Latest) });
        if let Some(query) = about.version.as_ref().filter(|version| version.canonical().is_none())
        {
            let negative_for = decision.negative_for.unwrap_or(config.negative_version_for);
            let look = queries
                .look(&(about.module.clone(), query.clone()), &Times { negative_for, ..times });
            if let Look::Fresh(Ok(version), _)
            | Look::Revalidate(version, _)
            | Look::Failing(version, _) = &look
            {
                told["stands_for"] = version.as_str().into();
            }
            told["query"] = fact(look);
        }
        Box::pin(std::future::ready(told))
    }

    fn foretell<'a>(&'a self, request: &'a ModuleRequest) -> BoxFuture<'a, Foretold> {
        Box::pin(async {
            let foretold = match &request.ask {
                Ask::List => self.shared.foretell_list(request, Question::List).await,
                Ask::Latest => self.shared.foretell_list(request, Question::Latest).await,
                Ask::File(version, _) if version.canonical().is_none() => {
                    self.shared.foretell_query(request, version).await
                }
                Ask::File(..) => Ok(Foretold::Passes),
            };
            foretold.unwrap_or_else(|error| Foretold::Ends(Ending::with(&error)))
        })
    }
}
