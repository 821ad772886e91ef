use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::TaskTracker;
use tower::Layer;

use super::NetworkMode;
use super::answers::{Answers, Kept};
use super::lists::Said;
use super::service::{Key, QueryKey, Shared, Versions};
use crate::missing_paths::MissingPaths;
use crate::ports::{Fetched, Policy};
use crate::purge::{Forgets, Purge};
use crate::request::FetchRequest;
use crate::stack::Border;
use crate::storage_io::StorageHandle;
use crate::telemetry::Telemetry;

/// What kept answers may take together, in bytes.
pub const ANSWERS_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// What the versions that queries stand for may take together, in bytes.
pub const QUERIES_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// What the questions that upstream has just failed on may take, of lists and of queries, in bytes.
pub const FAILURES_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What the layer is told.
#[derive(Clone, Copy, Debug)]
pub struct VersionsConfig {
    /// How far upstream is trusted to be there.
    pub network_mode: NetworkMode,
    /// How long an answer is given without asking again.
    pub fresh_for: Duration,
    /// For how long after that it is still given, while a new one is fetched.
    pub stale_while_revalidate: Duration,
    /// How old an answer may be that is given because upstream fails.
    pub stale_if_error: Duration,
    /// How long "does not exist" is given without asking again.
    pub negative_for: Duration,
    /// The same for what a query stands for.
    pub negative_version_for: Duration,
    /// How long upstream may take.
    pub timeout: Duration,
}

/// Makes [`Versions`].
#[derive(Clone)]
pub struct VersionsLayer {
    pub(super) shared: Arc<Shared>,
}

impl VersionsLayer {
    /// Asks `upstream` and `storage`, as `policy` says for each module. `tasks` counts calls under way.
    pub fn new(
        config: VersionsConfig,
        upstream: Border<FetchRequest, Fetched>,
        storage: StorageHandle,
        policy: Arc<dyn Policy>,
        tasks: TaskTracker,
        telemetry: &Telemetry,
    ) -> Self {
        let missing = MissingPaths::new(config.negative_for);
        let (of_lists, of_queries) = (missing.purges().clone(), missing.purges().clone());
        let (counted, failures) = (tasks.clone(), FAILURES_BYTES_MAX);
        Self {
            shared: Arc::new(Shared {
                config,
                upstream,
                storage,
                policy,
                lists: Answers::new(ANSWERS_BYTES_MAX, failures, counted, of_lists),
                queries: Answers::new(QUERIES_BYTES_MAX, failures, tasks, of_queries),
                missing,
                metrics: Arc::clone(&telemetry.metrics),
            }),
        }
    }

    /// The paths that turn out not to exist: for `negative`, which goes by them.
    pub fn missing(&self) -> MissingPaths {
        self.shared.missing.clone()
    }

    /// Who forgets remembered "no"s.
    pub fn forgets(&self) -> Arc<dyn Forgets> {
        Arc::new(self.clone())
    }
}

impl fmt::Debug for VersionsLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VersionsLayer({:?})", self.shared.config)
    }
}

impl Forgets for VersionsLayer {
    /// What there is stays listed: only a "no" may have become wrong, and a branch may have moved.
    fn forget(&self, purge: &Purge) -> usize {
        // First: what is asked from now on is asked anew, and what was asked before is not learnt any more.
        self.shared.missing.forgets().forget(purge);
        let is_meant = |(module, _): &Key, kept: &Kept<Said>| kept.is_err() && purge.covers(module);
        let forgotten = self.shared.lists.forget(is_meant);
        let has_moved = |(module, query): &QueryKey, _: &_| purge.covers_version(module, query);
        forgotten + self.shared.queries.forget(has_moved)
    }
}

impl<S> Layer<S> for VersionsLayer {
    type Service = Versions<S>;

    fn layer(&self, inner: S) -> Versions<S> {
        Versions { inner, shared: Arc::clone(&self.shared) }
    }
}
