//! What is known of a module or a version, and what would become of a request for it: whoever knows something of it
//! implements [`Tells`], and `/-/explain` asks them one after the other, in the order in which a request meets them.
//!
//! Each looks at what it would go by itself, and changes nothing. So what is foretold is what would be done at that
//! moment, up to the first question to somebody outside: what upstream will say, nobody knows.

use dipylon_protocol::path::ModulePath;
use dipylon_protocol::query::VersionQuery;
use dipylon_protocol::version::Version;
use serde_json::Value;

use crate::error::Error;
use crate::ports::BoxFuture;
use crate::request::{Ask, FileRequest, ModuleRequest, RequestContext};
use crate::telemetry::{Outcome, OutcomeClass};

/// Rows of one kind that are told at most: flights, entries of the queue.
pub const ROWS_TOLD_MAX: usize = 20;

/// What somebody wants to know about.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Whose question it is.
    pub context: RequestContext,
    /// The module.
    pub module: ModulePath,
    /// One of its versions, or a query; nothing where the module itself is meant.
    pub version: Option<VersionQuery>,
}

/// What is known, as JSON; `null` where there is nothing to say. Never a secret.
pub type Facts = Value;

/// How a request would end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Its outcome.
    pub outcome: Outcome,
    /// Why, in a sentence.
    pub why: String,
}

impl Ending {
    /// So, because.
    pub fn new(outcome: Outcome, why: impl Into<String>) -> Self {
        Self { outcome, why: why.into() }
    }

    /// With this error.
    pub fn with(error: &Error) -> Self {
        Self::new(error.outcome(), error.message())
    }

    /// Whether the request would be answered with what was asked for.
    fn is_good(&self) -> bool {
        matches!(OutcomeClass::of(self.outcome), OutcomeClass::Hit | OutcomeClass::Miss)
    }

    /// Whether it would be refused because nothing can be found out, so that an older answer may stand in.
    fn is_failure(&self) -> bool {
        OutcomeClass::of(self.outcome) == OutcomeClass::Failed
    }
}

/// The version that a query stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandsFor {
    /// It.
    pub version: Version,
    /// What a hit of it counts as, where that is kept from before and not fresh.
    pub stale: Option<Ending>,
}

/// How it is found out what a query stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolving {
    /// What it stood for before: a file of that which is here is the answer where nothing can be found out.
    pub older: Option<StandsFor>,
    /// How a request ends for which upstream is asked for the version alone, as for latest, if it may be asked;
    /// nothing where the request goes on as it is.
    pub alone: Option<Ending>,
}

/// What would become of a request at one place of its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Foretold {
    /// It goes on, as far as is known here.
    Passes,
    /// It ends here.
    Ends(Ending),
    /// It goes on as one for the version that the query stands for.
    Becomes(StandsFor),
    /// It goes on to find out what the query stands for.
    Resolves(Resolving),
    /// It goes on; what is fetched for it counts as fetched without what is missing here.
    Degraded(String),
    /// It goes on; if nothing can be had below, this is the answer.
    StandsIn(Ending),
}

/// Knows something of modules.
pub trait Tells: Send + Sync + 'static {
    /// What is known.
    fn tell<'a>(&'a self, _about: &'a Subject) -> BoxFuture<'a, Facts> {
        Box::pin(std::future::ready(Facts::Null))
    }

    /// What would become of a request that came now.
    fn foretell<'a>(&'a self, _request: &'a ModuleRequest) -> BoxFuture<'a, Foretold> {
        Box::pin(std::future::ready(Foretold::Passes))
    }
}

/// The file that a request is for; nothing for list and latest.
pub fn file_of(request: &ModuleRequest) -> Option<FileRequest> {
    let Ask::File(version, kind) = &request.ask else { return None };
    let (context, module) = (request.context.clone(), request.module.clone());
    Some(FileRequest { context, module, version: version.clone(), kind: *kind })
}

/// How a request would end that meets these, in this order, and then an upstream that has what it is for.
pub async fn foretell<'a>(
    way: impl Iterator<Item = &'a dyn Tells> + Clone,
    request: ModuleRequest,
) -> Ending {
    let mut walk = Walk::new(request.clone());
    let ending = walk.end(way.clone()).await;
    let Some(older) = walk.older.filter(|_| ending.is_failure()) else { return ending };
    let mut walk = Walk::new(request);
    walk.becomes(older);
    let stale = walk.end(way).await;
    if stale.is_good() { stale } else { ending }
}

/// A request on its way, and what has been said of it so far.
struct Walk {
    request: ModuleRequest,
    /// What a hit counts as.
    stale: Option<Ending>,
    /// What the query stood for before.
    older: Option<StandsFor>,
    /// How it ends where upstream may be asked for the version alone.
    alone: Option<Ending>,
    stands_in: Option<Ending>,
    degraded: Option<String>,
}

impl Walk {
    fn new(request: ModuleRequest) -> Self {
        let (stale, older, alone, stands_in, degraded) = (None, None, None, None, None);
        Self { request, stale, older, alone, stands_in, degraded }
    }

    fn is_of_query(&self) -> bool {
        matches!(&self.request.ask, Ask::File(version, _) if version.canonical().is_none())
    }

    /// From now on it is a request for that version.
    fn becomes(&mut self, StandsFor { version, stale }: StandsFor) {
        if let Ask::File(_, kind) = self.request.ask {
            self.request.ask = Ask::File(VersionQuery::Version(version), kind);
            self.stale = stale;
        }
    }

    /// Goes all the way.
    async fn end<'a>(&mut self, way: impl Iterator<Item = &'a dyn Tells> + Clone) -> Ending {
        let ending = self.met(way).await;
        match &self.stale {
            // A file that is fetched now is none that was kept.
            Some(Ending { outcome, why })
                if matches!(ending.outcome, Outcome::HitMemory | Outcome::HitStorage) =>
            {
                Ending::new(*outcome, format!("{}; {why}", ending.why))
            }
            _ => ending,
        }
    }

    async fn met<'a>(&mut self, way: impl Iterator<Item = &'a dyn Tells> + Clone) -> Ending {
        let mut left = way.clone();
        while let Some(teller) = left.next() {
            match teller.foretell(&self.request).await {
                Foretold::Passes => {}
                Foretold::Ends(ending) => {
                    return self.stands_in.take().filter(|_| !ending.is_good()).unwrap_or(ending);
                }
                // From the beginning: what is said of a version is said of the one that the query names too.
                Foretold::Becomes(version) if self.is_of_query() => {
                    self.becomes(version);
                    left = way.clone();
                }
                Foretold::Becomes(_) => {}
                Foretold::Resolves(Resolving { older, alone }) => {
                    self.older = older;
                    if alone.is_some() {
                        // Of files nothing more is said, as it is none that is asked for.
                        self.request.ask = Ask::Latest;
                        self.alone = alone;
                    }
                }
                Foretold::Degraded(why) => {
                    self.degraded.get_or_insert(why);
                }
                Foretold::StandsIn(ending) => {
                    self.stands_in.get_or_insert(ending);
                }
            }
        }
        if let Some(ending) = self.alone.take() {
            return ending;
        }
        match self.degraded.take() {
            Some(why) => Ending::new(
                Outcome::MissDegraded,
                format!("upstream is asked and has the last word; {why}"),
            ),
            None => Ending::new(
                Outcome::MissLeader,
                "it is not here: upstream is asked, and has the last word",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use dipylon_protocol::route::FileKind;

    use super::*;
    use crate::testing::{context_for, module, query};

    /// Says this of whatever it is asked: of queries what they stand for, and of versions that they are here.
    struct Says(Foretold);

    impl Tells for Says {
        fn foretell<'a>(&'a self, request: &'a ModuleRequest) -> BoxFuture<'a, Foretold> {
            let is_version = file_of(request).map(|file| file.version.canonical().is_some());
            let is_meant = match &self.0 {
                Foretold::Becomes(_) | Foretold::Resolves(_) => is_version == Some(false),
                Foretold::Ends(ending) if OutcomeClass::of(ending.outcome) == OutcomeClass::Hit => {
                    is_version == Some(true)
                }
                _ => true,
            };
            let says = if is_meant { self.0.clone() } else { Foretold::Passes };
            Box::pin(std::future::ready(says))
        }
    }

    fn stands_for(stale: Option<Outcome>) -> StandsFor {
        let version = query("v1.0.0").canonical().cloned().expect("a version");
        StandsFor { version, stale: stale.map(|outcome| Ending::new(outcome, "older")) }
    }

    async fn told(version: &str, way: &[Foretold]) -> Outcome {
        let way: Vec<Says> = way.iter().cloned().map(Says).collect();
        let request = ModuleRequest {
            context: context_for(crate::testing::SECOND),
            module: module("example.com/m"),
            ask: Ask::File(query(version), FileKind::Info),
        };
        foretell(way.iter().map(|says| says as &dyn Tells), request).await.outcome
    }

    fn ends(outcome: Outcome) -> Foretold {
        Foretold::Ends(Ending::new(outcome, "so"))
    }

    #[tokio::test]
    async fn the_first_that_ends_a_request_has_the_word() {
        let (hit, no) = (ends(Outcome::HitMemory), ends(Outcome::Negative));
        assert_eq!(told("v1.0.0", &[Foretold::Passes, hit, no]).await, Outcome::HitMemory);
        assert_eq!(told("v1.0.0", &[Foretold::Passes]).await, Outcome::MissLeader);
    }

    #[tokio::test]
    async fn a_query_begins_anew_as_the_version_it_stands_for() {
        let way = [Foretold::Becomes(stands_for(None)), ends(Outcome::HitStorage)];
        assert_eq!(told("master", &way).await, Outcome::HitStorage);
    }

    #[tokio::test]
    async fn a_hit_of_what_is_not_fresh_is_stale_and_what_is_fetched_for_it_is_not() {
        let becomes = Foretold::Becomes(stands_for(Some(Outcome::StaleRevalidate)));
        let hit = ends(Outcome::HitMemory);
        assert_eq!(told("master", &[becomes.clone(), hit]).await, Outcome::StaleRevalidate);
        assert_eq!(told("master", from_ref(&becomes)).await, Outcome::MissLeader);
        let refused = ends(Outcome::UpstreamUnavailable);
        assert_eq!(told("master", &[becomes, refused]).await, Outcome::UpstreamUnavailable);
    }

    #[tokio::test]
    async fn what_a_query_stood_for_stands_in_where_it_is_here_and_nothing_can_be_found_out() {
        let alone = Ending::new(Outcome::AsyncAccepted, "the version is asked for");
        for (alone, found_out) in
            [(None, Outcome::MissLeader), (Some(alone), Outcome::AsyncAccepted)]
        {
            let older = Some(stands_for(Some(Outcome::StaleError)));
            let resolves = Foretold::Resolves(Resolving { older, alone: alone.clone() });
            let hit = ends(Outcome::HitStorage);
            let way = [resolves.clone(), hit.clone()];
            assert_eq!(told("master", &way).await, found_out);
            for (refused, want) in [
                (Outcome::UpstreamUnavailable, Outcome::StaleError),
                (Outcome::UpstreamThrottled, Outcome::StaleError),
                (Outcome::Negative, Outcome::Negative),
                (Outcome::NotStored, Outcome::NotStored),
            ] {
                let way = [resolves.clone(), hit.clone(), ends(refused)];
                assert_eq!(told("master", &way).await, want, "{alone:?}");
                let way = [resolves.clone(), ends(refused)];
                assert_eq!(told("master", &way).await, refused, "that version is not here");
                let unknown = Resolving { older: None, alone: alone.clone() };
                let way = [Foretold::Resolves(unknown), hit.clone(), ends(refused)];
                assert_eq!(told("master", &way).await, refused, "nothing is known of before");
            }
        }
    }

    #[tokio::test]
    async fn an_older_answer_stands_in_for_a_refusal_and_for_nothing_else() {
        let older = Foretold::StandsIn(Ending::new(Outcome::StaleError, "older"));
        let refused = ends(Outcome::UpstreamUnavailable);
        assert_eq!(told("v1.0.0", &[older.clone(), refused]).await, Outcome::StaleError);
        let joined = ends(Outcome::MissFollower);
        assert_eq!(told("v1.0.0", &[older.clone(), joined]).await, Outcome::MissFollower);
        assert_eq!(told("v1.0.0", &[older]).await, Outcome::MissLeader);
    }

    #[tokio::test]
    async fn what_is_fetched_without_a_lock_is_foretold_so() {
        let degraded = Foretold::Degraded("no lock".to_owned());
        assert_eq!(told("v1.0.0", &[degraded]).await, Outcome::MissDegraded);
    }
}
