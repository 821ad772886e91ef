use std::time::Duration;

use http::Response;
use tower::Layer as _;

use super::AdmissionLayer;
use crate::body::{self, Body};
use crate::error::{Error, ErrorKind};
use crate::request::EdgeRequest;
use crate::testing::below::{Held, assert_passes_unchanged, failing};
use crate::testing::{call, edge, leaf, text_of};

fn hello(_: EdgeRequest) -> Result<Response<Body>, Error> {
    Ok(Response::new(body::full("hello")))
}

#[tokio::test(start_paused = true)]
async fn what_is_beyond_the_limit_is_refused_at_once_with_a_time_to_ask_again() {
    let service = AdmissionLayer::new(2).layer(leaf(hello));
    let first = call(&service, edge("GET", "/a")).await.expect("a place is free");
    let _second = call(&service, edge("GET", "/b")).await.expect("a place is free");
    let refused = call(&service, edge("GET", "/c")).await.expect_err("no place is free");
    assert_eq!(refused.kind(), ErrorKind::Overloaded);
    assert_eq!(refused.retry_after(), Some(Duration::from_secs(1)));
    drop(first);
    call(&service, edge("GET", "/c")).await.expect("the dropped answer gave its place back");
}

#[tokio::test(start_paused = true)]
async fn a_request_keeps_its_place_until_its_body_has_ended() {
    let service = AdmissionLayer::new(1).layer(leaf(hello));
    let response = call(&service, edge("GET", "/a")).await.expect("a place is free");
    call(&service, edge("GET", "/b")).await.expect_err("the body has not ended");
    assert_eq!(text_of(response).await, "hello");
    call(&service, edge("GET", "/b")).await.expect("the body has ended");
}

#[tokio::test(start_paused = true)]
async fn those_in_hand_are_told_with_how_many_there_may_be() {
    let layer = AdmissionLayer::new(3);
    let service = layer.layer(leaf(hello));
    assert_eq!(layer.in_hand(), (0, 3));
    let first = call(&service, edge("GET", "/a")).await.expect("a place is free");
    let _second = call(&service, edge("GET", "/b")).await.expect("a place is free");
    assert_eq!(layer.in_hand(), (2, 3));
    drop(first);
    assert_eq!(layer.in_hand(), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn an_error_from_below_passes_and_gives_its_place_back() {
    let service = AdmissionLayer::new(1).layer(failing(ErrorKind::NotFound));
    for _ in 0..3 {
        assert_passes_unchanged(&service, edge("GET", "/a"), ErrorKind::NotFound).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_gives_its_place_back() {
    let held = Held::default();
    let service = AdmissionLayer::new(1).layer(held.service());
    let mut first = Box::pin(call(&service, edge("GET", "/a")));
    assert!(futures::poll!(&mut first).is_pending());
    call(&service, edge("GET", "/b")).await.expect_err("the place is taken");
    drop(first);
    // Each finds the one place free again.
    held.assert_ends_with_its_caller(&service, edge("GET", "/b")).await;
    held.assert_ends_with_its_caller(&service, edge("GET", "/c")).await;
}

#[tokio::test(start_paused = true)]
async fn services_of_one_layer_share_the_limit() {
    let layer = AdmissionLayer::new(1);
    let (one, two) = (layer.layer(leaf(hello)), layer.layer(leaf(hello)));
    let _held = call(&one, edge("GET", "/a")).await.expect("a place is free");
    call(&two, edge("GET", "/b")).await.expect_err("the limit is one for both");
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_zero_still_lets_one_request_in() {
    let service = AdmissionLayer::new(0).layer(leaf(hello));
    call(&service, edge("GET", "/a")).await.expect("never a gateway that serves nobody");
}
