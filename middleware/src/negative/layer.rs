use std::fmt;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use dipylon_protocol::path::ModulePath;
use dipylon_protocol::query::VersionQuery;
use dipylon_protocol::route::FileKind;
use serde_json::{Map, json};
use tower::Layer;

use super::service::{Memory, Negative};
use crate::error::Error;
use crate::explain::{Ending, Facts, Foretold, Subject, Tells, file_of};
use crate::missing_paths::MissingPaths;
use crate::ports::{BoxFuture, Policy};
use crate::purge::{Era, Forgets, Learns, Purge};
use crate::remember::Remember;
use crate::request::{ModuleRequest, StashKey, Want};
use crate::telemetry::Telemetry;

/// What the remembered answers may take together, in bytes.
pub const BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Makes [`Negative`]s that share one memory.
#[derive(Clone)]
pub struct NegativeLayer {
    memory: Memory,
}

impl NegativeLayer {
    /// Remembers each "no" about a version for `time_to_live`, and one about a version whose path is among
    /// the `missing` for as long as these; both as long as `policy` says, where it says so for the module.
    pub fn new(
        time_to_live: Duration,
        missing: MissingPaths,
        policy: Arc<dyn Policy>,
        telemetry: &Telemetry,
    ) -> Self {
        let metrics = Arc::clone(&telemetry.metrics);
        let remembered = Remember::new(BYTES_MAX);
        Self { memory: Memory { remembered, missing, time_to_live, policy, metrics } }
    }

    /// Who takes note of what a background stash finds out.
    pub fn learns(&self) -> Arc<dyn Learns> {
        Arc::new(self.clone())
    }

    /// Who forgets them.
    pub fn forgets(&self) -> Arc<dyn Forgets> {
        Arc::new(self.clone())
    }
}

impl fmt::Debug for NegativeLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NegativeLayer({:?})", self.memory.time_to_live)
    }
}

impl Learns for NegativeLayer {
    fn era(&self, module: &ModulePath) -> Era {
        self.memory.missing.purges().era(module)
    }

    /// Of all its files: none of them is served without the others.
    fn learn(&self, module: &ModulePath, version: &VersionQuery, error: &Error, asked: Era) {
        for kind in [FileKind::Info, FileKind::Mod, FileKind::Zip] {
            let (module, version) = (module.clone(), version.clone());
            let key = StashKey { module, version, want: Want::File(kind) };
            self.memory.learn(&key, error, asked);
        }
    }

    /// By its zip: what fails for good fails for all its files.
    fn knows(&self, module: &ModulePath, version: &VersionQuery) -> bool {
        let (module, version) = (module.clone(), version.clone());
        let key = StashKey { module, version, want: Want::File(FileKind::Zip) };
        self.memory.known(&key, &self.memory.policy.decide(&key.module)).is_some()
    }
}

impl Forgets for NegativeLayer {
    fn forget(&self, purge: &Purge) -> usize {
        let meant = &self.memory.remembered;
        meant.forget(|key, _| purge.covers_version(&key.module, &key.version))
    }
}

impl Tells for NegativeLayer {
    fn tell<'a>(&'a self, about: &'a Subject) -> BoxFuture<'a, Facts> {
        let Subject { module, version, .. } = about;
        let decision = self.memory.policy.decide(module);
        let mut told = Map::new();
        let shown = |error: &Error, age: Duration, left: Duration| {
            let (age, left) = (age.as_secs(), left.as_secs());
            json!({ "reason": error.message(), "age_seconds": age, "for_another_seconds": left })
        };
        if let Some((error, age, left)) = self.memory.nothing_at(module, &decision) {
            told.insert("path".to_owned(), shown(&error, age, left));
        }
        for kind in FileKind::ALL {
            let Some(version) = version.clone() else { break };
            let key = StashKey { module: module.clone(), version, want: Want::File(kind) };
            if let Some((error, age, left)) = self.memory.remembered(&key, &decision) {
                told.insert(kind.as_str().to_owned(), shown(&error, age, left));
            }
        }
        Box::pin(ready(if told.is_empty() { Facts::Null } else { Facts::Object(told) }))
    }

    fn foretell<'a>(&'a self, request: &'a ModuleRequest) -> BoxFuture<'a, Foretold> {
        let no = file_of(request).and_then(|file| {
            let want = Want::File(file.kind);
            self.memory.no(&StashKey { module: file.module, version: file.version, want })
        });
        Box::pin(ready(
            no.map_or(Foretold::Passes, |error| Foretold::Ends(Ending::with(&error.remembered()))),
        ))
    }
}

impl<S> Layer<S> for NegativeLayer {
    type Service = Negative<S>;

    fn layer(&self, inner: S) -> Negative<S> {
        Negative { inner, memory: self.memory.clone() }
    }
}
