use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;
use tower::Layer as _;

use super::state::Pause;
use super::{Gate, PAUSE_MAX, Pace, PaceLayer, SLOT_HELD_MAX, TURNED_BACK_MAX};
use crate::attempt::{Attempt as _, Verdict};
use crate::budget::{Rate, RateClass};
use crate::error::{Error, ErrorKind};
use crate::ports::{Fetched, Payload};
use crate::request::{FetchAsk, FetchRequest, TURN_PATIENCE};
use crate::stack::{Border, Stage};
use crate::telemetry::{PaceReason, Paced, Telemetry};
use crate::testing::below::{Held, assert_passes_unchanged, failing};
use crate::testing::{SECOND, call, context_for, error, module, settle, telemetry};

const HOST: &str = "https://proxy.example";

#[test]
fn a_pause_is_never_made_shorter_and_never_longer_than_the_longest() {
    let mut pause = Pause::default();
    assert!(!pause.begin(SECOND, Duration::ZERO), "nothing is asked for");
    assert_eq!((pause.left(SECOND), pause.is_begun()), (None, false));
    assert!(pause.begin(SECOND, 10 * SECOND));
    assert!(!pause.begin(2 * SECOND, SECOND), "it has begun before");
    assert_eq!(pause.left(2 * SECOND), Some(9 * SECOND));
    assert!(!pause.begin(2 * SECOND, Duration::MAX));
    assert_eq!(pause.left(2 * SECOND), Some(PAUSE_MAX));
    let over = 2 * SECOND + PAUSE_MAX;
    assert_eq!(pause.end(over - SECOND), Err(SECOND));
    assert_eq!((pause.left(over), pause.is_begun()), (None, true));
    assert_eq!((pause.end(over), pause.is_begun()), (Ok(()), false));
    assert!(pause.begin(over, SECOND), "another begins");
}

/// When each call arrived below.
type Calls = Arc<Mutex<Vec<Instant>>>;

/// What is answered to each call, by its number; then all is well.
type Script = Arc<Mutex<Vec<Error>>>;

/// A host that notes its calls and answers at once.
#[derive(Clone, Default)]
struct Host {
    calls: Calls,
    script: Script,
}

impl Host {
    fn says(errors: impl IntoIterator<Item = Error>) -> Self {
        let host = Self::default();
        host.script.lock().extend(errors);
        host
    }

    fn service(&self) -> Border<FetchRequest, Fetched> {
        let host = self.clone();
        Border::new(tower::service_fn(move |_: FetchRequest| {
            host.calls.lock().push(Instant::now());
            let mut script = host.script.lock();
            let answer = if script.is_empty() { Ok(fetched()) } else { Err(script.remove(0)) };
            std::future::ready(answer)
        }))
    }

    /// Seconds after `begun` of each call.
    fn seconds(&self, begun: Instant) -> Vec<f64> {
        let seconds = |at: &Instant| at.duration_since(begun).as_millis() as f64 / 1000.0;
        self.calls.lock().iter().map(seconds).collect()
    }
}

fn fetched() -> Fetched {
    Fetched {
        payload: Payload::Bytes(Bytes::from_static(b"v1.0.0\n")),
        upstream: HOST.into(),
        cache_status: None,
    }
}

fn throttled(after: Duration) -> Error {
    error(ErrorKind::UpstreamThrottled).with_retry_after(after)
}

fn rate(per_second: u32, burst: u32) -> Rate {
    let number = |number| NonZeroU32::new(number).expect("not zero");
    Rate { per_second: number(per_second), burst: number(burst) }
}

/// As the program puts them together, without the slots between.
fn paced<S>(layer: &PaceLayer, below: S) -> Pace<Gate<S>>
where
    S: Stage<FetchRequest, Reply = Fetched>,
{
    layer.layer(layer.gate().layer(below))
}

fn list() -> FetchRequest {
    list_within(60 * SECOND)
}

fn list_within(patience: Duration) -> FetchRequest {
    FetchRequest::new(context_for(patience), module("example.com/m"), FetchAsk::List)
}

fn of_class(class: &Arc<RateClass>) -> FetchRequest {
    FetchRequest { rate_class: Some(Arc::clone(class)), ..list() }
}

fn count(telemetry: &Telemetry, reason: PaceReason) -> [u64; 2] {
    [Paced::Waited, Paced::Refused]
        .map(|result| telemetry.metrics.paced.get((reason, result)).get())
}

fn hosts_paused(telemetry: &Telemetry) -> i64 {
    telemetry.metrics.hosts_paused.get(()).get()
}

#[tokio::test(start_paused = true)]
async fn a_host_that_asks_to_be_left_alone_gets_no_call_until_then_and_who_can_wait_waits() {
    let (telemetry, host) = (telemetry(), Host::says([throttled(2 * SECOND)]));
    let service = paced(&PaceLayer::new(HOST.into(), None, &telemetry), host.service());
    let begun = Instant::now();
    call(&service, list()).await.map(drop).expect_err("it asks for a pause");
    assert_eq!(hosts_paused(&telemetry), 1);
    let waiting = (0..20).map(|_| call(&service, list()));
    assert!(futures::future::join_all(waiting).await.iter().all(Result::is_ok));
    let seconds = host.seconds(begun);
    assert_eq!((seconds[0], seconds.len()), (0.0, 21));
    assert!(seconds[1..].iter().all(|at| (2.0..2.1).contains(at)), "{seconds:?}");
    assert_eq!(count(&telemetry, PaceReason::Paused), [20, 0]);
}

#[tokio::test(start_paused = true)]
async fn who_would_wait_too_long_is_refused_at_once_by_name_and_time() {
    let (telemetry, host) = (telemetry(), Host::says([throttled(60 * SECOND)]));
    let service = paced(&PaceLayer::new(HOST.into(), None, &telemetry), host.service());
    call(&service, list()).await.map(drop).expect_err("it asks for a pause");
    tokio::time::sleep(SECOND / 2).await;
    let begun = Instant::now();
    let refused = call(&service, list()).await.map(drop).expect_err("too long to wait");
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(refused.kind(), ErrorKind::UpstreamPaused);
    assert_eq!(FetchRequest::verdict(&refused), Verdict::Silent, "it says nothing of the upstream");
    let left = refused.retry_after().expect("a time to ask again");
    assert!(left > 59 * SECOND && left < 60 * SECOND, "{left:?}");
    assert!(refused.message().contains(HOST), "{refused}");
    assert!(refused.message().contains("another 60 s (Retry-After)"), "{refused}");
    // A shorter pause is too long for who waits less than that.
    tokio::time::sleep(56 * SECOND).await;
    call(&service, list_within(SECOND)).await.map(drop).expect_err("its caller leaves before");
    assert_eq!((begun.elapsed(), host.calls.lock().len()), (56 * SECOND, 1));
    assert_eq!(count(&telemetry, PaceReason::Paused), [0, 2]);
    call(&service, list()).await.map(drop).expect("this one waits");
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_told_while_it_lasts_and_foretold_to_refuse_as_long_as_it_does() {
    let pause = TURN_PATIENCE + 2 * SECOND;
    let (telemetry, host) = (telemetry(), Host::says([throttled(pause)]));
    let layer = PaceLayer::new(HOST.into(), None, &telemetry);
    let service = paced(&layer, host.service());
    assert!(layer.pause_left().is_none() && layer.refusal().is_none(), "nobody asks for a pause");
    call(&service, list()).await.map(drop).expect_err("it asks for a pause");
    assert_eq!(layer.pause_left(), Some(pause));
    let foretold = layer.refusal().expect("it is too long to wait");
    let refused = call(&service, list()).await.map(drop).expect_err("it is too long to wait");
    let said = |error: &Error| (error.kind(), error.message().to_owned(), error.retry_after());
    assert_eq!(said(&foretold), said(&refused));
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(layer.pause_left(), Some(TURN_PATIENCE));
    assert!(layer.refusal().is_none(), "who comes now waits");
    call(&service, list()).await.map(drop).expect("it has waited for its turn");
    assert_eq!((layer.pause_left(), host.calls.lock().len()), (None, 2));
}

#[tokio::test(start_paused = true)]
async fn a_pause_ends_by_itself_and_none_is_longer_than_the_longest() {
    let (telemetry, host) = (telemetry(), Host::says([throttled(Duration::MAX)]));
    let service = paced(&PaceLayer::new(HOST.into(), None, &telemetry), host.service());
    call(&service, list()).await.map(drop).expect_err("it asks for a pause");
    tokio::time::sleep(PAUSE_MAX - SECOND).await;
    assert_eq!(hosts_paused(&telemetry), 1);
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(hosts_paused(&telemetry), 0, "nobody has asked");
    call(&service, list()).await.map(drop).expect("asked again at once");
    assert_eq!(count(&telemetry, PaceReason::Paused), [0, 0]);
    // A host that goes with a reload takes its pause with it.
    host.script.lock().push(throttled(60 * SECOND));
    call(&service, list()).await.map(drop).expect_err("it asks for a pause");
    assert_eq!(hosts_paused(&telemetry), 1);
    drop(service);
    assert_eq!(hosts_paused(&telemetry), 0);
    tokio::time::sleep(2 * PAUSE_MAX).await;
    assert_eq!(hosts_paused(&telemetry), 0, "counted once");
}

#[tokio::test(start_paused = true)]
async fn what_stood_in_line_for_a_slot_is_turned_back_and_waits_with_the_others() {
    let (telemetry, host) = (telemetry(), Host::says([throttled(2 * SECOND)]));
    let layer = PaceLayer::new(HOST.into(), None, &telemetry);
    // One slot: each call waits for those before it.
    let (slot, gate) = (Arc::new(tokio::sync::Mutex::new(())), layer.gate().layer(host.service()));
    let line = tower::service_fn(move |request: FetchRequest| {
        let (slot, gate) = (Arc::clone(&slot), gate.clone());
        async move {
            let _slot = slot.lock().await;
            tokio::time::sleep(SECOND / 10).await;
            call(&gate, request).await
        }
    });
    let (service, begun) = (layer.layer(Border::new(line)), Instant::now());
    let answers = futures::future::join_all((0..5).map(|_| call(&service, list()))).await;
    let answered = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(answered, 4, "all but the first, which the host has refused");
    let seconds = host.seconds(begun);
    assert!(seconds[1..].iter().all(|at| *at >= 2.1), "{seconds:?}");
}

#[tokio::test(start_paused = true)]
async fn what_stood_in_line_together_leaves_no_faster_than_the_rate_and_keeps_no_slot_for_long() {
    let class = || Some(Arc::new(RateClass::new("slow", rate(2, 3))));
    for (of_host, of_class) in [(Some(rate(2, 3)), None), (None, class())] {
        let (telemetry, host) = (telemetry(), Host::default());
        let layer = PaceLayer::new(HOST.into(), of_host, &telemetry);
        // As many slots as calls, all of them taken until the fourth second.
        let (free_at, held) = (Instant::now() + 4 * SECOND, Arc::new(Mutex::new(Duration::ZERO)));
        let (gate, longest) = (layer.gate().layer(host.service()), Arc::clone(&held));
        let line = tower::service_fn(move |request: FetchRequest| {
            let (gate, longest) = (gate.clone(), Arc::clone(&longest));
            async move {
                tokio::time::sleep_until(free_at).await;
                let begun = Instant::now();
                let answer = call(&gate, request).await;
                let mut longest = longest.lock();
                *longest = longest.max(begun.elapsed());
                answer
            }
        });
        let (service, begun) = (layer.layer(Border::new(line)), Instant::now());
        let asked = FetchRequest { rate_class: of_class, turn_patience: 60 * SECOND, ..list() };
        let answers = (0..11).map(|_| call(&service, asked.clone()));
        let answers = futures::future::join_all(answers).await;
        for answer in answers {
            answer.map(drop).expect("it leaves in the end");
        }
        let mut seconds = host.seconds(begun);
        seconds.sort_by(f64::total_cmp);
        assert_eq!(seconds[..3], [4.0; 3], "what was saved up: {seconds:?}");
        for (index, at) in seconds.iter().enumerate() {
            let within = seconds[index..].iter().take_while(|other| **other < at + 0.99);
            assert!(within.count() <= 5, "{seconds:?}");
        }
        assert!(*held.lock() <= SLOT_HELD_MAX, "{:?}", held.lock());
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_is_not_turned_back_for_ever() {
    let host = Host::says([]);
    let calls = Arc::clone(&host.calls);
    let line = tower::service_fn(move |_: FetchRequest| {
        calls.lock().push(Instant::now());
        std::future::ready(Err::<Fetched, _>(error(ErrorKind::UpstreamPaused)))
    });
    let service = PaceLayer::new(HOST.into(), None, &telemetry()).layer(Border::new(line));
    let refused = call(&service, list()).await.map(drop).expect_err("turned back");
    assert_eq!(refused.kind(), ErrorKind::UpstreamPaused);
    assert_eq!(host.calls.lock().len(), 1 + TURNED_BACK_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_rate_holds_and_what_comes_too_late_is_refused_at_once() {
    let (telemetry, host) = (telemetry(), Host::default());
    let layer = PaceLayer::new(HOST.into(), Some(rate(2, 3)), &telemetry);
    let (service, begun) = (paced(&layer, host.service()), Instant::now());
    let answers = futures::future::join_all((0..20).map(|_| call(&service, list()))).await;
    // Three at once, then two each second for as long as anybody may wait.
    let gone = 3 + 2 * TURN_PATIENCE.as_secs() as usize;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), gone);
    let seconds = host.seconds(begun);
    for (index, at) in seconds.iter().enumerate() {
        let turn = (index.saturating_sub(2)) as f64 / 2.0;
        assert!((turn..turn + 0.01).contains(at), "{seconds:?}");
    }
    let refused = answers.into_iter().find_map(Result::err).expect("some are refused");
    assert_eq!(refused.kind(), ErrorKind::UpstreamPaced);
    assert_eq!(FetchRequest::verdict(&refused), Verdict::Silent);
    assert_eq!(refused.retry_after(), Some(TURN_PATIENCE + SECOND / 2));
    assert!(refused.message().contains(HOST), "{refused}");
    assert!(refused.message().contains("2 a second, 3 at once"), "{refused}");
    assert_eq!(count(&telemetry, PaceReason::Host), [gone as u64 - 3, 20 - gone as u64]);
}

#[tokio::test(start_paused = true)]
async fn what_a_zip_on_its_way_needs_waits_as_long_as_its_deadline_allows() {
    let (telemetry, host) = (telemetry(), Host::default());
    let layer = PaceLayer::new(HOST.into(), Some(rate(1, 1)), &telemetry);
    let (service, begun) = (paced(&layer, host.service()), Instant::now());
    let patient = || FetchRequest { turn_patience: Duration::MAX, ..list_within(20 * SECOND) };
    let answers = futures::future::join_all((0..30).map(|_| call(&service, patient()))).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 21);
    assert_eq!(host.seconds(begun).last().map(|at| at.round() as u64), Some(20));
}

#[tokio::test(start_paused = true)]
async fn a_class_shares_its_budget_over_all_hosts_and_slows_nobody_else() {
    let (telemetry, class) = (telemetry(), Arc::new(RateClass::new("slow", rate(1, 1))));
    let (slow_ones, others) = (Host::default(), Host::default());
    let layers = [1, 2].map(|_| PaceLayer::new(HOST.into(), Some(rate(100, 1)), &telemetry));
    let services = layers.each_ref().map(|layer| paced(layer, slow_ones.service()));
    let begun = Instant::now();
    let slow = (0..6).map(|number| call(&services[number % 2], of_class(&class)));
    let mut slow = Box::pin(futures::future::join_all(slow));
    assert!(futures::poll!(&mut slow).is_pending());
    // Those of the class do not stand in a host's line while they wait for a turn of their own.
    for layer in &layers {
        call(&paced(layer, others.service()), list()).await.map(drop).expect("it goes");
    }
    assert!(begun.elapsed() < SECOND / 10, "{:?}", begun.elapsed());
    assert!(slow.await.iter().all(Result::is_ok));
    let seconds = slow_ones.seconds(begun);
    assert_eq!(seconds.iter().map(|at| at.round() as u64).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    let full = (0..7).map(|_| call(&services[0], of_class(&class)));
    let answers = futures::future::join_all(full).await;
    let refused: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
    assert_eq!(refused.len(), 7 - TURN_PATIENCE.as_secs() as usize, "one each second for so long");
    assert_eq!(refused[0].kind(), ErrorKind::UpstreamPaced);
    assert!(refused[0].message().contains("the rate class \"slow\""), "{}", refused[0]);
    assert_eq!(count(&telemetry, PaceReason::Class), [10, 2]);
}

#[tokio::test(start_paused = true)]
async fn an_error_from_below_passes_unchanged_and_only_a_word_of_the_host_itself_begins_a_pause() {
    use ErrorKind::{UpstreamFailed, UpstreamPaused, UpstreamThrottled};
    for kind in ErrorKind::ALL.iter().filter(|kind| **kind != UpstreamPaused) {
        let telemetry = telemetry();
        let layer = PaceLayer::new(HOST.into(), Some(rate(9, 9)), &telemetry);
        let service = paced(&layer, failing::<_, Fetched>(*kind));
        assert_passes_unchanged(&service, list(), *kind).await;
        let speaks = matches!(kind, UpstreamFailed | UpstreamThrottled);
        assert_eq!(hosts_paused(&telemetry), i64::from(speaks), "{kind:?}");
        let again = call(&service, list()).await.map(drop).expect_err("it fails");
        let want = if speaks { UpstreamPaused } else { *kind };
        assert_eq!((again.kind(), again.retry_after()), (want, Some(7 * SECOND)), "{kind:?}");
    }
    // Without a time to ask again there is nothing to wait for.
    let (telemetry, host) = (telemetry(), Host::says([error(UpstreamThrottled)]));
    let service = paced(&PaceLayer::new(HOST.into(), None, &telemetry), host.service());
    call(&service, list()).await.map(drop).expect_err("it fails");
    call(&service, list()).await.map(drop).expect("asked at once");
}

#[tokio::test(start_paused = true)]
async fn services_of_one_layer_share_the_budget_and_the_pause() {
    let telemetry = telemetry();
    let (layer, other) = (
        PaceLayer::new(HOST.into(), Some(rate(1, 1)), &telemetry),
        PaceLayer::new(HOST.into(), Some(rate(1, 1)), &telemetry),
    );
    let (sick, well) = (Host::says([throttled(4 * SECOND)]), Host::default());
    let (one, two) = (paced(&layer, sick.service()), paced(&layer, well.service()));
    let begun = Instant::now();
    call(&one, list()).await.map(drop).expect_err("it asks for a pause");
    call(&two, list()).await.map(drop).expect("after the pause");
    assert!((4.0..4.1).contains(&well.seconds(begun)[0]), "{:?}", well.seconds(begun));
    call(&one, list()).await.map(drop).expect("a turn later");
    assert!((5.0..5.1).contains(&sick.seconds(begun)[1]), "{:?}", sick.seconds(begun));
    let (free, now) = (paced(&other, well.service()), Instant::now());
    call(&free, list()).await.map(drop).expect("of another host");
    assert_eq!(now.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_ends_the_call_below_and_while_it_waits_gives_its_turn_back() {
    let (telemetry, held) = (telemetry(), Held::default());
    let layer = PaceLayer::new(HOST.into(), Some(rate(1, 1)), &telemetry);
    held.assert_ends_with_its_caller(&paced(&layer, held.service()), list()).await;
    let (host, begun) = (Host::default(), Instant::now());
    let service = paced(&layer, host.service());
    let mut leaving: Vec<_> = (0..3).map(|_| Box::pin(call(&service, list()))).collect();
    for call in &mut leaving {
        assert!(futures::poll!(call).is_pending());
    }
    drop(leaving);
    settle().await;
    call(&service, list()).await.map(drop).expect("it goes");
    assert!((1.0..1.1).contains(&host.seconds(begun)[0]), "{:?}", host.seconds(begun));
}
