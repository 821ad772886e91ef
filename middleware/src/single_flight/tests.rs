use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dipylon_protocol::route::FileKind;
use futures::future::join_all;
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tower::Layer as _;

use super::{SingleFlight, SingleFlightLayer};
use crate::error::{Error, ErrorKind};
use crate::explain::Tells as _;
use crate::forward::Forward;
use crate::observe::ObserveLayer;
use crate::purge::{Modules, Purge, Purges};
use crate::request::{StashKey, StashRequest, Want};
use crate::response::{Files, FinishGuard, Finished, Stashed};
use crate::stack::Stage;
use crate::telemetry::{FlightEnd, FlightRole, LayerName, Outcome, Telemetry};
use crate::testing::below::{assert_passes_unchanged, error_from_below};
use crate::testing::spans;
use crate::testing::{SECOND, call, context_for, leaf, module, query, settle, stashed, telemetry};
use crate::testing::{asking, foretold, subject};

const STASH_TIMEOUT: Duration = Duration::from_secs(300);

fn request_for(version: &str, patience: Duration) -> StashRequest {
    let key = StashKey {
        module: module("example.com/m"),
        version: query(version),
        want: Want::File(FileKind::Zip),
    };
    StashRequest { context: context_for(patience), key }
}

fn request() -> StashRequest {
    request_for("v1.0.0", 60 * SECOND)
}

/// What the stashes below do: each takes five seconds, then ends with `result`.
#[derive(Clone)]
struct Below {
    runs: Arc<AtomicUsize>,
    deadlines: Arc<Mutex<Vec<Instant>>>,
    result: Arc<Mutex<Result<Stashed, Error>>>,
}

impl Below {
    fn new(result: Result<Stashed, Error>) -> Self {
        let result = Arc::new(Mutex::new(result));
        Self { runs: Arc::default(), deadlines: Arc::default(), result }
    }

    fn ok() -> Self {
        Self::new(Ok(stashed("v1.0.0", Files::default())))
    }

    fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }

    fn under(
        &self,
        telemetry: &Telemetry,
    ) -> SingleFlight<impl Stage<StashRequest, Reply = Stashed>> {
        self.under_layer(&layer(telemetry))
    }

    fn under_layer(
        &self,
        layer: &SingleFlightLayer,
    ) -> SingleFlight<impl Stage<StashRequest, Reply = Stashed> + use<>> {
        let below = self.clone();
        let inner = tower::service_fn(move |request: StashRequest| {
            below.runs.fetch_add(1, Ordering::SeqCst);
            below.deadlines.lock().push(request.context.deadline);
            let below = below.clone();
            async move {
                tokio::time::sleep(5 * SECOND).await;
                below.result.lock().clone()
            }
        });
        layer.layer(inner)
    }
}

fn layer(telemetry: &Telemetry) -> SingleFlightLayer {
    SingleFlightLayer::new(STASH_TIMEOUT, TaskTracker::new(), telemetry)
}

/// A stash whose work goes on until the guard is dropped.
fn working() -> (FinishGuard, Stashed) {
    let (guard, finished) = Finished::new();
    (guard, Stashed { finished, ..stashed("v1.0.0", Files::default()) })
}

#[tokio::test(start_paused = true)]
async fn a_hundred_callers_cost_one_stash_and_all_but_one_are_followers() {
    let (telemetry, below) = (telemetry(), Below::ok());
    let service = below.under(&telemetry);
    let results = join_all((0..100).map(|_| call(&service, request()))).await;
    let count = |outcome| {
        results.iter().filter(|result| result.as_ref().is_ok_and(|s| s.outcome == outcome)).count()
    };
    assert_eq!((count(Outcome::MissLeader), count(Outcome::MissFollower)), (1, 99));
    assert_eq!(below.runs(), 1);
    settle().await;
    assert_eq!(telemetry.metrics.flights_active.get(()).get(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_follows_to_what_was_stored_already_has_shared_the_question_alone() {
    let forward = Forward { asked: true, ..Forward::default() };
    let outcome = Outcome::HitStorage;
    let stored = Stashed { outcome, forward, ..stashed("v1.0.0", Files::default()) };
    let service = Below::new(Ok(stored)).under(&telemetry());
    let results = join_all((0..2).map(|_| call(&service, request()))).await;
    let told = results.into_iter().map(|result| result.map(|s| (s.outcome, s.forward)).unwrap());
    let collapsed = Forward { collapsed: true, ..forward };
    assert_eq!(Vec::from_iter(told), [(outcome, forward), (outcome, collapsed)]);
}

#[tokio::test(start_paused = true)]
async fn a_follower_s_span_links_to_the_leader_s() {
    let ((telemetry, spans), below) = (spans::traced(spans::ALL), Below::ok());
    let service = ObserveLayer::new(LayerName::SingleFlight, &telemetry);
    let service = service.layer(below.under(&telemetry));
    let traced = || {
        let mut request = request();
        request.context.trace = spans::root(&telemetry);
        request
    };
    let (leader, follower) = (traced(), traced());
    let of = |request: &StashRequest| request.context.trace.span().expect("a trace");
    let (led, followed) = (of(&leader), of(&follower));
    let (first, second) = tokio::join!(call(&service, leader), call(&service, follower));
    assert_eq!(first.expect("the leader").outcome, Outcome::MissLeader);
    assert_eq!(second.expect("the follower").outcome, Outcome::MissFollower);
    settle().await;
    let linked = spans.linked_to(led.trace);
    assert_eq!(linked.len(), 1, "{linked:?}");
    assert_eq!((linked[0].trace, linked[0].parent), (followed.trace, Some(followed.span)));
    let leaders = spans
        .all()
        .into_iter()
        .find(|span| span.trace == led.trace && span.name == LayerName::SingleFlight.into());
    assert_eq!(linked[0].links[0].span, leaders.expect("the leader's span").id);
}

#[tokio::test(start_paused = true)]
async fn other_keys_fly_at_the_same_time() {
    let (telemetry, below) = (telemetry(), Below::ok());
    let service = below.under(&telemetry);
    let started = Instant::now();
    let mut other_want = request();
    other_want.key.want = Want::Version;
    let requests = [request(), request_for("v1.0.1", 60 * SECOND), other_want];
    let results = join_all(requests.map(|request| call(&service, request))).await;
    assert!(results.iter().all(|r| r.as_ref().is_ok_and(|s| s.outcome == Outcome::MissLeader)));
    assert_eq!((below.runs(), started.elapsed()), (3, 5 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_does_not_end_the_stash() {
    let (telemetry, below) = (telemetry(), Below::ok());
    let service = below.under(&telemetry);
    let mut leader = Box::pin(call(&service, request()));
    assert!(futures::poll!(&mut leader).is_pending());
    drop(leader);
    let follower = call(&service, request()).await.expect("the stash went on");
    assert_eq!((follower.outcome, below.runs()), (Outcome::MissFollower, 1));
}

#[tokio::test(start_paused = true)]
async fn the_key_is_busy_until_the_work_has_finished_and_free_afterwards() {
    let telemetry = telemetry();
    let (guard, answer) = working();
    let below = Below::new(Ok(answer));
    let service = below.under(&telemetry);
    call(&service, request()).await.expect("answered before the commit");
    let between = call(&service, request()).await.expect("the landed answer");
    assert_eq!((between.outcome, below.runs()), (Outcome::MissFollower, 1));
    assert_eq!(telemetry.metrics.flights_active.get(()).get(), 1);
    drop(guard);
    settle().await;
    assert_eq!(telemetry.metrics.flights_active.get(()).get(), 0);
    *below.result.lock() = Ok(stashed("v1.0.0", Files::default()));
    let after = call(&service, request()).await.expect("stashed anew");
    assert_eq!((after.outcome, below.runs()), (Outcome::MissLeader, 2));
}

#[tokio::test(start_paused = true)]
async fn a_degraded_stash_is_degraded_for_followers_too() {
    let mut degraded = stashed("v1.0.0", Files::default());
    degraded.outcome = Outcome::MissDegraded;
    let service = Below::new(Ok(degraded)).under(&telemetry());
    let results = join_all((0..3).map(|_| call(&service, request()))).await;
    let all = results.iter().all(|r| r.as_ref().is_ok_and(|s| s.outcome == Outcome::MissDegraded));
    assert!(all, "{results:?}");
}

#[tokio::test(start_paused = true)]
async fn an_error_from_below_is_shared_by_those_who_wait_and_then_the_key_is_free() {
    let kind = ErrorKind::UpstreamFailed;
    let below = Below::new(Err(error_from_below(kind)));
    let service = below.under(&telemetry());
    join_all((0..10).map(|_| assert_passes_unchanged(&service, request(), kind))).await;
    assert_eq!(below.runs(), 1);
    settle().await;
    *below.result.lock() = Ok(stashed("v1.0.0", Files::default()));
    let after = call(&service, request()).await.expect("nothing was kept");
    assert_eq!((after.outcome, below.runs()), (Outcome::MissLeader, 2));
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_an_error_for_all_who_wait_and_frees_the_key() {
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let telemetry = telemetry();
    let service = layer(&telemetry).layer(tower::service_fn(move |_: StashRequest| {
        let run = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            tokio::time::sleep(SECOND).await;
            assert!(run > 0, "on purpose");
            Ok(stashed("v1.0.0", Files::default()))
        }
    }));
    let results = join_all((0..3).map(|_| call(&service, request()))).await;
    for result in results {
        assert_eq!(result.expect_err("crashed").kind(), ErrorKind::Internal);
    }
    settle().await;
    assert_eq!(telemetry.metrics.flights_active.get(()).get(), 0);
    call(&service, request()).await.expect("the key is free");
}

#[tokio::test(start_paused = true)]
async fn a_panic_at_the_first_call_is_no_deadlock() {
    let panicking = leaf(|_: StashRequest| -> Result<Stashed, Error> { panic!("on purpose") });
    let service = layer(&telemetry()).layer(panicking);
    for _ in 0..2 {
        let failed = call(&service, request()).await.expect_err("crashed");
        assert_eq!(failed.kind(), ErrorKind::Internal);
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_whose_time_is_over_is_told_and_the_stash_goes_on() {
    let below = Below::ok();
    let service = below.under(&telemetry());
    let hasty = call(&service, request_for("v1.0.0", SECOND)).await.expect_err("too late");
    assert_eq!(hasty.kind(), ErrorKind::DeadlineExceeded);
    let patient = call(&service, request()).await.expect("the stash went on");
    assert_eq!((patient.outcome, below.runs()), (Outcome::MissFollower, 1));
}

#[tokio::test(start_paused = true)]
async fn a_stash_has_a_deadline_of_its_own() {
    let below = Below::ok();
    let service = below.under(&telemetry());
    let started = Instant::now();
    call(&service, request_for("v1.0.0", SECOND)).await.expect_err("too late");
    assert_eq!(*below.deadlines.lock(), [started + STASH_TIMEOUT]);
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_the_work_behind_an_answer() {
    let tasks = TaskTracker::new();
    let (guard, answer) = working();
    let inner = leaf(move |_: StashRequest| Ok(answer.clone()));
    let service = SingleFlightLayer::new(STASH_TIMEOUT, tasks.clone(), &telemetry()).layer(inner);
    call(&service, request()).await.expect("answered");
    tasks.close();
    let mut drain = Box::pin(tasks.wait());
    settle().await;
    assert!(futures::poll!(&mut drain).is_pending());
    drop(guard);
    drain.await;
}

#[tokio::test(start_paused = true)]
async fn services_of_one_layer_share_their_flights() {
    let runs = Arc::new(AtomicUsize::new(0));
    let layer = layer(&telemetry());
    let make = || {
        let counted = Arc::clone(&runs);
        layer.layer(tower::service_fn(move |_: StashRequest| {
            counted.fetch_add(1, Ordering::SeqCst);
            async move {
                tokio::time::sleep(SECOND).await;
                Ok(stashed("v1.0.0", Files::default()))
            }
        }))
    };
    let (one, two) = (make(), make());
    let (first, second) = tokio::join!(call(&one, request()), call(&two, request()));
    first.expect("the leader");
    assert_eq!(second.expect("the follower").outcome, Outcome::MissFollower);
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn who_comes_after_a_purge_joins_no_flight_from_before_it() {
    let (below, telemetry, purges) = (Below::ok(), telemetry(), Purges::default());
    let service = below.under_layer(&layer(&telemetry).anew_after(purges.clone()));
    let ask = || call(&service, request());
    let later = async {
        tokio::time::sleep(SECOND).await;
        ask().await.map(drop).expect("joined");
    };
    let after = async {
        tokio::time::sleep(2 * SECOND).await;
        assert_eq!(below.runs(), 1, "the second has joined the first");
        let other = Modules::Below("example.com/other".to_owned());
        purges.begin_era(&Purge { modules: other, version: None });
        ask().await.map(drop).expect("joined as well");
        assert_eq!(below.runs(), 1, "a purge of other modules ends nothing");
        let modules = Modules::Below("example.com".to_owned());
        purges.begin_era(&Purge { modules, version: None });
        ask().await.map(drop).expect("its own");
    };
    let (first, (), ()) = tokio::join!(ask(), later, after);
    first.map(drop).expect("stashed");
    assert_eq!(below.runs(), 2);
}

#[tokio::test(start_paused = true)]
async fn each_request_is_counted_by_its_part_and_by_how_its_wait_ended() {
    use FlightEnd::{Answered, Crashed, Failed, Left, Overdue};
    use FlightRole::{Follower, Leader};
    let telemetry = telemetry();
    let counts = |wanted: &[(FlightRole, FlightEnd, u64)]| {
        for role in [Leader, Follower] {
            let mut ended = 0;
            for end in [Answered, Failed, Overdue, Crashed, Left] {
                let of = |row: &&(FlightRole, FlightEnd, u64)| (row.0, row.1) == (role, end);
                let wanted = wanted.iter().find(of).map_or(0, |row| row.2);
                let counted = telemetry.metrics.flights.get((role, end)).get();
                assert_eq!(counted, wanted, "{role} {end}");
                ended += counted;
            }
            let waits = telemetry.metrics.flight_wait_seconds.get((role,));
            assert_eq!(waits.get_sample_count(), ended, "{role}");
        }
    };
    let service = Below::ok().under(&telemetry);
    let answered = join_all((0..3).map(|_| call(&service, request()))).await;
    assert!(answered.iter().all(Result::is_ok));
    counts(&[(Leader, Answered, 1), (Follower, Answered, 2)]);
    let late = request_for("v1.1.0", SECOND);
    call(&service, late.clone()).await.map(drop).expect_err("it takes five seconds");
    let leaves = tokio::time::timeout(SECOND, call(&service, request_for("v1.1.0", 60 * SECOND)));
    assert!(leaves.await.is_err(), "it goes away first");
    counts(&[
        (Leader, Answered, 1),
        (Follower, Answered, 2),
        (Leader, Overdue, 1),
        (Follower, Left, 1),
    ]);
    let failing = Below::new(Err(error_from_below(ErrorKind::NotFound))).under(&telemetry);
    call(&failing, request_for("v2.0.0", 60 * SECOND)).await.map(drop).expect_err("it fails");
    counts(&[
        (Leader, Answered, 1),
        (Follower, Answered, 2),
        (Leader, Overdue, 1),
        (Follower, Left, 1),
        (Leader, Failed, 1),
    ]);
}

#[tokio::test(start_paused = true)]
async fn a_flight_is_told_with_its_age_and_who_asks_for_the_same_is_foretold_to_follow() {
    let (telemetry, below) = (telemetry(), Below::ok());
    let layer = layer(&telemetry);
    let service = below.under_layer(&layer);
    let (one, two) = (service.clone(), service);
    let calls =
        tokio::spawn(async move { tokio::join!(call(&one, request()), call(&two, request())) });
    tokio::time::sleep(2 * SECOND).await;
    let told = layer.tell(&subject("v1.0.0")).await;
    let row = &told[0];
    assert_eq!(
        (&row["want"], &row["age_seconds"], &row["followers"]),
        (&"zip".into(), &2.into(), &1.into())
    );
    assert_eq!(layer.tell(&subject("v1.0.1")).await, serde_json::json!([]));
    for (kind, want) in [(FileKind::Zip, Some(Outcome::MissFollower)), (FileKind::Mod, None)] {
        assert_eq!(foretold(&layer, &asking("v1.0.0", kind)).await, want, "{kind}");
    }
    let (one, two) = calls.await.expect("both end");
    assert!(one.is_ok() && two.is_ok());
}
