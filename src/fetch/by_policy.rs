//! Whom a fetch asks: the upstreams that the policy names for the module, else the gateway's own list; and in
//! whose budget it counts, the module's rate class.
//!
//! A list that the policy names is the operator's last word on its modules: GONOPROXY does not apply to
//! them.
//!
//! This is asked for each fetch, before the list is gone through: a policy that came after the request had been let
//! through, such as a reload that makes a module private, holds for all that the request has yet to ask for.

use std::future::ready;
use std::sync::Arc;

use dipylon_middleware::ports::{BoxFuture, Decision, Fetched, Fetcher, ListSource, Mode, Policy};
use dipylon_middleware::request::{FetchAsk, FetchRequest};
use dipylon_middleware::{Error, ErrorKind};
use dipylon_protocol::path::ModulePath;

/// One [`Fetcher`] for all modules.
pub struct ByPolicy {
    policy: Arc<dyn Policy>,
    own: Arc<dyn Fetcher>,
}

impl ByPolicy {
    /// Asks whom `policy` names, else `own`.
    pub fn new(policy: Arc<dyn Policy>, own: Arc<dyn Fetcher>) -> Self {
        Self { policy, own }
    }

    fn fetcher(&self, module: &ModulePath) -> Arc<dyn Fetcher> {
        self.named_by(&self.policy.decide(module))
    }

    fn named_by(&self, decision: &Decision) -> Arc<dyn Fetcher> {
        decision.upstreams.clone().unwrap_or_else(|| Arc::clone(&self.own))
    }
}

impl Fetcher for ByPolicy {
    fn name(&self) -> Arc<str> {
        self.own.name()
    }

    fn fetches_whole_versions(&self, module: &ModulePath) -> bool {
        self.fetcher(module).fetches_whole_versions(module)
    }

    fn fetch(&self, request: FetchRequest) -> BoxFuture<'_, Result<Fetched, Error>> {
        let decision = self.policy.decide(&request.module);
        if !may_ask(&decision, &request.ask) {
            let text =
                format!("not found: policy has no upstream asked about {} now", request.module);
            return Box::pin(ready(Err(Error::new(ErrorKind::NotStored, text))));
        }
        let (fetcher, rate_class) = (self.named_by(&decision), decision.rate_class.clone());
        Box::pin(async move { fetcher.fetch(FetchRequest { rate_class, ..request }).await })
    }
}

/// Whether the policy in force lets an upstream be asked this.
fn may_ask(decision: &Decision, ask: &FetchAsk) -> bool {
    match ask {
        FetchAsk::List => decision.list == ListSource::Upstream,
        FetchAsk::Latest => decision.latest == ListSource::Upstream,
        FetchAsk::Info(version) if version.canonical().is_none() => {
            decision.list == ListSource::Upstream
        }
        FetchAsk::Info(_) | FetchAsk::Mod(_) | FetchAsk::Zip(_) => decision.mode != Mode::None,
    }
}
