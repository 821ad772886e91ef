use std::future::ready;
use std::sync::Arc;

use dipylon_protocol::query::VersionQuery;
use serde_json::json;
use tower::Layer;

use super::service::{Filter, judge};
use super::state::{Rules, Ruling, Sign};
use crate::explain::{Ending, Facts, Foretold, Subject, Tells};
use crate::ports::BoxFuture;
use crate::request::ModuleRequest;
use crate::telemetry::Outcome;

/// Makes [`Filter`]s that share one set of rules.
#[derive(Clone, Debug)]
pub struct FilterLayer {
    rules: Arc<Rules>,
    endpoint: Arc<str>,
}

impl FilterLayer {
    /// Judges by `rules`; rule `D` sends clients to `endpoint`, a base URL whose last slash does not
    /// count (`GlobalEndpoint`).
    pub fn new(rules: Arc<Rules>, endpoint: &str) -> Self {
        Self { rules, endpoint: endpoint.strip_suffix('/').unwrap_or(endpoint).into() }
    }
}

impl Tells for FilterLayer {
    fn tell<'a>(&'a self, about: &'a Subject) -> BoxFuture<'a, Facts> {
        let version = about.version.as_ref().map(VersionQuery::as_str);
        let Ruling { sign, path, line } = self.rules.ruling(about.module.as_str(), version);
        let says = match sign {
            Sign::Include => "include",
            Sign::Exclude => "exclude",
            Sign::Direct => "direct",
        };
        Box::pin(ready(json!({ "rule": says, "path": path, "line": line })))
    }

    fn foretell<'a>(&'a self, request: &'a ModuleRequest) -> BoxFuture<'a, Foretold> {
        let judged = judge(&self.rules, &self.endpoint, &request.module, &request.ask);
        Box::pin(ready(match judged {
            Ok(None) => Foretold::Passes,
            Ok(Some(_)) => Foretold::Ends(Ending::new(
                Outcome::Redirected,
                "the filter file sends clients to GlobalEndpoint for it",
            )),
            Err(error) => Foretold::Ends(Ending::with(&error)),
        }))
    }
}

impl<S> Layer<S> for FilterLayer {
    type Service = Filter<S>;

    fn layer(&self, inner: S) -> Filter<S> {
        Filter { inner, rules: Arc::clone(&self.rules), endpoint: Arc::clone(&self.endpoint) }
    }
}
