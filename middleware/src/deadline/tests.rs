use std::time::Duration;

use tokio::time::Instant;
use tower::Layer as _;

use super::DeadlineLayer;
use crate::error::ErrorKind;
use crate::ports::StorageCall;
use crate::request::{HasContext as _, StorageRequest};
use crate::testing::below::{Held, assert_passes_unchanged, failing};
use crate::testing::{SECOND, call, context_for, leaf};

fn request(patience: Duration) -> StorageRequest {
    StorageRequest { context: context_for(patience), operation: StorageCall::Check }
}

fn layer(limit: Duration) -> DeadlineLayer {
    DeadlineLayer::new("storage", limit, ErrorKind::Storage)
}

#[tokio::test(start_paused = true)]
async fn a_call_that_takes_too_long_fails_with_the_given_kind() {
    let held = Held::default();
    let service = layer(2 * SECOND).layer(held.service::<_, ()>());
    let error = call(&service, request(60 * SECOND)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert_eq!(error.message(), "storage took longer than 2.0 s");
    assert_eq!(held.counts(), (1, 0), "the call below is over too");
}

#[tokio::test(start_paused = true)]
async fn an_earlier_deadline_of_the_request_stays() {
    let look = || leaf(|request: StorageRequest| Ok(request.context().deadline));
    let started = Instant::now();
    let seen = call(&layer(60 * SECOND).layer(look()), request(SECOND)).await.unwrap();
    assert_eq!(seen, started + SECOND);
    let seen = call(&layer(SECOND).layer(look()), request(60 * SECOND)).await.unwrap();
    assert_eq!(seen, started + SECOND);
}

#[tokio::test(start_paused = true)]
async fn the_caller_s_own_deadline_is_nobody_else_s_fault() {
    let service = layer(60 * SECOND).layer(Held::default().service::<_, ()>());
    let error = call(&service, request(SECOND)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    assert_eq!(error.message(), "storage took longer than 1.0 s");
}

#[tokio::test(start_paused = true)]
async fn an_error_from_below_passes_unchanged() {
    let service = layer(SECOND).layer(failing::<_, ()>(ErrorKind::NotFound));
    assert_passes_unchanged(&service, request(SECOND), ErrorKind::NotFound).await;
}

#[tokio::test(start_paused = true)]
async fn services_of_one_layer_give_each_call_its_own_time() {
    let (layer, held) = (layer(2 * SECOND), Held::default());
    let (one, two) = (layer.layer(held.service::<_, ()>()), layer.layer(held.service::<_, ()>()));
    let started = Instant::now();
    let first = async {
        call(&one, request(60 * SECOND)).await.expect_err("too long");
        started.elapsed()
    };
    let second = async {
        tokio::time::sleep(SECOND).await;
        call(&two, request(60 * SECOND)).await.expect_err("too long");
        started.elapsed()
    };
    assert_eq!(tokio::join!(first, second), (2 * SECOND, 3 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_ends_the_call_below() {
    let held = Held::default();
    let service = layer(60 * SECOND).layer(held.service::<_, ()>());
    held.assert_ends_with_its_caller(&service, request(60 * SECOND)).await;
}
