use http::Response;
use tower::Layer as _;

use super::CatchPanicLayer;
use crate::body::{self, Body};
use crate::error::{Error, ErrorKind};
use crate::request::EdgeRequest;
use crate::testing::below::{Held, assert_passes_unchanged, failing, hello, late};
use crate::testing::events::Events;
use crate::testing::{SECOND, call, edge, leaf, text_of};

#[tokio::test(start_paused = true)]
async fn a_panic_is_an_internal_error_that_tells_the_client_nothing() {
    let (events, _guard) = Events::capture();
    let panicking =
        tower::service_fn(async |request: EdgeRequest| -> Result<Response<Body>, Error> {
            tokio::task::yield_now().await;
            panic!("secret of {}", request.head.uri.path())
        });
    let service = CatchPanicLayer.layer(panicking);
    let failed = call(&service, edge("GET", "/x")).await.expect_err("the panic is an error");
    assert_eq!(failed.kind(), ErrorKind::Internal);
    assert!(!failed.message().contains("secret"), "{failed}");
    let logged = events.named("a request panicked");
    assert_eq!(logged.len(), 1);
    assert_eq!(logged[0].field("panic"), "secret of /x");
    assert_eq!(logged[0].field("request_id"), "edge-1");
}

#[tokio::test(start_paused = true)]
async fn a_panic_before_the_first_await_is_caught_too() {
    let (events, _guard) = Events::capture();
    let panicking = leaf(|_: EdgeRequest| -> Result<Response<Body>, Error> { panic!("at once") });
    let failed =
        call(&CatchPanicLayer.layer(panicking), edge("GET", "/x")).await.expect_err("caught");
    assert_eq!(failed.kind(), ErrorKind::Internal);
    assert_eq!(events.named("a request panicked")[0].field("panic"), "at once");
}

#[tokio::test(start_paused = true)]
async fn the_next_request_is_served_as_if_nothing_had_happened() {
    let moody = leaf(|request: EdgeRequest| {
        assert!(request.head.uri.path() != "/panic", "on purpose");
        Ok(Response::new(body::full("hello")))
    });
    let service = CatchPanicLayer.layer(moody);
    call(&service, edge("GET", "/panic")).await.expect_err("caught");
    assert_eq!(text_of(call(&service, edge("GET", "/x")).await.expect("served")).await, "hello");
}

#[tokio::test(start_paused = true)]
async fn an_error_from_below_passes_unchanged() {
    let service = CatchPanicLayer.layer(failing(ErrorKind::NotFound));
    assert_passes_unchanged(&service, edge("GET", "/x"), ErrorKind::NotFound).await;
}

#[tokio::test(start_paused = true)]
async fn services_of_one_layer_share_no_panic() {
    let (hello, begun) = (hello(), CatchPanicLayer.layer(late(SECOND, answer)));
    let hello = CatchPanicLayer.layer(hello);
    let panicking = CatchPanicLayer
        .layer(leaf(|_: EdgeRequest| -> Result<Response<Body>, Error> { panic!("on purpose") }));
    // One call is under way while another service's panics.
    let (under_way, panicked) =
        tokio::join!(call(&begun, edge("GET", "/x")), call(&panicking, edge("GET", "/x")));
    panicked.expect_err("caught");
    assert_eq!(text_of(under_way.expect("it goes on")).await, "late");
    assert_eq!(text_of(call(&hello, edge("GET", "/x")).await.expect("served")).await, "hello");
}

fn answer(_: EdgeRequest) -> Result<Response<Body>, Error> {
    Ok(Response::new(body::full("late")))
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_ends_the_call_below() {
    let held = Held::default();
    let service = CatchPanicLayer.layer(held.service());
    held.assert_ends_with_its_caller(&service, edge("GET", "/x")).await;
}
