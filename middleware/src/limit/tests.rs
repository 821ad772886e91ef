use tokio::time::Instant;
use tower::{Layer as _, Service as _};

use super::{LimitLayer, Standing, WAITING_PER_SLOT_MAX};
use crate::error::ErrorKind;
use crate::ports::StorageCall;
use crate::request::StorageRequest;
use crate::stack::Border;
use crate::testing::below::{Held, assert_passes_unchanged, failing, late};
use crate::testing::{SECOND, call, context, settle};

fn request() -> StorageRequest {
    StorageRequest { context: context(), operation: StorageCall::Check }
}

fn two_seconds() -> Border<StorageRequest, ()> {
    late(2 * SECOND, |_| Ok(()))
}

#[tokio::test(start_paused = true)]
async fn calls_beyond_the_slots_wait_their_turn() {
    let layer = LimitLayer::new("misses", 2, 60 * SECOND);
    let mut service = layer.layer(two_seconds());
    let started = Instant::now();
    let calls = (0..6).map(|_| service.call(request()));
    let results = futures::future::join_all(calls).await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(started.elapsed(), 6 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_too_long_is_refused_with_a_time_to_ask_again() {
    let layer = LimitLayer::new("misses", 1, SECOND);
    let mut service = layer.layer(two_seconds());
    let (first, second) = tokio::join!(service.call(request()), service.clone().call(request()));
    first.unwrap();
    let error = second.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overloaded);
    assert_eq!(error.retry_after(), Some(SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_from_its_slot_ends_the_call_below_and_gives_it_back() {
    let held = Held::default();
    let service = LimitLayer::new("misses", 1, SECOND).layer(held.service::<_, ()>());
    // Each finds the one slot free again.
    for _ in 0..2 {
        held.assert_ends_with_its_caller(&service, request()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_while_it_waits_frees_its_place_in_the_bounded_line() {
    let layer = LimitLayer::new("misses", 1, 60 * SECOND);
    let mut service = layer.layer(two_seconds());
    let mut calls: Vec<_> = (0..=WAITING_PER_SLOT_MAX).map(|_| service.call(request())).collect();
    for call in &mut calls {
        assert!(futures::poll!(call).is_pending());
    }
    let refused = service.call(request()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Overloaded);
    calls.pop();
    assert!(futures::poll!(&mut service.call(request())).is_pending());
}

#[tokio::test(start_paused = true)]
async fn an_error_from_below_passes_and_gives_its_slot_back() {
    let layer = LimitLayer::new("misses", 1, SECOND);
    let service = layer.layer(failing::<_, ()>(ErrorKind::NotFound));
    for _ in 0..3 {
        assert_passes_unchanged(&service, request(), ErrorKind::NotFound).await;
    }
}

#[tokio::test(start_paused = true)]
async fn services_of_one_layer_share_the_slots() {
    let (layer, held) = (LimitLayer::new("misses", 1, SECOND), Held::default());
    let (one, two) = (layer.layer(held.service::<_, ()>()), layer.layer(two_seconds()));
    let mut holding = Box::pin(call(&one, request()));
    assert!(futures::poll!(&mut holding).is_pending());
    let refused = call(&two, request()).await.expect_err("the one slot is taken");
    assert_eq!(refused.kind(), ErrorKind::Overloaded);
    drop(holding);
    settle().await;
    call(&two, request()).await.expect("the slot is free");
}

#[tokio::test(start_paused = true)]
async fn slots_in_use_and_who_waits_for_one_can_be_seen() {
    let layer = LimitLayer::new("misses", 2, 60 * SECOND);
    let mut service = layer.layer(two_seconds());
    let calls: Vec<_> = (0..3).map(|_| service.call(request())).collect();
    let calls = tokio::spawn(futures::future::join_all(calls));
    settle().await;
    assert_eq!(layer.standing(), Standing { used: 2, slots: 2, waiting: 1 });
    calls.await.expect("they end");
    assert_eq!(layer.standing(), Standing { used: 0, slots: 2, waiting: 0 });
}
