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
use crate::telemetry::Outcome;

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
        use Outcome::{HitMemory, HitStorage, MissDegraded, MissFollower, MissLeader};
        matches!(self.outcome, HitMemory | HitStorage | MissDegraded | MissFollower | MissLeader)
    }
}

/// What would become of a request at one place of its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Foretold {
    /// It goes on, as far as is known here.
    Passes,
    /// It ends here.
    Ends(Ending),
    /// It goes on as one for this version, which the query stands for.
    Becomes(Version),
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
    mut request: ModuleRequest,
) -> Ending {
    let mut stands_in: Option<Ending> = None;
    let mut degraded: Option<String> = None;
    let mut left = way.clone();
    while let Some(teller) = left.next() {
        match teller.foretell(&request).await {
            Foretold::Passes => {}
            Foretold::Ends(ending) => {
                return stands_in.filter(|_| !ending.is_good()).unwrap_or(ending);
            }
            // From the beginning: what is said of a version is said of the one that the query names too.
            Foretold::Becomes(version) => {
                let Ask::File(asked, kind) = &request.ask else { continue };
                if asked.canonical().is_none() {
                    request.ask = Ask::File(VersionQuery::Version(version), *kind);
                    left = way.clone();
                }
            }
            Foretold::Degraded(why) => degraded = Some(degraded.unwrap_or(why)),
            Foretold::StandsIn(ending) => stands_in = Some(stands_in.unwrap_or(ending)),
        }
    }
    match degraded {
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

#[cfg(test)]
mod tests {
    use dipylon_protocol::route::FileKind;

    use super::*;
    use crate::testing::{context_for, module, query};

    /// Says this of whatever it is asked.
    struct Says(Foretold);

    impl Tells for Says {
        fn foretell<'a>(&'a self, request: &'a ModuleRequest) -> BoxFuture<'a, Foretold> {
            let is_query = file_of(request).is_some_and(|file| file.version.canonical().is_none());
            let is_for_queries = matches!(self.0, Foretold::Becomes(_));
            let says = if is_for_queries && !is_query { Foretold::Passes } else { self.0.clone() };
            Box::pin(std::future::ready(says))
        }
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
        let version = query("v1.0.0").canonical().cloned().expect("a version");
        let becomes = Foretold::Becomes(version);
        assert_eq!(
            told("master", &[becomes, ends(Outcome::HitStorage)]).await,
            Outcome::HitStorage
        );
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
