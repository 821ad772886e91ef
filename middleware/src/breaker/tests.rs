mod machine;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tower::Layer as _;

use super::state::{
    OPEN_FOR, STORAGE_FAILURES_TO_OPEN, TRIALS_MAX, UPSTREAM_FAILURES_TO_OPEN as FAILURES_TO_OPEN,
};
use super::{Breaker, BreakerLayer};
use crate::error::{Error, ErrorKind};
use crate::ports::{Fetched, Payload, StorageCall, StorageReply};
use crate::request::{FetchAsk, FetchRequest, StorageRequest};
use crate::stack::Stage;
use crate::telemetry::{BreakerScope, Telemetry};
use crate::testing::below::{Held, assert_passes_unchanged, failing};
use crate::testing::{SECOND, call, context, error, leaf, module, settle, telemetry};

/// An upstream that fails with the kind in its hand, or answers.
#[derive(Clone, Default)]
struct Health {
    failing: Arc<Mutex<Option<ErrorKind>>>,
    calls: Arc<AtomicUsize>,
}

impl Health {
    fn set(&self, failing: Option<ErrorKind>) {
        *self.failing.lock() = failing;
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    fn inner(&self) -> impl Stage<FetchRequest, Reply = Fetched> + use<> {
        let health = self.clone();
        leaf(move |_: FetchRequest| {
            health.calls.fetch_add(1, Ordering::SeqCst);
            match *health.failing.lock() {
                Some(kind) => Err(error(kind)),
                None => Ok(answered()),
            }
        })
    }

    fn layer(&self, telemetry: &Telemetry) -> BreakerLayer {
        BreakerLayer::upstream("proxy.example".into(), telemetry)
    }

    fn service(
        &self,
        telemetry: &Telemetry,
    ) -> Breaker<impl Stage<FetchRequest, Reply = Fetched> + use<>> {
        self.layer(telemetry).layer(self.inner())
    }
}

fn answered() -> Fetched {
    Fetched {
        payload: Payload::Bytes(Bytes::new()),
        upstream: "proxy.example".into(),
        cache_status: None,
    }
}

fn list() -> FetchRequest {
    FetchRequest::new(context(), module("example.com/m"), FetchAsk::List)
}

async fn fail_often<S>(service: &Breaker<S>, times: u32)
where
    S: Stage<FetchRequest, Reply = Fetched>,
{
    for _ in 0..times {
        call(service, list()).await.map(drop).expect_err("upstream fails");
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_is_left_alone_where_it_cannot_be_reached_and_for_no_bad_answer() {
    let elsewhere = error(ErrorKind::UpstreamFailed).unreachable().from_elsewhere();
    let silent = error(ErrorKind::UpstreamTimeout);
    let rows = [
        (error(ErrorKind::UpstreamFailed), false),
        (silent.clone(), false),
        (elsewhere, false),
        (silent.unreachable(), true),
        (error(ErrorKind::UpstreamFailed).unreachable(), true),
    ];
    for (failure, opens) in rows {
        let telemetry = telemetry();
        let failing = leaf({
            let failure = failure.clone();
            move |_: FetchRequest| Err::<Fetched, _>(failure.clone())
        });
        let layer = BreakerLayer::host("https://one.example".into(), &telemetry);
        let service = layer.layer(failing);
        fail_often(&service, FAILURES_TO_OPEN).await;
        let next = call(&service, list()).await.map(drop).expect_err("it fails, or is left alone");
        assert_eq!(next.kind() == ErrorKind::UpstreamUnavailable, opens, "{failure}");
        let open = telemetry.metrics.breakers_open.get((BreakerScope::Host,)).get();
        assert_eq!(open, i64::from(opens), "{failure}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_swallows_packets_holds_few_calls_and_none_keeps_out_another_caller_s_first() {
    let (telemetry, held) = (telemetry(), Held::default());
    let layer = BreakerLayer::host("https://one.example".into(), &telemetry);
    let failing =
        leaf(|_: FetchRequest| Err::<Fetched, _>(error(ErrorKind::UpstreamFailed).unreachable()));
    fail_often(&layer.layer(failing), FAILURES_TO_OPEN).await;
    let busy = layer.for_another();
    let mut trials = Vec::new();
    let mut hang = |layer: &BreakerLayer| {
        let hanging = layer.layer(held.service::<_, Fetched>());
        trials.push(tokio::spawn(async move { call(&hanging, list()).await.map(drop) }));
    };
    for _ in 0..2 * TRIALS_MAX {
        tokio::time::advance(OPEN_FOR).await;
        hang(&busy);
        settle().await;
    }
    assert_eq!(held.counts().1, 1 + TRIALS_MAX, "one of its own, and all that are shared");
    tokio::time::advance(OPEN_FOR).await;
    assert_eq!(busy.standing().refused_for, Some(OPEN_FOR), "and says so");
    let other = layer.for_another();
    assert_eq!(other.standing().refused_for, None);
    hang(&other);
    settle().await;
    assert_eq!(held.counts().1, 2 + TRIALS_MAX, "another's first is its own");
    // Who goes away makes room.
    trials.iter().for_each(tokio::task::JoinHandle::abort);
    settle().await;
    assert_eq!((held.counts().1, busy.standing().refused_for), (0, None));
}

/// On threads of the system: who waits for a lock for ever lets no timer of a runtime run.
#[test]
fn a_look_at_how_it_stands_and_calls_do_not_wait_for_each_other_for_ever() {
    const TIMES: usize = 50_000;
    let (telemetry, health) = (telemetry(), Health::default());
    health.set(Some(ErrorKind::UpstreamFailed));
    let layer = health.layer(&telemetry);
    let service = layer.layer(health.inner());
    let (done, ended) = std::sync::mpsc::channel();
    let looked = done.clone();
    std::thread::spawn(move || {
        // Closed for the first ten, and then open, which is where a call asks whose turn it is.
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        for _ in 0..TIMES {
            runtime.block_on(call(&service, list())).map(drop).expect_err("it fails");
        }
        done.send(()).expect("somebody waits");
    });
    std::thread::spawn(move || {
        (0..TIMES).for_each(|_| drop(layer.standing()));
        looked.send(()).expect("somebody waits");
    });
    for _ in 0..2 {
        ended.recv_timeout(60 * SECOND).expect("neither waits for the other");
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_hung_was_asked_and_keeps_its_turn() {
    let (telemetry, failure) = (telemetry(), error(ErrorKind::UpstreamFailed).unreachable());
    let failure = Arc::new(Mutex::new(failure));
    let said = Arc::clone(&failure);
    let failing = leaf(move |_: FetchRequest| Err::<Fetched, _>(said.lock().clone()));
    let layer = BreakerLayer::host("https://one.example".into(), &telemetry);
    let service = layer.layer(failing);
    fail_often(&service, FAILURES_TO_OPEN).await;
    *failure.lock() = error(ErrorKind::UpstreamTimeout);
    tokio::time::advance(OPEN_FOR).await;
    fail_often(&service, 1).await;
    assert_eq!(layer.standing().refused_for, Some(OPEN_FOR));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_asked_nobody_costs_no_turn() {
    let (telemetry, health) = (telemetry(), Health::default());
    let service = health.service(&telemetry);
    health.set(Some(ErrorKind::UpstreamFailed));
    fail_often(&service, FAILURES_TO_OPEN).await;
    tokio::time::advance(OPEN_FOR).await;
    health.set(Some(ErrorKind::UpstreamUnavailable));
    fail_often(&service, 1).await;
    health.set(None);
    call(&service, list()).await.map(drop).expect("it is asked before its turn would have come");
}

#[tokio::test(start_paused = true)]
async fn a_silence_neither_opens_a_host_s_breaker_nor_counts_as_reaching_it() {
    let telemetry = telemetry();
    let failure = Arc::new(Mutex::new(error(ErrorKind::UpstreamFailed).unreachable()));
    let said = Arc::clone(&failure);
    let failing = leaf(move |_: FetchRequest| Err::<Fetched, _>(said.lock().clone()));
    let service = BreakerLayer::host("https://one.example".into(), &telemetry).layer(failing);
    fail_often(&service, FAILURES_TO_OPEN - 1).await;
    *failure.lock() = error(ErrorKind::UpstreamTimeout);
    fail_often(&service, 2 * FAILURES_TO_OPEN).await;
    assert_eq!(telemetry.metrics.breakers_open.get((BreakerScope::Host,)).get(), 0);
    *failure.lock() = error(ErrorKind::UpstreamFailed).unreachable();
    fail_often(&service, 1).await;
    assert_eq!(telemetry.metrics.breakers_open.get((BreakerScope::Host,)).get(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_keeps_failing_is_not_called_for_a_while() {
    let (telemetry, health) = (telemetry(), Health::default());
    let service = health.service(&telemetry);
    health.set(Some(ErrorKind::UpstreamFailed));
    fail_often(&service, FAILURES_TO_OPEN).await;
    assert_eq!(telemetry.metrics.breakers_open.get((BreakerScope::Upstream,)).get(), 1);

    tokio::time::advance(SECOND).await;
    let refused = call(&service, list()).await.map(drop).expect_err("the breaker is open");
    assert_eq!(health.calls(), FAILURES_TO_OPEN as usize, "upstream was not called");
    assert_eq!(refused.kind(), ErrorKind::UpstreamUnavailable);
    assert_eq!(refused.retry_after(), Some(OPEN_FOR - SECOND));
    assert!(refused.message().contains("proxy.example"), "{refused}");
    assert!(!refused.message().contains("on purpose"), "another request's error: {refused}");
}

#[tokio::test(start_paused = true)]
async fn one_good_call_after_the_wait_closes_the_breaker() {
    let (telemetry, health) = (telemetry(), Health::default());
    let service = health.service(&telemetry);
    health.set(Some(ErrorKind::UpstreamTimeout));
    fail_often(&service, FAILURES_TO_OPEN).await;
    health.set(None);
    tokio::time::advance(OPEN_FOR).await;
    for _ in 0..3 {
        call(&service, list()).await.map(drop).expect("upstream answers again");
    }
    assert_eq!(telemetry.metrics.breakers_open.get((BreakerScope::Upstream,)).get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_bad_call_after_the_wait_opens_it_again() {
    let (telemetry, health) = (telemetry(), Health::default());
    let service = health.service(&telemetry);
    health.set(Some(ErrorKind::UpstreamThrottled));
    fail_often(&service, FAILURES_TO_OPEN).await;
    tokio::time::advance(OPEN_FOR).await;
    fail_often(&service, 5).await;
    assert_eq!(health.calls(), FAILURES_TO_OPEN as usize + 1, "one call was let through");
    assert_eq!(
        telemetry.metrics.breakers_open.get((BreakerScope::Upstream,)).get(),
        1,
        "counted once"
    );
}

#[tokio::test(start_paused = true)]
async fn answers_that_say_no_are_no_failures() {
    use ErrorKind::{BadContent, NotFound, UpstreamRefused, UpstreamRejected};
    for kind in [NotFound, UpstreamRefused, UpstreamRejected, BadContent] {
        let (telemetry, health) = (telemetry(), Health::default());
        let service = health.service(&telemetry);
        health.set(Some(ErrorKind::UpstreamFailed));
        fail_often(&service, FAILURES_TO_OPEN - 1).await;
        health.set(Some(kind));
        fail_often(&service, 1).await;
        health.set(Some(ErrorKind::UpstreamFailed));
        fail_often(&service, FAILURES_TO_OPEN - 1).await;
        assert_eq!(
            telemetry.metrics.breakers_open.get((BreakerScope::Upstream,)).get(),
            0,
            "{kind:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_our_own_says_nothing_about_upstream() {
    // The second: its host is left alone.
    for refusal in [ErrorKind::Overloaded, ErrorKind::UpstreamUnavailable] {
        let (telemetry, health) = (telemetry(), Health::default());
        let service = health.service(&telemetry);
        let open = || telemetry.metrics.breakers_open.get((BreakerScope::Upstream,)).get();
        health.set(Some(ErrorKind::UpstreamTimeout));
        fail_often(&service, FAILURES_TO_OPEN - 1).await;
        health.set(Some(refusal));
        fail_often(&service, 2 * FAILURES_TO_OPEN).await;
        assert_eq!(open(), 0, "{refusal:?} is not a failure");
        health.set(Some(ErrorKind::UpstreamTimeout));
        fail_often(&service, 1).await;
        assert_eq!(open(), 1, "{refusal:?} is not a success either");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_under_way_keeps_out_its_own_caller_s_others_and_nobody_else_s() {
    let (telemetry, held) = (telemetry(), Held::default());
    let layer = BreakerLayer::host("https://one.example".into(), &telemetry);
    let failing =
        leaf(|_: FetchRequest| Err::<Fetched, _>(error(ErrorKind::UpstreamFailed).unreachable()));
    fail_often(&layer.layer(failing), FAILURES_TO_OPEN).await;
    tokio::time::advance(OPEN_FOR).await;
    let hanging = layer.for_another().layer(held.service::<_, Fetched>());
    let calling = hanging.clone();
    let one = tokio::spawn(async move { call(&calling, list()).await.map(drop) });
    settle().await;
    let refused = call(&hanging, list()).await.map(drop).expect_err("a call is under way");
    assert_eq!(refused.kind(), ErrorKind::UpstreamUnavailable);
    let another = layer.for_another();
    assert_eq!(another.standing().refused_for, None);
    let answers = another.layer(leaf(|_: FetchRequest| Ok(answered())));
    call(&answers, list()).await.map(drop).expect("the other's call is let through");
    assert!(!layer.standing().is_open, "and closes it for all");
    one.abort();
}

#[tokio::test(start_paused = true)]
async fn while_one_call_is_under_way_all_others_are_refused() {
    let telemetry = telemetry();
    let failing = Arc::new(Mutex::new(true));
    let seen = Arc::clone(&failing);
    let inner = tower::service_fn(move |_: FetchRequest| {
        let failing = *seen.lock();
        async move {
            if failing {
                return Err::<Fetched, Error>(error(ErrorKind::UpstreamFailed));
            }
            tokio::time::sleep(SECOND).await;
            Ok(answered())
        }
    });
    let service = BreakerLayer::upstream("proxy.example".into(), &telemetry).layer(inner);
    fail_often(&service, FAILURES_TO_OPEN).await;
    *failing.lock() = false;
    tokio::time::advance(OPEN_FOR).await;
    let probing = service.clone();
    let probe = tokio::spawn(async move { call(&probing, list()).await.map(drop) });
    settle().await;
    let refused = call(&service, list()).await.map(drop).expect_err("a call is under way");
    assert_eq!(refused.kind(), ErrorKind::UpstreamUnavailable);
    probe.await.expect("no panic").expect("upstream answers");
    call(&service, list()).await.map(drop).expect("closed again");
}

fn storage_call(operation: StorageCall) -> StorageRequest {
    StorageRequest { context: context(), operation }
}

/// A storage that fails while it is told to, and counts what reaches it.
fn storage(
    failing: &Arc<Mutex<Option<Error>>>,
    calls: &Arc<AtomicUsize>,
    telemetry: &Telemetry,
) -> Breaker<impl Stage<StorageRequest, Reply = StorageReply>> {
    let (failing, calls) = (Arc::clone(failing), Arc::clone(calls));
    let inner = leaf(move |_: StorageRequest| {
        calls.fetch_add(1, Ordering::SeqCst);
        match &*failing.lock() {
            Some(error) => Err(error.clone()),
            None => Ok(StorageReply::Done),
        }
    });
    BreakerLayer::storage("tape", telemetry).layer(inner)
}

fn unreachable() -> Error {
    let text = "tape storage cannot read example.com/private: connection refused";
    Error::new(ErrorKind::StorageUnavailable, text).with_cause("connection refused")
}

#[tokio::test(start_paused = true)]
async fn a_storage_that_keeps_failing_is_refused_at_once_with_the_cause_and_no_foreign_name() {
    let (telemetry, failing, calls) =
        (telemetry(), Arc::new(Mutex::new(Some(unreachable()))), Arc::default());
    let service = storage(&failing, &calls, &telemetry);
    for _ in 0..STORAGE_FAILURES_TO_OPEN {
        let list = storage_call(StorageCall::List(module("example.com/m")));
        call(&service, list).await.expect_err("it fails");
    }
    assert_eq!(telemetry.metrics.storage_breaker_open.get(()).get(), 1);
    assert_eq!(
        telemetry.metrics.breakers_open.get((BreakerScope::Upstream,)).get(),
        0,
        "no upstream's"
    );
    let read = storage_call(StorageCall::ReadExtra("a".into()));
    let refused = call(&service, read).await.expect_err("open");
    assert_eq!(calls.load(Ordering::SeqCst), STORAGE_FAILURES_TO_OPEN as usize, "not called");
    assert_eq!(refused.kind(), ErrorKind::StorageUnavailable);
    assert_eq!(refused.retry_after(), Some(OPEN_FOR));
    let text = "tape storage cannot read_extra: it keeps failing and is left alone for a while: \
                connection refused";
    assert_eq!(refused.message(), text);
    assert_eq!(refused.cause().map(|cause| &**cause), Some("connection refused"));
}

#[tokio::test(start_paused = true)]
async fn a_check_passes_an_open_breaker_and_its_success_closes_it() {
    let (telemetry, failing, calls) =
        (telemetry(), Arc::new(Mutex::new(Some(unreachable()))), Arc::default());
    let service = storage(&failing, &calls, &telemetry);
    let check = || storage_call(StorageCall::Check);
    for number in 1..=3 * STORAGE_FAILURES_TO_OPEN {
        let failed = call(&service, check()).await.expect_err("it fails");
        assert!(failed.message().contains("private"), "the backend's own words: {failed}");
        assert_eq!(calls.load(Ordering::SeqCst), number as usize);
    }
    assert_eq!(telemetry.metrics.storage_breaker_open.get(()).get(), 1);
    *failing.lock() = None;
    call(&service, check()).await.expect("it is back");
    assert_eq!(telemetry.metrics.storage_breaker_open.get(()).get(), 0);
    call(&service, storage_call(StorageCall::ReadExtra("a".into()))).await.expect("closed");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_storage_is_an_answer_and_opens_nothing() {
    for kind in [ErrorKind::Storage, ErrorKind::BadRequest, ErrorKind::Unsupported] {
        let (telemetry, failing, calls) =
            (telemetry(), Arc::new(Mutex::new(Some(error(kind)))), Arc::default());
        let service = storage(&failing, &calls, &telemetry);
        for _ in 0..3 * STORAGE_FAILURES_TO_OPEN {
            call(&service, storage_call(StorageCall::Check)).await.expect_err("it refuses");
        }
        assert_eq!(telemetry.metrics.storage_breaker_open.get(()).get(), 0, "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_from_below_passes_unchanged() {
    let layer = BreakerLayer::upstream("proxy.example".into(), &telemetry());
    for kind in [ErrorKind::UpstreamFailed, ErrorKind::NotFound] {
        assert_passes_unchanged(&layer.layer(failing::<_, Fetched>(kind)), list(), kind).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_nobody_can_ask_any_more_counts_as_open_no_more() {
    let telemetry = telemetry();
    let open = telemetry.metrics.breakers_open.get((BreakerScope::Upstream,));
    let layer = BreakerLayer::upstream("proxy.example".into(), &telemetry);
    let service = layer.layer(failing(ErrorKind::UpstreamFailed));
    fail_often(&service, FAILURES_TO_OPEN).await;
    drop(layer);
    assert_eq!(open.get(), 1, "one service is left");
    drop(service);
    assert_eq!(open.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn services_of_one_layer_share_the_state() {
    let layer = BreakerLayer::upstream("proxy.example".into(), &telemetry());
    let one = layer.layer(failing(ErrorKind::UpstreamFailed));
    let two = layer.layer(leaf(|_: FetchRequest| Ok(answered())));
    fail_often(&one, FAILURES_TO_OPEN).await;
    let refused = call(&two, list()).await.map(drop).expect_err("opened by the other");
    assert_eq!(refused.kind(), ErrorKind::UpstreamUnavailable);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_ends_the_call_below_and_counts_as_no_failure() {
    let (telemetry, held) = (telemetry(), Held::default());
    let service = BreakerLayer::upstream("proxy.example".into(), &telemetry)
        .layer(held.service::<_, Fetched>());
    for _ in 0..2 * FAILURES_TO_OPEN {
        held.assert_ends_with_its_caller(&service, list()).await;
    }
    assert_eq!(telemetry.metrics.breakers_open.get((BreakerScope::Upstream,)).get(), 0);
}
