use std::time::Duration;

use tokio::time::Instant;
use tower::{Layer as _, Service as _, service_fn};

use super::{LimitLayer, WAITING_PER_SLOT_MAX};
use crate::error::{Error, ErrorKind};
use crate::ports::StorageCall;
use crate::request::{RequestContext, StorageRequest};

const SECOND: Duration = Duration::from_secs(1);

fn request() -> StorageRequest {
    let context = RequestContext::detached(Instant::now() + 60 * SECOND);
    StorageRequest { context, operation: StorageCall::Check }
}

async fn two_seconds(_: StorageRequest) -> Result<(), Error> {
    tokio::time::sleep(2 * SECOND).await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn calls_beyond_the_slots_wait_their_turn() {
    let layer = LimitLayer::new("misses", 2, 60 * SECOND);
    let mut service = layer.layer(service_fn(two_seconds));
    let started = Instant::now();
    let calls = (0..6).map(|_| service.call(request()));
    let results = futures::future::join_all(calls).await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(started.elapsed(), 6 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_too_long_is_refused_with_a_time_to_ask_again() {
    let layer = LimitLayer::new("misses", 1, SECOND);
    let mut service = layer.layer(service_fn(two_seconds));
    let (first, second) = tokio::join!(service.call(request()), service.clone().call(request()));
    first.unwrap();
    let error = second.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overloaded);
    assert_eq!(error.retry_after(), Some(SECOND));
}

#[tokio::test(start_paused = true)]
async fn the_line_is_bounded_and_a_caller_that_leaves_frees_its_place() {
    let layer = LimitLayer::new("misses", 1, 60 * SECOND);
    let mut service = layer.layer(service_fn(two_seconds));
    let mut calls: Vec<_> = (0..=WAITING_PER_SLOT_MAX).map(|_| service.call(request())).collect();
    for call in &mut calls {
        assert!(futures::poll!(call).is_pending());
    }
    let refused = service.call(request()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Overloaded);
    calls.pop();
    assert!(futures::poll!(&mut service.call(request())).is_pending());
}
