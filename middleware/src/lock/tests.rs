mod holder;
mod machines;
mod outages;
mod told;
mod verdicts;
mod waiter;

use std::sync::Arc;
use std::time::Duration;

use dipylon_protocol::route::FileKind;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tower::Layer as _;

use super::{LockLayer, LockLimits};
use crate::error::{Error, ErrorKind};
use crate::purge::Purges;
use crate::request::{StashKey, StashRequest, Want};
use crate::response::{FinishGuard, Finished, Stashed};
use crate::stack::Border;
use crate::telemetry::{LockWait, Telemetry};
use crate::testing::below;
use crate::testing::lock::MemoryLock;
use crate::testing::release::Release;
use crate::testing::storage::MemoryStorage;
use crate::testing::{
    SECOND, context_for, leaf, module, purge_of, query, settle, stashed, telemetry,
};

/// The key of every request of these tests.
const KEY: &str = "example.com/m@v1.0.0";

const STASH_TIMEOUT: Duration = Duration::from_secs(600);

fn limits() -> LockLimits {
    LockLimits {
        lease: 10 * SECOND,
        renewal: 3 * SECOND,
        poll: SECOND / 4,
        ttl: 900 * SECOND,
        timeout: 15 * SECOND,
        max_retries: 10,
    }
}

fn request(want: Want) -> StashRequest {
    let (module, version) = (module("example.com/m"), query("v1.0.0"));
    StashRequest { context: context_for(STASH_TIMEOUT), key: StashKey { module, version, want } }
}

fn zip() -> StashRequest {
    request(Want::File(FileKind::Zip))
}

fn release() -> Release {
    Release::new("example.com/m", "v1.0.0")
}

/// One replica: its layer over a leaf that counts fetches, each of which goes on until the test ends it.
#[derive(Clone)]
struct Replica {
    layer: LockLayer,
    stack: Border<StashRequest, Stashed>,
    telemetry: Telemetry,
    tasks: TaskTracker,
    fetches: Arc<Mutex<Vec<Fetch>>>,
    purges: Purges,
}

/// A fetch under way, and when the stash has to be over.
struct Fetch {
    guard: FinishGuard,
    deadline: Instant,
}

impl Replica {
    fn new(lock: &Arc<MemoryLock>, storage: &Arc<MemoryStorage>) -> Self {
        Self::with(lock, storage, limits())
    }

    fn with(lock: &Arc<MemoryLock>, storage: &Arc<MemoryStorage>, limits: LockLimits) -> Self {
        let fetches: Arc<Mutex<Vec<Fetch>>> = Arc::default();
        let begun = Arc::clone(&fetches);
        let fetching = leaf(move |request: StashRequest| {
            let (guard, finished) = Finished::new();
            begun.lock().push(Fetch { guard, deadline: request.context.deadline });
            Ok(Stashed { finished, ..stashed("v1.0.0", Default::default()) })
        });
        Self::over(lock, storage, limits, fetching, fetches)
    }

    /// A replica whose fetches all fail.
    fn failing(lock: &Arc<MemoryLock>, storage: &Arc<MemoryStorage>) -> Self {
        let failing = below::failing(ErrorKind::UpstreamFailed);
        Self::over(lock, storage, limits(), failing, Arc::default())
    }

    fn over<S: crate::stack::Stage<StashRequest, Reply = Stashed>>(
        lock: &Arc<MemoryLock>,
        storage: &Arc<MemoryStorage>,
        limits: LockLimits,
        leaf: S,
        fetches: Arc<Mutex<Vec<Fetch>>>,
    ) -> Self {
        let (telemetry, tasks) = (telemetry(), TaskTracker::new());
        let handle = storage.handle(&telemetry);
        let lock = Arc::clone(lock);
        let purges = Purges::default();
        let layer = LockLayer::new(
            lock,
            limits,
            STASH_TIMEOUT,
            handle,
            purges.clone(),
            tasks.clone(),
            &telemetry,
        );
        let stack = Border::new(layer.layer(leaf));
        Self { layer, stack, telemetry, tasks, fetches, purges }
    }

    /// An operator has it forget what it knows.
    fn purge(&self) {
        self.purges.begin_era(&purge_of("example.com/m"));
    }

    async fn ask(&self, request: StashRequest) -> Result<Stashed, Error> {
        self.stack.send(request).await
    }

    /// Asks for the zip on a task of its own.
    fn asks(&self) -> JoinHandle<Result<Stashed, Error>> {
        tokio::spawn(self.stack.send(zip()))
    }

    fn fetches(&self) -> usize {
        self.fetches.lock().len()
    }

    /// Ends all fetches, and lets what follows from that happen.
    async fn end_fetches(&self) {
        for fetch in self.fetches.lock().drain(..) {
            drop(fetch.guard);
        }
        settle().await;
    }

    /// As [`Replica::end_fetches`], of fetches whose bytes are refused behind the answer.
    async fn refuse_fetches(&self, error: &Error) {
        for fetch in self.fetches.lock().drain(..) {
            fetch.guard.refuse(error.clone());
        }
        settle().await;
    }

    fn is_degraded(&self) -> bool {
        self.telemetry.metrics.lock_degraded.get(()).get() == 1
    }

    fn waits(&self, result: LockWait) -> u64 {
        self.telemetry.metrics.lock_wait_seconds.get((result,)).get_sample_count()
    }

    /// Nothing is held, awaited or running.
    fn assert_at_rest(&self) {
        let metrics = &self.telemetry.metrics;
        let gauges = (metrics.locks_held.get(()).get(), metrics.locks_awaited.get(()).get());
        assert_eq!((gauges, self.tasks.len()), ((0, 0), 0));
    }
}

/// Time passes, and what was due happens.
async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
    settle().await;
}
