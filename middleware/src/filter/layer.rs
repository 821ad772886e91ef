use std::sync::Arc;

use tower::Layer;

use super::service::Filter;
use super::state::Rules;

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

impl<S> Layer<S> for FilterLayer {
    type Service = Filter<S>;

    fn layer(&self, inner: S) -> Filter<S> {
        Filter { inner, rules: Arc::clone(&self.rules), endpoint: Arc::clone(&self.endpoint) }
    }
}
