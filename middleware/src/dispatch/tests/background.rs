//! Background stashes, from the request to the end.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicUsize;
use std::time::SystemTime;

use super::super::STORE_PATIENCE;
use super::super::state::{ATTEMPTS_MAX, PAUSE_MAX, PAUSE_MIN, SPREAD_PART, Standing};
use super::*;
use crate::dispatch::Left;
use crate::ports::{BoxFuture, QueueEntry};
use crate::testing::events::Events;
use crate::testing::{error, module};

/// Keeps entries in memory, and writes when a test lets it.
#[derive(Default)]
pub(super) struct Shelf {
    kept: Mutex<BTreeSet<String>>,
    forgotten: Mutex<Vec<String>>,
    pub(super) fails: AtomicBool,
    /// Writes wait for a permit.
    gate: Option<Semaphore>,
}

impl Shelf {
    pub(super) fn gated() -> Arc<Self> {
        Arc::new(Self { gate: Some(Semaphore::new(0)), ..Self::default() })
    }

    pub(super) fn kept(&self) -> Vec<String> {
        self.kept.lock().iter().cloned().collect()
    }
}

impl QueueStore for Shelf {
    fn keep<'a>(&'a self, entry: &'a QueueEntry) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            if let Some(gate) = &self.gate {
                gate.acquire().await.expect("the gate is never closed").forget();
            }
            if self.fails.load(Ordering::SeqCst) {
                return Err(error(ErrorKind::Storage));
            }
            self.kept.lock().insert(format!("{}@{}", entry.module, entry.version));
            Ok(())
        })
    }

    fn forget<'a>(
        &'a self,
        module: &'a ModulePath,
        version: &'a VersionQuery,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let name = format!("{module}@{version}");
            self.kept.lock().remove(&name);
            self.forgotten.lock().push(name);
            Ok(())
        })
    }
}

pub(super) fn kept_by(shelf: &Arc<Shelf>, open: bool) -> Setup {
    let store: Arc<dyn QueueStore> = Arc::<Shelf>::clone(shelf);
    Setup { store: Some(store), ..Setup::new(open) }
}

#[tokio::test(start_paused = true)]
async fn so_many_run_at_a_time_and_the_others_wait_for_their_turn() {
    let bench = Setup { workers_max: 2, ..Setup::new(false) }.bench();
    let versions: Vec<String> = (0..5).map(|minor| format!("v1.{minor}.0")).collect();
    for version in &versions {
        bench.ask(version).await;
    }
    settle().await;
    assert_eq!((bench.gauges(), bench.stashes.asked().len()), ((3, 2), 2));
    bench.stashes.gate.add_permits(1);
    settle().await;
    assert_eq!((bench.gauges(), bench.stashes.asked().len()), ((2, 2), 3));
    bench.stashes.gate.add_permits(4);
    settle().await;
    assert_eq!((bench.gauges(), bench.events(BackgroundEvent::Stored)), ((0, 0), 5));
    assert_eq!(bench.versions(), versions, "first come, first served");
}

#[tokio::test(start_paused = true)]
async fn a_version_is_in_the_queue_once_however_often_it_is_asked_for() {
    let bench = Setup { workers_max: 1, ..Setup::new(false) }.bench();
    for version in ["v1.0.0", "v1.1.0", "v1.0.0", "v1.1.0", "v1.1.0"] {
        bench.ask(version).await;
    }
    settle().await;
    assert_eq!(bench.gauges(), (1, 1));
    let counts = [BackgroundEvent::Accepted, BackgroundEvent::Duplicate].map(|e| bench.events(e));
    assert_eq!((counts, bench.refused()), ([2, 3], 0));
    bench.stashes.gate.add_permits(9);
    settle().await;
    assert_eq!(bench.versions(), ["v1.0.0", "v1.1.0"]);
}

#[tokio::test(start_paused = true)]
async fn the_newest_is_left_out_of_a_full_queue_counted_and_logged_once_in_a_while() {
    let (events, _capture) = Events::capture();
    let bench = Setup { entries_max: 2, workers_max: 1, ..Setup::new(false) }.bench();
    for minor in 0..7 {
        bench.ask(&format!("v1.{minor}.0")).await;
    }
    assert_eq!((bench.gauges(), bench.refused()), ((1, 1), 5));
    let logged = events
        .named("too many background fetches (Dipylon.QueueMaxEntries): the newest are left out");
    assert_eq!(logged.len(), 1);
    assert_eq!((logged[0].field("version"), logged[0].field("refused")), ("v1.2.0", "1"));
    bench.stashes.gate.add_permits(2);
    settle().await;
    assert_eq!(bench.versions(), ["v1.0.0", "v1.1.0"]);
    bench.ask("v1.2.0").await;
    assert_eq!(bench.refused(), 5, "a place had become free");
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_tried_again_after_a_pause_and_then_stored() {
    let bench = bench(true);
    *bench.stashes.result.lock() = Err(error(ErrorKind::UpstreamFailed));
    bench.ask("v1.0.0").await;
    settle().await;
    assert_eq!((bench.gauges(), bench.stashes.asked().len()), ((1, 0), 1));
    assert_eq!(bench.background.snapshot(9).entries[0].standing, Standing::Paused);
    *bench.stashes.result.lock() = Ok(stashed("v1.0.0", Files::default()));
    tokio::time::sleep(PAUSE_MIN - SECOND).await;
    assert_eq!(bench.stashes.asked().len(), 1, "not yet");
    tokio::time::sleep(SECOND + PAUSE_MIN / SPREAD_PART).await;
    settle().await;
    assert_eq!((bench.gauges(), bench.stashes.asked().len()), ((0, 0), 2));
    let counts = [BackgroundEvent::Repeated, BackgroundEvent::Stored].map(|e| bench.events(e));
    assert_eq!(counts, [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_stored_in_the_end_is_not_done_whatever_the_stash_said() {
    let bench = bench(true);
    bench.stashes.saves.store(false, Ordering::SeqCst);
    bench.ask("v1.0.0").await;
    settle().await;
    assert_eq!((bench.gauges(), bench.events(BackgroundEvent::Stored)), ((1, 0), 0));
    bench.stashes.saves.store(true, Ordering::SeqCst);
    tokio::time::sleep(PAUSE_MIN + PAUSE_MIN / SPREAD_PART).await;
    settle().await;
    assert_eq!((bench.gauges(), bench.events(BackgroundEvent::Stored)), ((0, 0), 1));
}

#[tokio::test(start_paused = true)]
async fn attempts_are_bounded_and_what_fails_for_good_has_one() {
    let rows = [(ErrorKind::UpstreamFailed, ATTEMPTS_MAX as usize), (ErrorKind::NotFound, 1)];
    for (kind, attempts) in rows {
        let shelf = Arc::new(Shelf::default());
        let bench = kept_by(&shelf, true).bench();
        *bench.stashes.result.lock() = Err(error(kind));
        bench.ask("v1.0.0").await;
        tokio::time::sleep(100_000 * SECOND).await;
        settle().await;
        assert_eq!(bench.stashes.asked().len(), attempts, "{kind:?}");
        assert_eq!((bench.gauges(), bench.events(BackgroundEvent::Dropped)), ((0, 0), 1));
        assert!(shelf.kept().is_empty(), "{kind:?}: it is not taken up again");
        assert_eq!(
            *bench.learned.noes.lock(),
            [("example.com/m@v1.0.0".to_owned(), kind, Era::default())]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_entry_is_kept_before_its_client_has_an_answer_and_forgotten_when_it_is_stored() {
    let shelf = Shelf::gated();
    let bench = kept_by(&shelf, false).bench();
    let mut first = Box::pin(bench.ask("v1.0.0"));
    let mut second = Box::pin(bench.ask("v1.0.0"));
    assert!(futures::poll!(&mut first).is_pending() && futures::poll!(&mut second).is_pending());
    settle().await;
    assert!(futures::poll!(&mut first).is_pending(), "nothing is written yet");
    assert!(futures::poll!(&mut second).is_pending(), "who asks for the same waits for the same");
    assert_eq!((bench.gauges().1, bench.stashes.asked().len()), (0, 0));
    shelf.gate.as_ref().expect("gated").add_permits(1);
    first.await;
    second.await;
    assert_eq!(shelf.kept(), ["example.com/m@v1.0.0"]);
    let counts = [BackgroundEvent::Accepted, BackgroundEvent::Duplicate].map(|e| bench.events(e));
    assert_eq!(counts, [1, 1]);
    bench.stashes.gate.add_permits(1);
    settle().await;
    assert_eq!((shelf.kept().len(), shelf.forgotten.lock().len()), (0, 1));
    assert_eq!(bench.gauges(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_while_its_entry_is_written_leaves_it_in_the_queue() {
    let shelf = Shelf::gated();
    let bench = kept_by(&shelf, true).bench();
    let mut gone = Box::pin(bench.ask("v1.0.0"));
    assert!(futures::poll!(&mut gone).is_pending());
    drop(gone);
    shelf.gate.as_ref().expect("gated").add_permits(1);
    settle().await;
    assert_eq!(bench.versions(), ["v1.0.0"]);
    assert_eq!(shelf.forgotten.lock().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_cannot_be_kept_is_fetched_all_the_same() {
    let shelf = Arc::new(Shelf::default());
    shelf.fails.store(true, Ordering::SeqCst);
    let bench = kept_by(&shelf, true).bench();
    bench.ask("v1.0.0").await;
    settle().await;
    let counts = [BackgroundEvent::Unkept, BackgroundEvent::Stored].map(|e| bench.events(e));
    assert_eq!(counts, [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_process_accepted_goes_on_and_is_as_old_as_it_is() {
    let shelf = Arc::new(Shelf::default());
    let bench = Setup { entries_max: 1, workers_max: 1, ..kept_by(&shelf, false) }.bench();
    let accepted = SystemTime::now() - 3600 * SECOND;
    let entry = |version: &str| {
        let (module, version) = (module("example.com/m"), query(version));
        QueueEntry { module, version, accepted }
    };
    let entries = ["v1.0.0", "v1.1.0", "v1.0.0"].map(entry).to_vec();
    assert_eq!(bench.background.recover(entries), 2, "each once, more than fit");
    settle().await;
    assert_eq!((bench.gauges(), bench.events(BackgroundEvent::Recovered)), ((1, 1), 2));
    let oldest = bench.background.snapshot(0).oldest.expect("there are entries");
    // Where the machine is younger than the entry, its age is not known.
    assert!(oldest <= 3601 * SECOND, "{oldest:?}");
    bench.stashes.gate.add_permits(2);
    settle().await;
    assert_eq!(bench.versions(), ["v1.0.0", "v1.1.0"]);
    assert_eq!(shelf.forgotten.lock().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_what_is_due_and_what_is_kept_waits_for_the_next_start() {
    for is_kept in [false, true] {
        let shelf = Arc::new(Shelf::default());
        let setup = if is_kept { kept_by(&shelf, false) } else { Setup::new(false) };
        let bench = Setup { workers_max: 1, ..setup }.bench();
        for version in ["v1.0.0", "v1.1.0", "v1.2.0"] {
            bench.ask(version).await;
        }
        settle().await;
        bench.tasks.close();
        bench.stashes.gate.add_permits(9);
        bench.tasks.wait().await;
        let left = if is_kept { (2, 0) } else { (0, 0) };
        assert_eq!(bench.gauges(), left, "kept: {is_kept}");
        assert_eq!(shelf.kept().len(), left.0 as usize, "on the shelf is what is left");
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_does_not_wait_for_a_pause() {
    let bench = bench(true);
    *bench.stashes.result.lock() = Err(error(ErrorKind::UpstreamFailed));
    bench.ask("v1.0.0").await;
    settle().await;
    bench.tasks.close();
    let drained = tokio::time::timeout(SECOND, bench.tasks.wait()).await;
    assert!(drained.is_ok() && bench.gauges() == (1, 0), "{:?}", bench.background);
    tokio::time::sleep(100 * PAUSE_MIN).await;
    assert_eq!(bench.stashes.asked().len(), 1, "nothing begins after the drain");
}

/// A policy that a test changes.
fn switched() -> (Arc<AtomicBool>, MayFetch) {
    let allows = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&allows);
    (allows, Arc::new(move |_, _| switch.load(Ordering::SeqCst)))
}

/// What recovers v1.0.0, which policy forbids until the switch is thrown.
fn forbidden_at_the_start() -> (Arc<Shelf>, Arc<AtomicBool>, Bench) {
    let (shelf, (allows, may_fetch)) = (Arc::new(Shelf::default()), switched());
    allows.store(false, Ordering::SeqCst);
    let bench = Setup { may_fetch, ..kept_by(&shelf, true) }.bench();
    let (module, version) = (module("example.com/m"), query("v1.0.0"));
    let entry = QueueEntry { module, version, accepted: SystemTime::now() };
    assert_eq!(bench.background.recover(vec![entry]), 0);
    (shelf, allows, bench)
}

#[tokio::test(start_paused = true)]
async fn what_policy_forbids_when_its_turn_comes_is_not_fetched_and_stays_on_disk() {
    for is_kept in [true, false] {
        let (events, _capture) = Events::capture();
        let (shelf, (allows, may_fetch)) = (Arc::new(Shelf::default()), switched());
        let setup = if is_kept { kept_by(&shelf, false) } else { Setup::new(false) };
        let bench = Setup { workers_max: 1, may_fetch, ..setup }.bench();
        for version in ["v1.0.0", "v1.1.0", "v1.2.0"] {
            bench.ask(version).await;
        }
        settle().await;
        allows.store(false, Ordering::SeqCst);
        bench.stashes.gate.add_permits(9);
        settle().await;
        assert_eq!(bench.versions(), ["v1.0.0"], "which ran already");
        assert_eq!((bench.gauges(), bench.events(BackgroundEvent::Forbidden)), ((0, 0), 2));
        let said = "background fetches leave the queue: policy forbids to fetch them now";
        assert_eq!(events.named(said).len(), 1);
        let held: &[&str] =
            if is_kept { &["example.com/m@v1.1.0", "example.com/m@v1.2.0"] } else { &[] };
        assert_eq!(shelf.kept(), held);
        assert_eq!(bench.background.snapshot(0).held, held.len());
        // Asked for again under another policy, it is in the queue as any other.
        allows.store(true, Ordering::SeqCst);
        bench.ask("v1.1.0").await;
        settle().await;
        assert_eq!(bench.versions(), ["v1.0.0", "v1.1.0"]);
        assert_eq!(bench.background.snapshot(0).held, held.len().saturating_sub(1));
    }
}

#[tokio::test(start_paused = true)]
async fn what_policy_had_forbidden_goes_on_when_policy_changes_and_allows_it() {
    let (shelf, (allows, may_fetch)) = (Arc::new(Shelf::default()), switched());
    let bench = Setup { workers_max: 1, may_fetch, ..kept_by(&shelf, false) }.bench();
    for version in ["v1.0.0", "v1.1.0", "v1.2.0"] {
        bench.ask(version).await;
    }
    settle().await;
    allows.store(false, Ordering::SeqCst);
    bench.stashes.gate.add_permits(9);
    settle().await;
    assert_eq!((bench.gauges(), bench.background.snapshot(0).held), ((0, 0), 2));
    bench.background.reconsider();
    assert_eq!(bench.background.snapshot(0).held, 2, "it is forbidden as ever");
    allows.store(true, Ordering::SeqCst);
    bench.background.reconsider();
    settle().await;
    assert_eq!(bench.versions(), ["v1.0.0", "v1.1.0", "v1.2.0"]);
    assert_eq!((bench.background.snapshot(0).held, bench.events(BackgroundEvent::Allowed)), (0, 2));
    assert!(shelf.kept().is_empty(), "all are stored: {:?}", shelf.kept());
}

#[tokio::test(start_paused = true)]
async fn what_policy_forbade_at_the_start_goes_on_when_policy_changes() {
    let (_, allows, bench) = forbidden_at_the_start();
    allows.store(true, Ordering::SeqCst);
    bench.background.reconsider();
    settle().await;
    assert_eq!((bench.versions(), bench.background.snapshot(0).held), (vec!["v1.0.0".into()], 0));
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_changes_back_while_an_entry_is_put_by_loses_it_nothing() {
    let shelf = Arc::new(Shelf::default());
    // Allowed when it is accepted, forbidden when its turn comes, and allowed at the question of its putting by.
    let asked = Arc::new(AtomicUsize::new(0));
    let questions = Arc::clone(&asked);
    let may_fetch: MayFetch = Arc::new(move |_, _| questions.fetch_add(1, Ordering::SeqCst) != 1);
    let bench = Setup { may_fetch, ..kept_by(&shelf, true) }.bench();
    bench.ask("v1.0.0").await;
    settle().await;
    assert_eq!((bench.versions(), bench.background.snapshot(0).held), (vec!["v1.0.0".into()], 0));
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_what_could_not_be_kept_and_tells_kept_from_lost() {
    for mends in [false, true] {
        let shelf = Arc::new(Shelf::default());
        let bench = Setup { workers_max: 1, ..kept_by(&shelf, false) }.bench();
        bench.ask("v1.0.0").await;
        bench.ask("v1.1.0").await;
        shelf.fails.store(true, Ordering::SeqCst);
        bench.ask("v1.2.0").await;
        bench.ask("v1.3.0").await;
        settle().await;
        bench.tasks.close();
        // One that is kept runs; of the others the two that are not kept are taken before it ends.
        bench.stashes.gate.add_permits(2);
        settle().await;
        assert_eq!(bench.versions(), ["v1.0.0", "v1.2.0", "v1.3.0"]);
        shelf.fails.store(!mends, Ordering::SeqCst);
        let left = bench.background.leave().await;
        let (kept, lost) = if mends { (2, 0) } else { (1, 1) };
        assert_eq!(left, Left { kept, lost }, "the disk mends: {mends}");
        bench.stashes.gate.add_permits(9);
        bench.tasks.wait().await;
        assert_eq!(bench.background.leave().await, Left { kept: 1, lost: 0 });
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_kept_and_fails_during_a_drain_is_no_entry_of_the_next_process() {
    let shelf = Arc::new(Shelf::default());
    let bench = kept_by(&shelf, false).bench();
    shelf.fails.store(true, Ordering::SeqCst);
    bench.ask("v1.0.0").await;
    settle().await;
    *bench.stashes.result.lock() = Err(error(ErrorKind::UpstreamFailed));
    bench.tasks.close();
    bench.stashes.gate.add_permits(1);
    bench.tasks.wait().await;
    assert_eq!(bench.events(BackgroundEvent::Repeated), 1);
    assert_eq!(bench.background.leave().await, Left { kept: 0, lost: 1 });
}

#[tokio::test(start_paused = true)]
async fn without_a_store_all_that_is_left_is_lost() {
    let bench = Setup { workers_max: 1, ..Setup::new(false) }.bench();
    for version in ["v1.0.0", "v1.1.0"] {
        bench.ask(version).await;
    }
    settle().await;
    assert_eq!(bench.background.leave().await, Left { kept: 0, lost: 2 });
}

#[tokio::test(start_paused = true)]
async fn what_policy_forbids_at_the_start_stays_on_disk() {
    let (shelf, _, bench) = forbidden_at_the_start();
    settle().await;
    assert!(bench.stashes.asked().is_empty() && shelf.forgotten.lock().is_empty());
    assert_eq!(bench.background.snapshot(0).held, 1);
    assert_eq!(bench.events(BackgroundEvent::Forbidden), 1);
}

#[tokio::test(start_paused = true)]
async fn what_fails_during_a_drain_stays_on_disk() {
    for kind in [ErrorKind::Internal, ErrorKind::NotFound] {
        let shelf = Arc::new(Shelf::default());
        let bench = kept_by(&shelf, false).bench();
        bench.ask("v1.0.0").await;
        settle().await;
        *bench.stashes.result.lock() = Err(error(kind));
        bench.tasks.close();
        bench.stashes.gate.add_permits(1);
        bench.tasks.wait().await;
        assert_eq!(shelf.kept(), ["example.com/m@v1.0.0"], "{kind:?}");
        assert_eq!((bench.gauges(), bench.stashes.asked().len()), ((1, 0), 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_holds_nobody_for_long_and_the_entry_counts_as_unkept() {
    let shelf = Shelf::gated();
    let bench = kept_by(&shelf, true).bench();
    let asked = Instant::now();
    bench.ask("v1.0.0").await;
    assert_eq!(Instant::now() - asked, STORE_PATIENCE);
    settle().await;
    let counts = [BackgroundEvent::Unkept, BackgroundEvent::Stored].map(|e| bench.events(e));
    assert_eq!(counts, [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_panics_is_a_failure_and_costs_no_worker() {
    let (bench, shelf) = (bench(true), Arc::new(Shelf::default()));
    let ports = BackgroundPorts {
        stash: Border::new(tower::service_fn(|request: StashRequest| async move {
            assert_ne!(request.key.version.as_str(), "v1.0.0", "this one is a mistake");
            Ok(stashed("v1.1.0", Files::default()))
        })),
        fetcher: ScriptedUpstream::new(),
        storage: bench.stashes.storage.handle(&bench.telemetry),
        store: Some(Arc::<Shelf>::clone(&shelf)),
        may_fetch: Arc::new(|_, _| true),
        negatives: Arc::<Learned>::default(),
        tasks: bench.tasks.clone(),
        telemetry: bench.telemetry.clone(),
    };
    bench.stashes.storage.put(Release::new("example.com/m", "v1.1.0"));
    let config = BackgroundConfig { timeout: 90 * SECOND, entries_max: 9, workers_max: 1 };
    let background = Background::new(config, ports);
    for version in ["v1.0.0", "v1.1.0"] {
        background.accept(&file_request(version, FileKind::Mod)).await;
    }
    settle().await;
    let counts = || {
        [BackgroundEvent::Repeated, BackgroundEvent::Stored, BackgroundEvent::Dropped]
            .map(|event| bench.events(event))
    };
    assert_eq!((counts(), bench.gauges()), ([1, 1, 0], (1, 0)));
    tokio::time::sleep(100 * PAUSE_MAX).await;
    assert_eq!((counts(), bench.gauges()), ([7, 1, 1], (0, 0)));
    assert!(shelf.kept().is_empty(), "it is not taken up again");
}
