use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;
use tower::Layer as _;

use super::state::{FIRST_WAIT, RETRIES_PER_CALL, RETRIES_SAVED_MAX, WAIT_MAX, allowance, wait};
use super::{Retry, RetryLayer};
use crate::error::{Error, ErrorKind};
use crate::ports::{Fetched, Payload, StorageCall, StorageReply};
use crate::request::{FetchAsk, FetchRequest, StorageRequest, TURN_PATIENCE};
use crate::stack::Stage;
use crate::telemetry::{FetchKind, StorageOperation, Telemetry};
use crate::testing::below::Held;
use crate::testing::{SECOND, below, call, context_for, error, leaf, module, telemetry};

#[test]
fn the_first_wait_is_short_and_each_further_one_twice_as_long_up_to_the_longest() {
    for retry in 1..=200 {
        let full = FIRST_WAIT.saturating_mul(1 << (retry - 1).min(16)).min(WAIT_MAX);
        let (shortest, longest) = (wait(retry, 0, None), wait(retry, 255, None));
        assert_eq!((shortest, longest), (full / 2, full), "retry {retry}");
        for jitter in 0..=255 {
            let one = wait(retry, jitter, None);
            assert!(shortest <= one && one <= longest, "retry {retry}, jitter {jitter}");
        }
    }
    assert_eq!(wait(1, 255, None), FIRST_WAIT);
    assert_eq!(wait(2, 255, None), 2 * FIRST_WAIT);
    assert_eq!(wait(u32::MAX, 255, None), WAIT_MAX);
}

#[test]
fn what_upstream_asks_for_is_waited_where_it_is_longer() {
    assert_eq!(wait(1, 255, Some(9 * SECOND)), 9 * SECOND);
    assert_eq!(wait(1, 255, Some(Duration::from_millis(1))), FIRST_WAIT);
}

#[test]
fn the_budget_starts_full_and_each_call_pays_in_a_part_of_a_retry() {
    let budget = allowance();
    let taken = (0..1000).filter(|_| budget.withdraw()).count();
    assert_eq!(taken as i64, RETRIES_SAVED_MAX);
    let calls_per_retry = (1.0 / RETRIES_PER_CALL).round() as usize;
    for _ in 1..calls_per_retry {
        budget.deposit();
        assert!(!budget.withdraw());
    }
    budget.deposit();
    assert!(budget.withdraw());
    assert!(!budget.withdraw());
    (0..10_000).for_each(|_| budget.deposit());
    let saved = (0..10_000).filter(|_| budget.withdraw()).count();
    assert_eq!(saved as i64, RETRIES_SAVED_MAX, "what is saved up is bounded");
}

/// When the leaf was called.
type Calls = Arc<Mutex<Vec<Instant>>>;

/// Three attempts over a leaf that fails with the errors in turn, then answers.
fn retrying(
    errors: Vec<Error>,
    telemetry: &Telemetry,
) -> (Retry<impl Stage<FetchRequest, Reply = Fetched>>, Calls) {
    let calls = Calls::default();
    let noted = Arc::clone(&calls);
    let inner = leaf(move |_: FetchRequest| {
        let mut calls = noted.lock();
        calls.push(Instant::now());
        match errors.get(calls.len() - 1) {
            Some(error) => Err(error.clone()),
            None => {
                let payload = Payload::Bytes(Bytes::from_static(b"v1.0.0\n"));
                Ok(Fetched { payload, upstream: "proxy.example".into(), cache_status: None })
            }
        }
    });
    (RetryLayer::new(3, telemetry).layer(inner), calls)
}

fn list(patience: Duration) -> FetchRequest {
    let (context, module) = (context_for(patience), module("example.com/m"));
    FetchRequest::new(context, module, FetchAsk::List)
}

fn retries(telemetry: &Telemetry) -> u64 {
    telemetry.metrics.retries.get((FetchKind::List,)).get()
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_tried_again_after_a_growing_wait() {
    let telemetry = telemetry();
    let errors = vec![error(ErrorKind::UpstreamFailed), error(ErrorKind::UpstreamTimeout)];
    let (service, calls) = retrying(errors, &telemetry);
    call(&service, list(60 * SECOND)).await.map(drop).expect("the third attempt succeeds");
    let at = calls.lock().clone();
    assert_eq!((at.len(), retries(&telemetry)), (3, 2));
    // The clock of tests counts whole milliseconds.
    let slack = Duration::from_millis(1);
    for (retry, pause) in [(1, at[1] - at[0]), (2, at[2] - at[1])] {
        let bounds = wait(retry, 0, None)..=wait(retry, 255, None) + slack;
        assert!(bounds.contains(&pause), "{pause:?} not in {bounds:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_attempts_are_bounded_and_the_last_error_is_told() {
    let telemetry = telemetry();
    let errors = (1..=9).map(|n| Error::new(ErrorKind::UpstreamFailed, format!("attempt {n}")));
    let (service, calls) = retrying(errors.collect(), &telemetry);
    let failed = call(&service, list(60 * SECOND)).await.map(drop).expect_err("all fail");
    assert_eq!((failed.message(), calls.lock().len()), ("attempt 3", 3));
    assert_eq!(retries(&telemetry), 2);
}

#[tokio::test(start_paused = true)]
async fn an_error_from_below_that_lasts_passes_and_is_never_tried_again() {
    for kind in ErrorKind::ALL.iter().filter(|kind| !kind.is_transient()) {
        let telemetry = telemetry();
        let (service, calls) = retrying(vec![below::error_from_below(*kind)], &telemetry);
        below::assert_passes_unchanged(&service, list(60 * SECOND), *kind).await;
        assert_eq!((calls.lock().len(), retries(&telemetry)), (1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn upstream_s_own_wait_is_kept() {
    for (asked, turn_patience) in [(TURN_PATIENCE, TURN_PATIENCE), (30 * SECOND, Duration::MAX)] {
        let throttled = error(ErrorKind::UpstreamThrottled).with_retry_after(asked);
        let (service, calls) = retrying(vec![throttled], &telemetry());
        let request = FetchRequest { turn_patience, ..list(60 * SECOND) };
        call(&service, request).await.map(drop).expect("the second attempt succeeds");
        let at = calls.lock().clone();
        assert_eq!(at[1] - at[0], asked);
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_upstream_asks_for_and_that_is_longer_than_for_a_turn_is_told_at_once() {
    let asked = TURN_PATIENCE + SECOND;
    let (telemetry, began) = (telemetry(), Instant::now());
    let throttled = error(ErrorKind::UpstreamThrottled).with_retry_after(asked);
    let (service, calls) = retrying(vec![throttled], &telemetry);
    let failed = call(&service, list(600 * SECOND)).await.map(drop).expect_err("not waited for");
    assert_eq!((failed.retry_after(), began.elapsed()), (Some(asked), Duration::ZERO));
    assert_eq!((calls.lock().len(), retries(&telemetry)), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_wait_beyond_the_deadline_is_not_begun() {
    for asked in [60 * SECOND, Duration::MAX] {
        let telemetry = telemetry();
        let throttled = error(ErrorKind::UpstreamThrottled).with_retry_after(asked);
        let (service, calls) = retrying(vec![throttled], &telemetry);
        let started = Instant::now();
        let failed = call(&service, list(5 * SECOND)).await.map(drop).expect_err("no time left");
        assert_eq!(failed.retry_after(), Some(asked), "the client is told");
        assert_eq!((started.elapsed(), calls.lock().len()), (Duration::ZERO, 1));
        assert_eq!(retries(&telemetry), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_upstream_is_not_asked_three_times_as_often() {
    let telemetry = telemetry();
    let (service, calls) = retrying(vec![error(ErrorKind::UpstreamFailed); 10_000], &telemetry);
    const CALLS: usize = 1000;
    for _ in 0..CALLS {
        call(&service, list(60 * SECOND)).await.map(drop).expect_err("dead");
    }
    let most = CALLS as f64 * RETRIES_PER_CALL + RETRIES_SAVED_MAX as f64;
    let made = calls.lock().len() - CALLS;
    assert!(made as f64 <= most, "{made} retries");
    assert!(made > 0, "the budget allows some");
    assert_eq!(retries(&telemetry), made as u64);
}

#[tokio::test(start_paused = true)]
async fn services_of_one_layer_share_the_budget() {
    let telemetry = telemetry();
    let layer = RetryLayer::new(1000, &telemetry);
    let dead = || leaf(|_: FetchRequest| Err::<Fetched, _>(error(ErrorKind::UpstreamFailed)));
    let (one, two) = (layer.layer(dead()), layer.layer(dead()));
    call(&one, list(3600 * SECOND)).await.map(drop).expect_err("dead");
    assert_eq!(retries(&telemetry), RETRIES_SAVED_MAX as u64);
    call(&two, list(3600 * SECOND)).await.map(drop).expect_err("dead");
    assert_eq!(retries(&telemetry), RETRIES_SAVED_MAX as u64, "nothing is left for the other");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_ends_the_call_below_and_nothing_is_tried_again() {
    let (telemetry, held) = (telemetry(), Held::default());
    let service = RetryLayer::new(3, &telemetry).layer(held.service::<_, Fetched>());
    held.assert_ends_with_its_caller(&service, list(60 * SECOND)).await;
    tokio::time::sleep(2 * WAIT_MAX).await;
    assert_eq!((held.counts(), retries(&telemetry)), ((1, 0), 0));
}

#[tokio::test(start_paused = true)]
async fn a_storage_out_of_reach_is_asked_again_and_one_that_refuses_is_not() {
    for (kind, attempts) in [(ErrorKind::StorageUnavailable, 3), (ErrorKind::Storage, 1)] {
        let (telemetry, calls) = (telemetry(), Arc::new(Mutex::new(0)));
        let counted = Arc::clone(&calls);
        let inner = leaf(move |_: StorageRequest| {
            *counted.lock() += 1;
            Err::<StorageReply, _>(error(kind))
        });
        let service = RetryLayer::new(3, &telemetry).layer(inner);
        let operation = StorageCall::ReadExtra("a".into());
        let context = context_for(60 * SECOND);
        let request = StorageRequest { context, operation };
        call(&service, request).await.expect_err("it fails");
        assert_eq!(*calls.lock(), attempts, "{kind:?}");
        let counted = telemetry.metrics.storage_retries.get((StorageOperation::ReadExtra,)).get();
        assert_eq!(counted, attempts - 1, "{kind:?}");
        assert_eq!(retries(&telemetry), 0, "no upstream's");
    }
}

#[tokio::test(start_paused = true)]
async fn a_storage_that_hangs_is_not_waited_for_twice() {
    // The second caller's time would end within a second attempt, and nobody would learn of the first.
    for (patience, hangs) in [(3600 * SECOND, 10 * SECOND), (2 * SECOND, 18 * SECOND / 10)] {
        let (telemetry, calls) = (telemetry(), Arc::new(Mutex::new(0)));
        let counted = Arc::clone(&calls);
        let inner = tower::service_fn(move |_: StorageRequest| {
            *counted.lock() += 1;
            async move {
                tokio::time::sleep(hangs).await;
                Err::<StorageReply, _>(error(ErrorKind::StorageUnavailable))
            }
        });
        let service = RetryLayer::new(3, &telemetry).layer(inner);
        let context = context_for(patience);
        call(&service, StorageRequest { context, operation: StorageCall::Check })
            .await
            .expect_err("it hangs");
        assert_eq!(*calls.lock(), 1, "{patience:?}");
    }
}
