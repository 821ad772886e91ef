//! What is known of lists and queries, and what would become of a question, without asking it.

use dipylon_protocol::query::VersionQuery;
use serde_json::json;

use super::NetworkMode;
use super::answers::{Look, Times};
use super::layer::VersionsLayer;
use super::lists::AtHand;
use super::queries::Course;
use super::service::Shared;
use crate::error::Error;
use crate::explain::{Ending, Facts, Foretold, Subject, Tells};
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
        Ok(match self.course(&request.context, &key).await? {
            Course::Known(version, _)
            | Course::Revalidate(version, _)
            | Course::Failing(version, _) => Foretold::Becomes(version),
            Course::Passes | Course::ResolvedBelow => Foretold::Passes,
            Course::ResolvedFirst => Foretold::Ends(Ending::new(
                Outcome::AsyncAccepted,
                "upstream is asked what the query stands for; that version is fetched in the background, unless it \
                 is here",
            )),
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
