mod admit;
mod running;

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dipylon_protocol::path::ModulePath;
use dipylon_protocol::query::VersionQuery;
use dipylon_protocol::route::FileKind;
use futures::FutureExt as _;
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

pub use self::admit::Ahead;
use self::running::Running;
use super::state::{
    ATTEMPTS_MAX, Key, Offer, Queue, Snapshot, TURNS_MAX, Taken, may_pass, pause, spread, was_asked,
};
use crate::error::{Error, ErrorKind};
use crate::events::{self, Event};
use crate::explain::{Facts, ROWS_TOLD_MAX, Subject, Tells};
use crate::flight::Flights;
use crate::ports::{BoxFuture, Fetcher, QueueEntry, QueueStore};
use crate::purge::Learns;
use crate::request::{RequestContext, StashKey, StashRequest, Want};
use crate::response::Stashed;
use crate::stack::Border;
use crate::storage_io::StorageHandle;
use crate::telemetry::trace::{RootEnd, SpanRef, current};
use crate::telemetry::{BackgroundEvent, Kept, Outcome, SpanAttribute, Telemetry, Trace, Work};

/// How long a write of the queue's store is waited for.
pub const STORE_PATIENCE: Duration = Duration::from_secs(5);

/// Whether policy, as it is now, allows to fetch a version of a module.
pub type MayFetch = Arc<dyn Fn(&ModulePath, &VersionQuery) -> bool + Send + Sync>;

/// How the background works.
#[derive(Clone, Copy, Debug)]
pub struct BackgroundConfig {
    /// How long one stash may take.
    pub timeout: Duration,
    /// Stashes that may wait or run.
    pub entries_max: usize,
    /// Stashes that run at a time.
    pub workers_max: usize,
}

/// What the background works with.
pub struct BackgroundPorts {
    /// The stash stack.
    pub stash: Border<StashRequest, Stashed>,
    /// Says which modules come as whole versions.
    pub fetcher: Arc<dyn Fetcher>,
    /// Says whether a version was stored in the end.
    pub storage: StorageHandle,
    /// Keeps entries across restarts, where there is one.
    pub store: Option<Arc<dyn QueueStore>>,
    /// Asked before each attempt.
    pub may_fetch: MayFetch,
    /// Remembers what cannot be had, so that the next request for it is told so.
    pub negatives: Arc<dyn Learns>,
    /// Counts running work; a drain waits for it.
    pub tasks: TaskTracker,
    /// Metrics.
    pub telemetry: Telemetry,
}

/// Stashes that nobody waits for, one after the other.
#[derive(Clone)]
pub struct Background(Arc<Shared>);

/// Who caused a stash.
#[derive(Clone)]
struct Cause {
    request_id: Arc<str>,
    span: Option<SpanRef>,
}

struct Shared {
    config: BackgroundConfig,
    ports: BackgroundPorts,
    queue: Mutex<Queue<Cause>>,
    /// Entries on their way to the store, and whether it took them: who asks for one meanwhile waits for the same
    /// write.
    keeping: Flights<Key, (Offer, bool)>,
    /// The queue's time goes on from that of the clock at the start, and never jumps.
    began: (Duration, Instant),
}

/// What a drain leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Entries that wait or run, and that the next process goes on with.
    pub kept: usize,
    /// Entries that the store does not have, those among them that policy forbids.
    pub lost: usize,
}

/// How one attempt ended.
enum Ended {
    Stored,
    Failed(Error),
}

impl Background {
    /// With these ports.
    pub fn new(config: BackgroundConfig, ports: BackgroundPorts) -> Self {
        let queue = Mutex::new(Queue::new(config.entries_max, config.workers_max));
        let keeping = Flights::new(ports.tasks.clone());
        let today = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let began = (today, Instant::now());
        Self(Arc::new(Shared { config, ports, queue, keeping, began }))
    }

    /// Goes on with what an earlier process had accepted, and policy allows; how many that are. The others
    /// stay on disk.
    pub fn recover(&self, entries: Vec<QueueEntry>) -> usize {
        let shared = &self.0;
        let (now, today) = (shared.now(), SystemTime::now());
        let (mut recovered, mut held) = (0, 0);
        for QueueEntry { module, version, accepted } in entries {
            let age = today.duration_since(accepted).unwrap_or_default();
            let since = now.saturating_sub(age);
            if !(shared.ports.may_fetch)(&module, &version) {
                shared.count(BackgroundEvent::Forbidden);
                shared.queue.lock().hold_recovered(Key { module, version }, since);
                held += 1;
                continue;
            }
            let cause = Cause::of_nobody();
            let offer = shared.queue.lock().recover(&Key { module, version }, cause, since, now);
            if offer == Offer::Accepted {
                shared.count(BackgroundEvent::Recovered);
                recovered += 1;
            }
        }
        if held > 0 {
            tracing::warn!(
                waiting = held,
                "background fetches of before the start stay on disk: policy forbids to fetch them now"
            );
        }
        Shared::start_workers(shared);
        recovered
    }

    /// Policy has become another: what it forbade and allows by now waits for its turn again.
    pub fn reconsider(&self) {
        Shared::reconsider(&self.0);
    }

    /// What a drain leaves behind. What the store has not taken is offered to it once more.
    pub async fn leave(&self) -> Left {
        let shared = &self.0;
        let unkept = shared.queue.lock().unkept();
        if let Some(store) = &shared.ports.store {
            let writes = unkept.into_iter().map(|(key, since)| async move {
                let (module, version) = (key.module.clone(), key.version.clone());
                let entry = QueueEntry { module, version, accepted: UNIX_EPOCH + since };
                if patiently(store.keep(&entry)).await.is_ok() {
                    shared.queue.lock().kept(&key);
                }
            });
            futures::future::join_all(writes).await;
        }
        let queue = shared.queue.lock();
        Left { kept: queue.kept_count(), lost: queue.unkept().len() }
    }

    /// The queue now, with `entries_max` entries at most.
    pub fn snapshot(&self, entries_max: usize) -> Snapshot {
        self.0.queue.lock().snapshot(entries_max, self.0.now())
    }

    /// Entries that may wait or run.
    pub fn capacity(&self) -> usize {
        self.0.config.entries_max
    }

    /// Whether entries outlive the process.
    pub fn is_kept(&self) -> bool {
        self.0.ports.store.is_some()
    }
}

impl Tells for Background {
    fn tell<'a>(&'a self, about: &'a Subject) -> BoxFuture<'a, Facts> {
        let (queue, version) = (self.0.queue.lock(), about.version.as_ref());
        let entries = queue.about(&about.module, version, ROWS_TOLD_MAX, self.0.now());
        drop(queue);
        let rows = entries.into_iter().map(|(entry, before)| {
            json!({
                "version": entry.version.as_str(),
                "state": entry.standing.as_str(),
                "age_seconds": entry.age.as_secs(),
                "attempts": entry.attempts,
                "before_it": before,
            })
        });
        Box::pin(std::future::ready(rows.collect()))
    }
}

impl fmt::Debug for Background {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Snapshot { queued, running, .. } = self.snapshot(0);
        write!(f, "Background({queued} queued, {running} running)")
    }
}

impl Cause {
    /// No request waits for it any more.
    fn of_nobody() -> Self {
        Self { request_id: "-".into(), span: None }
    }
}

impl Shared {
    fn count(&self, event: BackgroundEvent) {
        self.ports.telemetry.metrics.background_events.get((event,)).inc();
    }

    fn note(&self, offer: Offer, key: &Key) {
        match offer {
            Offer::Accepted => self.count(BackgroundEvent::Accepted),
            Offer::Duplicate => self.count(BackgroundEvent::Duplicate),
            Offer::Full => {
                self.ports.telemetry.metrics.background_refused.get(()).inc();
                let refused = self.queue.lock().refused(self.now());
                if let Some(refused) = refused {
                    tracing::warn!(module = %key.module, version = %key.version, refused,
                        entries_max = self.config.entries_max,
                        "too many background fetches (Dipylon.QueueMaxEntries): the newest are left out");
                }
            }
        }
        self.show();
    }

    fn offer(&self, key: &Key, cause: Cause) -> Offer {
        self.queue.lock().offer(key.clone(), cause, self.now())
    }

    /// The gauges follow the queue.
    fn show(&self) {
        let queue = self.queue.lock();
        let metrics = &self.ports.telemetry.metrics;
        metrics.background_queued.get(()).set(queue.queued() as i64);
        metrics.background_active.get(()).set(queue.running() as i64);
    }

    /// Has an entry kept. One that cannot be is fetched all the same: it is only not safe from a crash.
    async fn keep(&self, key: &Key) -> bool {
        let Some(store) = &self.ports.store else { return false };
        let (module, version) = (key.module.clone(), key.version.clone());
        let entry = QueueEntry { module, version, accepted: SystemTime::now() };
        let written = patiently(store.keep(&entry)).await;
        if let Err(error) = &written {
            self.count(BackgroundEvent::Unkept);
            tracing::error!(module = %key.module, version = %key.version, %error,
                "a background fetch would not survive a restart");
        }
        written.is_ok()
    }

    async fn forget(&self, key: &Key) {
        let Some(store) = &self.ports.store else { return };
        if let Err(error) = patiently(store.forget(&key.module, &key.version)).await {
            // It is looked at again after the next start, and found to be done.
            tracing::warn!(module = %key.module, version = %key.version, %error,
                "a background fetch that has ended stays in the queue's directory");
        }
    }

    /// Whether the process ends and there is a next one to leave entries to: what is kept on disk waits for it,
    /// what is not is done before this process ends.
    fn leaves_the_rest(&self) -> bool {
        self.ports.store.is_some() && self.ports.tasks.is_closed()
    }

    fn take(&self) -> Option<Taken<Cause>> {
        let taken = self.queue.lock().take(self.now(), self.leaves_the_rest());
        self.show();
        taken
    }

    fn reconsider(this: &Arc<Self>) {
        let held = this.queue.lock().held();
        let mut taken_back = 0;
        for key in held.iter().filter(|key| this.may_fetch(key)) {
            if this.queue.lock().take_back(key, Cause::of_nobody(), this.now()) {
                this.count(BackgroundEvent::Allowed);
                taken_back += 1;
            }
        }
        if taken_back > 0 {
            tracing::info!(taken_back, "background fetches go on: policy allows them again");
        }
        Self::start_workers(this);
    }

    fn now(&self) -> Duration {
        let (today, started) = self.began;
        today + started.elapsed()
    }

    /// As many workers as there is work and room for.
    fn start_workers(this: &Arc<Self>) {
        while let Some(taken) = this.take() {
            let shared = Arc::clone(this);
            this.ports.tasks.spawn(async move {
                let mut next = Some(taken);
                while let Some(taken) = next {
                    Self::run(&shared, taken).await;
                    next = shared.take();
                }
            });
        }
    }

    /// One turn of an entry; what is said of it is said in the trace that it has.
    async fn run(this: &Arc<Self>, taken: Taken<Cause>) {
        let trace = this.ports.telemetry.tracer.work(Work::BackgroundStash, taken.job.span);
        let id = trace.id();
        current::within(id, Self::run_in(this, trace, taken)).await;
    }

    async fn run_in(this: &Arc<Self>, trace: Trace, taken: Taken<Cause>) {
        let Taken { key, job: cause, attempt, turn, age } = taken;
        // A stash that is dropped with its runtime frees its place.
        let running = Running { shared: Arc::clone(this), key: Some(key.clone()) };
        if !this.may_fetch(&key) {
            return running.put_by(&key).await;
        }
        if turn == 1 {
            let waited = this.ports.telemetry.metrics.background_wait_seconds.get(());
            waited.observe(age.as_secs_f64());
        }
        let asked = this.ports.negatives.era(&key.module);
        // Safe to assert: the attempt and all it owns is dropped with the panic.
        let attempted = AssertUnwindSafe(this.stash(&key, cause, trace)).catch_unwind().await;
        let error = match attempted.unwrap_or_else(|_| Ended::Failed(panicked())) {
            Ended::Stored => {
                this.count(BackgroundEvent::Stored);
                this.forget(&key).await;
                return drop(running);
            }
            Ended::Failed(error) => error,
        };
        // Policy has changed in the middle of it: whatever it failed of, it may be allowed again.
        if !this.may_fetch(&key) {
            return running.put_by(&key).await;
        }
        let (module, version) = (&key.module, &key.version);
        if this.leaves_the_rest() && this.queue.lock().is_kept(&key) {
            // A process that ends may fail in ways of its own: the next one has a better word.
            tracing::info!(%module, %version, attempt, %error,
                "a background fetch failed at the end of the process, and waits on disk for the next start");
            return running.again(this.now(), true);
        }
        let was_asked = was_asked(error.kind());
        let is_last = turn >= TURNS_MAX || (was_asked && attempt >= ATTEMPTS_MAX);
        // Who asked after a purge shares this entry, and the question was older.
        let is_outdated = this.ports.negatives.era(module) != asked;
        if is_last || !(may_pass(error.kind()) || is_outdated) {
            this.count(BackgroundEvent::Dropped);
            tracing::warn!(%module, %version, attempt, %error, "a background fetch failed");
            this.ports.negatives.learn(module, version, &error, asked);
            this.forget(&key).await;
            return drop(running);
        }
        let pause = spread(pause(turn, error.retry_after()), &key, turn);
        this.count(BackgroundEvent::Repeated);
        tracing::info!(%module, %version, attempt, pause_seconds = pause.as_secs(), %error,
            "a background fetch is tried again later");
        running.again(this.now() + pause, was_asked);
        // No drain waits for a pause, so this task is not counted.
        let shared = Arc::clone(this);
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            if !shared.ports.tasks.is_closed() {
                Self::start_workers(&shared);
            }
        });
    }

    fn may_fetch(&self, key: &Key) -> bool {
        (self.ports.may_fetch)(&key.module, &key.version)
    }

    /// One attempt, in a trace of its own.
    async fn stash(&self, key: &Key, cause: Cause, trace: Trace) -> Ended {
        let began = Instant::now();
        let context = RequestContext {
            id: Arc::clone(&cause.request_id),
            trace,
            deadline: Instant::now() + self.config.timeout,
            timings: Arc::default(),
        };
        context.trace.keep(Kept::Miss);
        let result = self.stashed(&context, key).await;
        let (outcome, error) = match &result {
            Ok(outcome) => (*outcome, None),
            Err(error) => (error.outcome(), Some(error.message())),
        };
        let end = RootEnd {
            name: Work::BackgroundStash.into(),
            outcome,
            error,
            is_loud: error.is_some(),
            waited: Duration::ZERO,
            ended: std::time::Instant::now(),
        };
        context.trace.end(&end, |attributes| {
            attributes.push((SpanAttribute::Module, key.module.as_str().into()));
            attributes.push((SpanAttribute::Version, key.version.as_str().into()));
        });
        self.ports.telemetry.events.note(Event {
            at: SystemTime::now(),
            what: events::BACKGROUND,
            module: key.module.shared(),
            version: Some(key.version.shared()),
            outcome,
            error: error.map(str::to_owned),
            upstream: None,
            duration: began.elapsed(),
            trace: context.trace.id(),
            request_id: Arc::clone(&context.id),
        });
        match result {
            Ok(_) => Ended::Stored,
            Err(error) => Ended::Failed(error),
        }
    }

    /// Ends well where the version is stored whole, however it came there.
    async fn stashed(&self, context: &RequestContext, key: &Key) -> Result<Outcome, Error> {
        let Key { module, version } = key.clone();
        let want = if self.ports.fetcher.fetches_whole_versions(&module) {
            Want::Version
        } else {
            // A zip brings its `.info` and `.mod` along: one 404 is enough for all three, as in Athens.
            Want::File(FileKind::Zip)
        };
        let key = StashKey { module, version, want };
        let module = key.module.clone();
        let stashed = self.ports.stash.send(StashRequest { context: context.clone(), key }).await?;
        // What fails behind a stash's answer: a zip that is cut, a store that refuses.
        let refusal = stashed.finished.refusal().await;
        let storage = &self.ports.storage;
        match storage.read(context, &module, &stashed.version, FileKind::Info).await? {
            Some(_) => Ok(stashed.outcome),
            None => {
                let unsaid = || {
                    let version = &stashed.version;
                    let text = format!("{module}@{version} was fetched and is not stored");
                    Error::new(ErrorKind::Internal, text)
                };
                Err(refusal.cloned().unwrap_or_else(unsaid))
            }
        }
    }
}

/// What the store says, or that it says nothing: then nobody knows whether it has written.
async fn patiently(written: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    tokio::time::timeout(STORE_PATIENCE, written).await.unwrap_or_else(|_| {
        let seconds = STORE_PATIENCE.as_secs();
        let text = format!("the queue's directory took no write within {seconds} s");
        Err(Error::new(ErrorKind::Storage, text))
    })
}

/// The panic itself is in the log: the hook of the process writes it.
fn panicked() -> Error {
    Error::new(ErrorKind::Internal, "the gateway made a mistake: the attempt panicked")
}
