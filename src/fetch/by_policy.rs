//! Whom a fetch asks: the upstreams that the policy names for the module, else the gateway's own list; and in
//! whose budget it counts, the module's rate class.
//!
//! A list that the policy names is the operator's last word on its modules: GONOPROXY does not apply to
//! them.
//!
//! The request carries the decision along, and whoever would ask an upstream asks first whether it still holds: what
//! stood in line, or had another entry of its list to ask, while a reload made its module private goes nowhere. What
//! came back because of that is decided anew.

use std::sync::Arc;

use dipylon_middleware::explain::Facts;
use dipylon_middleware::ports::{BoxFuture, Decision, Fetched, Fetcher, Policy};
use dipylon_middleware::request::{FetchRequest, Permit};
use dipylon_middleware::{Error, ErrorKind};
use dipylon_protocol::path::ModulePath;

/// How often it is decided for one request whom to ask: a reload while it is under way makes it go elsewhere.
const DECISIONS_MAX: u32 = 3;

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

    async fn go(&self, request: FetchRequest) -> Result<Fetched, Error> {
        let mut decided = 0;
        loop {
            decided += 1;
            let decision = self.policy.decide(&request.module);
            if !decision.lets_ask(&request.ask) {
                let text =
                    format!("not found: policy has no upstream asked about {} now", request.module);
                return Err(Error::new(ErrorKind::NotStored, text));
            }
            let fetcher = self.named_by(&decision);
            let rate_class = decision.rate_class.clone();
            let permit = Some(Permit::new(Arc::clone(&self.policy), decision));
            let asked = FetchRequest { rate_class, permit, ..request.clone() };
            match fetcher.fetch(asked).await {
                Err(error) if error.kind() == ErrorKind::PolicyChanged => {
                    if decided == DECISIONS_MAX {
                        return Err(error);
                    }
                }
                result => return result,
            }
        }
    }
}

impl Fetcher for ByPolicy {
    fn name(&self) -> Arc<str> {
        self.own.name()
    }

    fn fetches_whole_versions(&self, module: &ModulePath) -> bool {
        self.fetcher(module).fetches_whole_versions(module)
    }

    fn asks(&self, module: &ModulePath) -> Vec<Facts> {
        self.fetcher(module).asks(module)
    }

    fn refusal(&self, module: &ModulePath) -> Option<Error> {
        self.fetcher(module).refusal(module)
    }

    fn fetch(&self, request: FetchRequest) -> BoxFuture<'_, Result<Fetched, Error>> {
        Box::pin(self.go(request))
    }
}
