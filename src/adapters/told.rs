//! What adapters know of a module: the patterns of the Go settings that match it, and whom its fetches ask.

use std::sync::Arc;

use dipylon_middleware::explain::{Ending, Facts, Foretold, Subject, Tells};
use dipylon_middleware::ports::{BoxFuture, Fetcher};
use dipylon_middleware::request::ModuleRequest;
use dipylon_protocol::pattern::match_prefix_patterns;
use serde_json::{Map, json};

use crate::config::Config;
use crate::fetch::environment::GoSettings;

/// The settings of which a pattern is told.
const OF_PATTERNS: [&str; 3] = ["GONOPROXY", "GONOSUMDB", "GOPRIVATE"];

/// Tells which pattern of which setting matches.
pub(super) struct GoPatterns(Vec<(&'static str, String)>);

impl GoPatterns {
    /// Of these settings.
    pub(super) fn new(config: &Config, settings: &GoSettings) -> Self {
        let given = settings.settings.iter().filter_map(|setting| {
            let name = OF_PATTERNS.into_iter().find(|name| *name == setting.name)?;
            Some((name, setting.value.clone()))
        });
        Self(given.chain([("NoSumPatterns", config.no_sum_patterns.join(","))]).collect())
    }
}

impl Tells for GoPatterns {
    fn tell<'a>(&'a self, about: &'a Subject) -> BoxFuture<'a, Facts> {
        let module = about.module.as_str();
        let mut told = Map::new();
        for (name, patterns) in &self.0 {
            let matching = patterns.split(',').find(|one| match_prefix_patterns(one, module));
            told.insert((*name).to_owned(), matching.into());
        }
        Box::pin(std::future::ready(Facts::Object(told)))
    }
}

/// Tells whom a fetch would ask.
pub(super) struct Asked(pub(super) Arc<dyn Fetcher>);

impl Tells for Asked {
    fn tell<'a>(&'a self, about: &'a Subject) -> BoxFuture<'a, Facts> {
        let refusal = self.0.refusal(&about.module).map(|error| error.message().to_owned());
        let told = json!({ "asked": self.0.asks(&about.module), "refusal": refusal });
        Box::pin(std::future::ready(told))
    }

    fn foretell<'a>(&'a self, request: &'a ModuleRequest) -> BoxFuture<'a, Foretold> {
        let refusal = self.0.refusal(&request.module);
        let ends = |error| Foretold::Ends(Ending::with(&error));
        Box::pin(std::future::ready(refusal.map_or(Foretold::Passes, ends)))
    }
}
