use std::time::Duration;

use tower::util::ServiceExt as _;

use crate::error::Error;
use crate::remember::Remember;
use crate::request::{Missed, StashKey, Want};
use crate::response::ModuleResponse;
use crate::stack::{Stage, stage};

/// Answers with a remembered "no", else calls `S`.
#[derive(Clone, Debug)]
pub struct Negative<S> {
    pub(super) inner: S,
    pub(super) remembered: Remember<StashKey, Error>,
    pub(super) time_to_live: Duration,
}

impl<S: Stage<Missed, Reply = ModuleResponse>> Negative<S> {
    async fn handle(self, missed: Missed) -> Result<ModuleResponse, Error> {
        let request = &missed.request;
        let key = StashKey {
            module: request.module.clone(),
            version: request.version.clone(),
            want: Want::File(request.kind),
        };
        if let Some((error, _)) = self.remembered.get(&key, self.time_to_live) {
            return Err(error.remembered());
        }
        let result = self.inner.oneshot(missed).await;
        if let Err(error) = &result
            && error.kind().is_permanent()
        {
            self.remembered.put(key, error.clone());
        }
        result
    }
}

stage!(Negative<S>: Missed => ModuleResponse, over Missed => ModuleResponse);
