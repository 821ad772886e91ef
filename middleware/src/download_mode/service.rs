use std::fmt;
use std::sync::Arc;

use crate::error::Error;
use crate::ports::{Decision, Mode, Policy};
use crate::request::{FileRequest, Missed, Plan, Planned};
use crate::response::ModuleResponse;
use crate::stack::{Stage, stage};

/// Plans a miss by the policy, then calls `S`.
#[derive(Clone)]
pub struct DownloadMode<S> {
    pub(super) inner: S,
    pub(super) policy: Arc<dyn Policy>,
}

impl<S> fmt::Debug for DownloadMode<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DownloadMode")
    }
}

impl<S: Stage<Planned, Reply = ModuleResponse>> DownloadMode<S> {
    async fn handle(&self, missed: Missed) -> Result<ModuleResponse, Error> {
        let request = missed.request;
        let decision = self.policy.decide(&request.module);
        let plan = plan(&decision, &request);
        self.inner.run(Planned { request, plan }).await
    }
}

pub(super) fn plan(decision: &Decision, request: &FileRequest) -> Plan {
    let location = || format!("{}{}", decision.download_url, request.route().path());
    match decision.mode {
        Mode::Sync => Plan::Stash,
        Mode::Async => Plan::StashInBackground,
        Mode::None => Plan::Refuse,
        Mode::Redirect => Plan::Redirect(location()),
        Mode::AsyncRedirect => Plan::RedirectAndStash(location()),
    }
}

stage!(DownloadMode<S>: Missed => ModuleResponse, over Planned => ModuleResponse);
