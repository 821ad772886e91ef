use http::Response;
use tower::Layer as _;

use super::CatchPanicLayer;
use crate::body::{self, Body};
use crate::error::{Error, ErrorKind};
use crate::request::EdgeRequest;
use crate::testing::events::Events;
use crate::testing::{call, edge, error, leaf, text_of};

#[tokio::test]
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

#[tokio::test]
async fn a_panic_before_the_first_await_is_caught_too() {
    let (events, _guard) = Events::capture();
    let panicking = leaf(|_: EdgeRequest| -> Result<Response<Body>, Error> { panic!("at once") });
    let failed =
        call(&CatchPanicLayer.layer(panicking), edge("GET", "/x")).await.expect_err("caught");
    assert_eq!(failed.kind(), ErrorKind::Internal);
    assert_eq!(events.named("a request panicked")[0].field("panic"), "at once");
}

#[tokio::test]
async fn the_next_request_is_served_as_if_nothing_had_happened() {
    let moody = leaf(|request: EdgeRequest| {
        assert!(request.head.uri.path() != "/panic", "on purpose");
        Ok(Response::new(body::full("hello")))
    });
    let service = CatchPanicLayer.layer(moody);
    call(&service, edge("GET", "/panic")).await.expect_err("caught");
    assert_eq!(text_of(call(&service, edge("GET", "/x")).await.expect("served")).await, "hello");
}

#[tokio::test]
async fn an_error_stays_as_it_is() {
    let failing = leaf(|_: EdgeRequest| Err::<Response<Body>, _>(error(ErrorKind::NotFound)));
    let failed = call(&CatchPanicLayer.layer(failing), edge("GET", "/x")).await.expect_err("fails");
    assert_eq!((failed.kind(), failed.message()), (ErrorKind::NotFound, "NotFound on purpose"));
}
