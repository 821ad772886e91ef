mod ahead;
mod background;
mod bounds;
mod machine;
mod told;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::query::VersionQuery;
use dipylon_protocol::route::FileKind;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::{Background, BackgroundConfig, BackgroundPorts, Dispatch, MayFetch};
use crate::error::{Error, ErrorKind};
use crate::ports::{Fetcher, QueueStore};
use crate::purge::{Era, Learns, Purges};
use crate::request::{Plan, Planned, RequestContext, StashKey, StashRequest, Want};
use crate::response::{Answer, Files, Finished, Stashed};
use crate::stack::Border;
use crate::telemetry::{BackgroundEvent, Outcome, SpanAttribute, Telemetry, Work};
use crate::testing::below::{Held, assert_passes_unchanged, error_from_below};
use crate::testing::release::Release;
use crate::testing::storage::MemoryStorage;
use crate::testing::upstream::ScriptedUpstream;
use crate::testing::{
    SECOND, answered_file, call, error, file_request, query, settle, spans, stashed, telemetry,
    version,
};

/// A stash stack that notes what it is asked and answers when a test lets it.
#[derive(Clone)]
struct Stashes {
    asked: Arc<Mutex<Vec<StashRequest>>>,
    /// One permit lets one stash end.
    gate: Arc<Semaphore>,
    result: Arc<Mutex<Result<Stashed, Error>>>,
    /// Where a stash that ends well leaves its version, unless `saves` is false.
    storage: Arc<MemoryStorage>,
    saves: Arc<AtomicBool>,
    /// What is wrong behind each answer.
    refusal: Arc<Mutex<Option<ErrorKind>>>,
}

impl Stashes {
    fn new(open: bool) -> Self {
        let gate = Arc::new(Semaphore::new(if open { Semaphore::MAX_PERMITS } else { 0 }));
        let files = Files {
            info: Some(Bytes::from_static(b"info")),
            go_mod: Some(Bytes::from_static(b"mod")),
            ..Files::default()
        };
        let result = Arc::new(Mutex::new(Ok(stashed("v1.0.0", files))));
        let saves = Arc::new(AtomicBool::new(true));
        let (asked, refusal) = (Arc::default(), Arc::default());
        Self { asked, gate, result, storage: MemoryStorage::new(), saves, refusal }
    }

    fn border(&self) -> Border<StashRequest, Stashed> {
        let stashes = self.clone();
        Border::new(tower::service_fn(move |request: StashRequest| {
            stashes.asked.lock().push(request.clone());
            let stashes = stashes.clone();
            async move {
                stashes.gate.acquire().await.expect("the gate is never closed").forget();
                let mut stashed = stashes.result.lock().clone()?;
                let StashKey { module, version, .. } = request.key;
                if let Some(kind) = *stashes.refusal.lock() {
                    let (guard, finished) = Finished::new();
                    guard.refuse(error(kind));
                    return Ok(Stashed { finished, ..stashed });
                }
                stashed.version = version.canonical().cloned().unwrap_or(stashed.version);
                if stashes.saves.load(Ordering::SeqCst) {
                    let release = Release::new(module.as_str(), stashed.version.as_str());
                    stashes.storage.put(release);
                }
                Ok(stashed)
            }
        }))
    }

    fn asked(&self) -> Vec<StashRequest> {
        self.asked.lock().clone()
    }
}

/// What the background found out for good: versions, with the kind of the error, and when it began to ask.
#[derive(Default)]
struct Learned {
    noes: Mutex<Vec<(String, ErrorKind, Era)>>,
    purges: Purges,
}

impl Learns for Learned {
    fn era(&self, module: &ModulePath) -> Era {
        self.purges.era(module)
    }

    fn learn(&self, module: &ModulePath, version: &VersionQuery, error: &Error, asked: Era) {
        self.noes.lock().push((format!("{module}@{version}"), error.kind(), asked));
    }

    fn knows(&self, module: &ModulePath, version: &VersionQuery) -> bool {
        let name = format!("{module}@{version}");
        self.noes.lock().iter().any(|(known, _, _)| *known == name)
    }
}

struct Bench {
    dispatch: Dispatch,
    background: Background,
    stashes: Stashes,
    learned: Arc<Learned>,
    tasks: TaskTracker,
    telemetry: Telemetry,
}

/// How a bench differs from the usual one.
struct Setup {
    stashes: Stashes,
    fetcher: Arc<dyn Fetcher>,
    store: Option<Arc<dyn QueueStore>>,
    may_fetch: MayFetch,
    entries_max: usize,
    workers_max: usize,
    telemetry: Telemetry,
}

impl Setup {
    fn new(open: bool) -> Self {
        let (stashes, fetcher) = (Stashes::new(open), ScriptedUpstream::new());
        let may_fetch: MayFetch = Arc::new(|_, _| true);
        let (entries_max, workers_max, telemetry) = (1_000, 1_000, telemetry());
        Self { stashes, fetcher, store: None, may_fetch, entries_max, workers_max, telemetry }
    }

    fn bench(self) -> Bench {
        let tasks = TaskTracker::new();
        let Self { stashes, fetcher, store, may_fetch, entries_max, workers_max, telemetry } = self;
        let learned = Arc::<Learned>::default();
        let config = BackgroundConfig { timeout: 90 * SECOND, entries_max, workers_max };
        let ports = BackgroundPorts {
            stash: stashes.border(),
            fetcher: Arc::clone(&fetcher),
            storage: stashes.storage.handle(&telemetry),
            store,
            may_fetch,
            negatives: Arc::clone(&learned) as _,
            tasks: tasks.clone(),
            telemetry: telemetry.clone(),
        };
        let background = Background::new(config, ports);
        let dispatch = Dispatch::new(stashes.border(), fetcher, background.clone());
        Bench { dispatch, background, stashes, learned, tasks, telemetry }
    }
}

fn bench(open: bool) -> Bench {
    Setup::new(open).bench()
}

impl Bench {
    /// Entries that wait, and those that run, as the metrics have them.
    fn gauges(&self) -> (i64, i64) {
        let metrics = &self.telemetry.metrics;
        (metrics.background_queued.get(()).get(), metrics.background_active.get(()).get())
    }

    fn active(&self) -> i64 {
        self.gauges().1
    }

    fn events(&self, event: BackgroundEvent) -> u64 {
        self.telemetry.metrics.background_events.get((event,)).get()
    }

    fn refused(&self) -> u64 {
        self.telemetry.metrics.background_refused.get(()).get()
    }

    /// Asks for a version in the background; the client's answer is always the same.
    async fn ask(&self, version: &str) {
        let request = file_request(version, FileKind::Mod);
        let planned = Planned { request, plan: Plan::StashInBackground };
        let refused = call(&self.dispatch, planned).await.expect_err("404");
        assert_eq!(refused.kind(), ErrorKind::AsyncAccepted);
    }

    /// The versions that the stash stack was asked for, in order.
    fn versions(&self) -> Vec<String> {
        let asked = self.stashes.asked();
        asked.iter().map(|asked| asked.key.version.as_str().to_owned()).collect()
    }
}

fn planned(plan: Plan) -> Planned {
    Planned { request: file_request("v1.0.0", FileKind::Mod), plan }
}

#[tokio::test(start_paused = true)]
async fn stash_answers_with_the_file_that_was_asked() {
    let bench = bench(true);
    let response = call(&bench.dispatch, planned(Plan::Stash)).await.expect("stashed");
    assert_eq!(response.outcome, Outcome::MissLeader);
    assert_eq!(response.asked, None);
    assert_eq!(answered_file(&response).await, "mod");
    let asked = bench.stashes.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].key.want, Want::File(FileKind::Mod));
    assert_eq!(asked[0].key.version, query("v1.0.0"));
}

#[tokio::test(start_paused = true)]
async fn a_query_is_answered_with_its_version_and_says_that_it_was_one() {
    let bench = bench(true);
    let request = file_request("main", FileKind::Info);
    let response = call(&bench.dispatch, Planned { request, plan: Plan::Stash }).await.unwrap();
    assert_eq!(response.asked, Some(query("main")));
    let Answer::File { version: of, .. } = response.answer else { panic!("not a file") };
    assert_eq!(of, version("v1.0.0"));
}

#[tokio::test(start_paused = true)]
async fn where_all_files_come_at_once_all_files_share_one_stash() {
    let bench =
        Setup { fetcher: ScriptedUpstream::of_whole_versions(), ..Setup::new(true) }.bench();
    call(&bench.dispatch, planned(Plan::Stash)).await.expect("stashed");
    call(&bench.dispatch, planned(Plan::StashInBackground)).await.expect_err("404");
    settle().await;
    assert!(bench.stashes.asked().iter().all(|asked| asked.key.want == Want::Version));
    assert_eq!(bench.stashes.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn services_of_one_dispatch_share_the_queue() {
    let bench = bench(false);
    let other = bench.dispatch.clone();
    bench.ask("v1.0.0").await;
    call(&other, planned(Plan::StashInBackground)).await.expect_err("404");
    settle().await;
    assert_eq!((bench.gauges(), bench.events(BackgroundEvent::Duplicate)), ((0, 1), 1));
}

#[tokio::test(start_paused = true)]
async fn an_error_from_below_passes_unchanged() {
    let (bench, kind) = (bench(true), ErrorKind::UpstreamThrottled);
    *bench.stashes.result.lock() = Err(error_from_below(kind));
    assert_passes_unchanged(&bench.dispatch, planned(Plan::Stash), kind).await;
}

#[tokio::test(start_paused = true)]
async fn a_stash_without_the_asked_file_is_a_defect_not_an_empty_answer() {
    let bench = bench(true);
    let request = file_request("v1.0.0", FileKind::Zip);
    let failed = call(&bench.dispatch, Planned { request, plan: Plan::Stash }).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Internal);
}

#[tokio::test(start_paused = true)]
async fn stash_in_background_is_404_at_once_and_fetches_all_three_files() {
    let bench = bench(false);
    let refused = call(&bench.dispatch, planned(Plan::StashInBackground)).await.expect_err("404");
    assert_eq!(refused.kind(), ErrorKind::AsyncAccepted);
    assert!(refused.message().contains("example.com/m@v1.0.0"), "{refused}");
    settle().await;
    let asked = bench.stashes.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].key.want, Want::File(FileKind::Zip), "a zip brings the other two along");
    assert_eq!(asked[0].context.deadline, Instant::now() + 90 * SECOND, "its own deadline");
    assert_eq!(bench.active(), 1);
    bench.stashes.gate.add_permits(1);
    settle().await;
    assert_eq!(bench.active(), 0);
}

#[tokio::test(start_paused = true)]
async fn redirect_answers_and_fetches_nothing() {
    let bench = bench(true);
    let plan = Plan::Redirect("https://a.example/x".to_owned());
    let response = call(&bench.dispatch, planned(plan)).await.expect("a redirect");
    assert_eq!(response.outcome, Outcome::Redirected);
    assert!(
        matches!(response.answer, Answer::Redirect { location: to, .. } if to == "https://a.example/x")
    );
    settle().await;
    assert!(bench.stashes.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn redirect_and_stash_does_both() {
    let bench = bench(true);
    let plan = Plan::RedirectAndStash("https://a.example/x".to_owned());
    let response = call(&bench.dispatch, planned(plan)).await.expect("a redirect");
    assert!(
        matches!(response.answer, Answer::Redirect { location: to, .. } if to == "https://a.example/x")
    );
    settle().await;
    assert_eq!(bench.stashes.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn refuse_is_404_and_fetches_nothing() {
    let bench = bench(true);
    let refused = call(&bench.dispatch, planned(Plan::Refuse)).await.expect_err("404");
    assert_eq!(refused.kind(), ErrorKind::NotStored);
    settle().await;
    assert!(bench.stashes.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_ends_its_stash_and_none_in_the_background() {
    let (held, bench) = (Held::default(), bench(true));
    let ports = BackgroundPorts {
        stash: held.service(),
        fetcher: ScriptedUpstream::new(),
        storage: bench.stashes.storage.handle(&bench.telemetry),
        store: None,
        may_fetch: Arc::new(|_, _| true),
        negatives: Arc::<Learned>::default(),
        tasks: bench.tasks.clone(),
        telemetry: bench.telemetry.clone(),
    };
    let config = BackgroundConfig { timeout: 90 * SECOND, entries_max: 9, workers_max: 9 };
    let background = Background::new(config, ports);
    let dispatch = Dispatch::new(held.service(), ScriptedUpstream::new(), background);
    held.assert_ends_with_its_caller(&dispatch, planned(Plan::Stash)).await;
    call(&dispatch, planned(Plan::StashInBackground)).await.expect_err("404");
    settle().await;
    let under_way = (held.counts(), bench.tasks.len());
    assert_eq!(under_way, ((2, 1), 1), "the second goes on, the first does not");
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_the_commit_of_a_background_stash() {
    let bench = bench(false);
    let (guard, finished) = Finished::new();
    let mut result = stashed("v1.0.0", Files::default());
    result.finished = finished;
    *bench.stashes.result.lock() = Ok(result);
    drop(call(&bench.dispatch, planned(Plan::StashInBackground)).await);
    bench.tasks.close();
    let mut drain = Box::pin(bench.tasks.wait());
    settle().await;
    assert!(futures::poll!(&mut drain).is_pending(), "the stash runs");
    bench.stashes.gate.add_permits(1);
    settle().await;
    assert!(futures::poll!(&mut drain).is_pending(), "its commit does");
    assert_eq!(bench.active(), 1);
    drop(guard);
    drain.await;
    assert_eq!(bench.active(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_background_stash_has_a_trace_of_its_own_linked_to_its_cause() {
    let (telemetry, spans) = spans::traced(spans::NOTABLE);
    let bench = Setup { telemetry, ..Setup::new(true) }.bench();
    let trace = spans::root(&bench.telemetry);
    let cause = trace.span().expect("a trace");
    let mut planned = planned(Plan::StashInBackground);
    planned.request.context = RequestContext { trace, ..planned.request.context };
    call(&bench.dispatch, planned).await.expect_err("404");
    settle().await;
    let own = {
        let asked = bench.stashes.asked();
        asked[0].context.trace.span().expect("a trace").trace
    };
    assert_ne!(own, cause.trace);
    let linked = spans.linked_to(cause.trace);
    assert_eq!(linked.len(), 1);
    assert_eq!((linked[0].name, linked[0].trace), (Work::BackgroundStash.into(), own));
    assert_eq!(linked[0].said(SpanAttribute::Module), "example.com/m");
    assert_eq!(linked[0].said(SpanAttribute::Version), "v1.0.0");
    assert_eq!(linked[0].said(SpanAttribute::Kept), "miss");
}
