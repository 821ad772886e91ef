use std::io::Read as _;

use flate2::read::GzDecoder;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use tokio::time::Instant;
use tower::util::ServiceExt as _;
use tower::{Layer as _, service_fn};

use super::CompressionLayer;
use crate::body::Body;
use crate::error::Error;
use crate::render::{Served, whole};
use crate::request::{EdgeRequest, RequestContext};
use crate::telemetry::RouteName;

const PAGE: &str = "dipylon_requests_total{outcome=\"hit\"} 1\n";

fn request(method: &str, accepted: Option<&str>) -> EdgeRequest {
    let mut builder = Request::builder().method(method).uri("/metrics");
    if let Some(accepted) = accepted {
        builder = builder.header("accept-encoding", accepted);
    }
    let (head, ()) = builder.body(()).unwrap().into_parts();
    let context = RequestContext::detached(Instant::now());
    EdgeRequest { context, head, path: Some("/metrics".to_owned()), peer: None, secure: false }
}

/// The answer to `request` where the page is `PAGE`, so many times.
async fn send(request: EdgeRequest, route: RouteName, times: usize) -> Response<Body> {
    let inner = service_fn(move |_: EdgeRequest| async move {
        let mut response = whole("text/plain", PAGE.repeat(times));
        response.extensions_mut().insert(Served { route, ..Served::default() });
        Ok::<_, Error>(response)
    });
    CompressionLayer.layer(inner).oneshot(request).await.unwrap()
}

async fn bytes(response: Response<Body>) -> Vec<u8> {
    response.into_body().collect().await.unwrap().to_bytes().to_vec()
}

#[tokio::test]
async fn a_page_is_gzip_for_who_takes_it() {
    let response = send(request("GET", Some("gzip")), RouteName::Admin, 1000).await;
    assert_eq!(response.headers()["content-encoding"], "gzip");
    assert_eq!(response.headers()["vary"], "accept-encoding");
    assert!(!response.headers().contains_key("content-length"), "that of the plain text is wrong");
    assert!(response.extensions().get::<Served>().is_some(), "the log still knows what it was");
    let sent = bytes(response).await;
    assert!(sent.len() < PAGE.len() * 1000 / 10, "{} bytes", sent.len());
    let mut text = String::new();
    GzDecoder::new(&sent[..]).read_to_string(&mut text).unwrap();
    assert!(text == PAGE.repeat(1000));
}

#[tokio::test]
async fn everything_else_passes_as_it_is() {
    for (request, route, times) in [
        (request("GET", None), RouteName::Admin, 1000),
        (request("GET", Some("br;q=1, gzip;q=0")), RouteName::Admin, 1000),
        (request("HEAD", Some("gzip")), RouteName::Admin, 1000),
        (request("GET", Some("gzip")), RouteName::Admin, 10),
        (request("GET", Some("gzip")), RouteName::List, 1000),
        (request("GET", Some("gzip")), RouteName::Zip, 1000),
    ] {
        let response = send(request, route, times).await;
        assert!(!response.headers().contains_key("content-encoding"), "{route} {times}");
        assert_eq!(response.headers()["content-length"], (PAGE.len() * times).to_string());
        assert!(bytes(response).await == PAGE.repeat(times).into_bytes());
    }
}
