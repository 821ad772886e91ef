use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dipylon_protocol::path::ModulePath;

use crate::error::{Error, ErrorKind};
use crate::missing_paths::MissingPaths;
use crate::ports::{Decision, Mode, Policy};
use crate::purge::Era;
use crate::remember::{Remember, Weigh};
use crate::request::{Missed, StashKey, Want};
use crate::response::{Answer, ModuleResponse};
use crate::stack::{Stage, stage};
use crate::telemetry::{Found, Metrics, Tier};

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
    pub(super) metrics: Arc<Metrics>,
}

impl<S> fmt::Debug for Negative<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Negative({:?})", self.memory.time_to_live)
    }
}

impl<S: Stage<Missed, Reply = ModuleResponse>> Negative<S> {
    async fn handle(&self, missed: Missed) -> Result<ModuleResponse, Error> {
        let Self { inner, memory } = self;
        let request = &missed.request;
        let key = StashKey {
            module: request.module.clone(),
            version: request.version.clone(),
            want: Want::File(request.kind),
        };
        let remembered = memory.no(&key);
        let found = if remembered.is_some() { Found::Hit } else { Found::Miss };
        memory.metrics.lookups.get((Tier::Negatives, found)).inc();
        if let Some(error) = remembered {
            return Err(error);
        }
        let asked = memory.missing.purges().era(&key.module);
        let result = inner.run(missed).await;
        match &result {
            Ok(ModuleResponse { answer: Answer::File { .. }, .. }) => {
                memory.missing.exists(&key.module);
            }
            Err(error) => memory.learn(&key, error, asked),
            Ok(_) => {}
        }
        result
    }
}

impl Memory {
    /// What upstream said counts only where upstream would be asked: a module whose mode redirects may well
    /// exist where its clients are sent.
    pub(super) fn no(&self, key: &StashKey) -> Option<Error> {
        let decision = self.policy.decide(&key.module);
        let is_asked = matches!(decision.mode, Mode::Sync | Mode::Async);
        let (error, left) = self.known(key, &decision).filter(|_| is_asked)?;
        Some(error.remembered_for(left))
    }

    /// What is remembered, and not too old by this decision, and for how long it counts yet.
    pub(super) fn known(&self, key: &StashKey, decision: &Decision) -> Option<(Error, Duration)> {
        let of_version = self.remembered(key, decision);
        let no = of_version.or_else(|| self.nothing_at(&key.module, decision));
        no.map(|(error, _, left)| (error, left))
    }

    /// What is remembered of the version alone, how old it is, and for how long it counts yet.
    pub(super) fn remembered(
        &self,
        key: &StashKey,
        decision: &Decision,
    ) -> Option<(Error, Duration, Duration)> {
        let (version_ttl, path_ttl) = self.times(decision);
        let ((error, reason), age) = self.remembered.get(key, version_ttl.max(path_ttl))?;
        let goes_with_path =
            reason == Reason::Path && self.missing.is_unlisted(&key.module, path_ttl);
        let left = if goes_with_path { path_ttl } else { version_ttl }.checked_sub(age)?;
        Some((error, age, left))
    }

    /// That there is nothing at the path, how long that is known, and for how long it counts yet.
    pub(super) fn nothing_at(
        &self,
        module: &ModulePath,
        decision: &Decision,
    ) -> Option<(Error, Duration, Duration)> {
        let (_, path_ttl) = self.times(decision);
        let (error, age) = self.missing.nothing_at_since(module, path_ttl)?;
        Some((error, age, path_ttl.saturating_sub(age)))
    }

    /// How long a "no" about a version counts, and one about a path.
    fn times(&self, decision: &Decision) -> (Duration, Duration) {
        match decision.negative_for {
            Some(time) => (time, time),
            None => (self.time_to_live, self.missing.time_to_live()),
        }
    }

    /// What was said to a question of that time, if it is one to remember.
    pub(super) fn learn(&self, key: &StashKey, error: &Error, asked: Era) {
        if !error.kind().is_permanent() {
            return;
        }
        let (_, path_ttl) = self.times(&self.policy.decide(&key.module));
        let is_absent = error.kind() == ErrorKind::NotFound;
        let of_path = is_absent && self.missing.is_unlisted(&key.module, path_ttl);
        let reason = if of_path { Reason::Path } else { Reason::Version };
        let write = || self.remembered.put(key.clone(), (error.clone(), reason));
        self.missing.purges().learn(&key.module, asked, write, || self.remembered.remove(key));
    }
}

stage!(Negative<S>: Missed => ModuleResponse, over Missed => ModuleResponse);
