//! What is known of lists and queries, and what would become of a question, without asking it.

use std::time::Duration;

use dipylon_protocol::query::VersionQuery;
use dipylon_protocol::version::Version;
use serde_json::json;

use super::NetworkMode;
use super::answers::{Look, Times};
use super::layer::VersionsLayer;
use super::lists::AtHand;
use super::queries::Course;
use super::service::Shared;
use crate::error::Error;
use crate::explain::{Ending, Facts, Foretold, Resolving, StandsFor, Subject, Tells};
use crate::missing_paths::Question;
use crate::ports::BoxFuture;
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

/// What a query stood for so long ago.
fn stale(version: Version, outcome: Outcome, age: Duration, why: &str) -> StandsFor {
    let why = format!("{why}: the answer to that is {} s old", age.as_secs());
    StandsFor { version, stale: Some(Ending::new(outcome, why)) }
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
        let key = (module.clone(), question);
        let at_hand = self.at_hand(context, &key, mode, &self.times(&decision)).await?;
        if let Some(AtHand { outcome, why, .. }) = at_hand {
            return Ok(Foretold::Ends(Ending::new(outcome, why)));
        }
        if self.lists.is_under_way(&key) {
            let why = "upstream is being asked already";
            return Ok(Foretold::Ends(Ending::new(Outcome::MissFollower, why)));
        }
        if let Some((_, age)) = self.lists.older(&key, self.config.stale_if_error) {
            let why = format!("upstream cannot be asked: an answer is {} s old", age.as_secs());
            return Ok(Foretold::StandsIn(Ending::new(Outcome::StaleError, why)));
        }
        let stored = match mode {
            NetworkMode::Fallback => self.stored(context, module, question, mode).await?,
            NetworkMode::Strict | NetworkMode::Offline => None,
        };
        Ok(match stored.is_some_and(|body| !body.is_empty()) {
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
        let key = (request.module.clone(), query.clone());
        let older = || {
            let (version, age) = self.queries.older(&key, self.config.stale_if_error)?;
            let why = "upstream cannot be asked what the query stands for";
            Some(stale(version, Outcome::StaleError, age, why))
        };
        Ok(match self.course(&request.context, &key).await? {
            Course::Known(version, _) => Foretold::Becomes(StandsFor { version, stale: None }),
            Course::Revalidate(version, age) => {
                let why = "what the query stands for is asked anew behind it";
                Foretold::Becomes(stale(version, Outcome::StaleRevalidate, age, why))
            }
            Course::Failing(version, age) => {
                let why = "upstream has just failed to say what the query stands for";
                Foretold::Becomes(stale(version, Outcome::StaleError, age, why))
            }
            Course::Passes => Foretold::Passes,
            Course::ResolvedBelow => Foretold::Resolves(Resolving { older: older(), alone: None }),
            Course::ResolvedFirst => {
                let accepted = Ending::new(
                    Outcome::AsyncAccepted,
                    "upstream is asked what the query stands for; that version is fetched in the background, unless \
                     it is here",
                );
                Foretold::Resolves(Resolving { older: older(), alone: Some(accepted) })
            }
        })
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
