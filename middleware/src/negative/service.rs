use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dipylon_protocol::path::ModulePath;
use tower::util::ServiceExt as _;

use crate::error::{Error, ErrorKind};
use crate::missing_paths::MissingPaths;
use crate::ports::Policy;
use crate::remember::{Remember, Weigh};
use crate::request::{Missed, StashKey, Want};
use crate::response::{Answer, ModuleResponse};
use crate::stack::{Stage, stage};

/// Answers with a remembered "no", else calls `S`.
#[derive(Clone)]
pub struct Negative<S> {
    pub(super) inner: S,
    pub(super) memory: Memory,
}

/// Why something is not there, which says how soon it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The version: the next may be tagged any minute.
    Version,
    /// The path: nobody publishes there.
    Path,
}

impl Weigh for Reason {
    fn bytes(&self) -> u64 {
        0
    }
}

/// What is remembered.
#[derive(Clone)]
pub(super) struct Memory {
    pub(super) remembered: Remember<StashKey, (Error, Reason)>,
    pub(super) missing: MissingPaths,
    pub(super) time_to_live: Duration,
    pub(super) policy: Arc<dyn Policy>,
}

impl<S> fmt::Debug for Negative<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Negative({:?})", self.memory.time_to_live)
    }
}

impl<S: Stage<Missed, Reply = ModuleResponse>> Negative<S> {
    async fn handle(self, missed: Missed) -> Result<ModuleResponse, Error> {
        let Self { inner, memory } = self;
        let request = &missed.request;
        let key = StashKey {
            module: request.module.clone(),
            version: request.version.clone(),
            want: Want::File(request.kind),
        };
        if let Some(error) = memory.no(&key) {
            return Err(error.remembered());
        }
        let result = inner.oneshot(missed).await;
        memory.learn(key, &result);
        result
    }
}

impl Memory {
    fn no(&self, key: &StashKey) -> Option<Error> {
        if let Some(((error, reason), age)) = self.remembered.get(key, Duration::MAX)
            && age <= self.lasts(reason, &key.module)
        {
            return Some(error);
        }
        self.missing.nothing_at(&key.module, self.lasts(Reason::Path, &key.module))
    }

    fn lasts(&self, reason: Reason, module: &ModulePath) -> Duration {
        self.policy.decide(module).negative_for.unwrap_or(match reason {
            Reason::Version => self.time_to_live,
            Reason::Path => self.missing.time_to_live(),
        })
    }

    fn is_unlisted(&self, module: &ModulePath) -> bool {
        self.missing.is_unlisted(module, self.lasts(Reason::Path, module))
    }

    fn learn(&self, key: StashKey, result: &Result<ModuleResponse, Error>) {
        match result {
            Ok(ModuleResponse { answer: Answer::File { .. }, .. }) => {
                self.missing.exists(&key.module);
            }
            Err(error) if error.kind().is_permanent() => {
                let is_absent = error.kind() == ErrorKind::NotFound;
                let of_path = is_absent && self.is_unlisted(&key.module);
                let reason = if of_path { Reason::Path } else { Reason::Version };
                self.remembered.put(key, (error.clone(), reason));
            }
            _ => {}
        }
    }
}

stage!(Negative<S>: Missed => ModuleResponse, over Missed => ModuleResponse);
