use std::io::Read as _;

use flate2::read::GzDecoder;
use http::Response;
use http_body_util::BodyExt as _;
use tower::Layer as _;

use super::CompressionLayer;
use crate::body::Body;
use crate::error::{Error, ErrorKind};
use crate::render::{Served, whole};
use crate::request::EdgeRequest;
use crate::telemetry::RouteName;
use crate::testing::below::{Held, assert_passes_unchanged, failing};
use crate::testing::{call, edge_with, leaf};

const PAGE: &str = "dipylon_requests_total{outcome=\"hit\"} 1\n";

fn request(method: &str, accepted: Option<&str>) -> EdgeRequest {
    let headers: Vec<_> = accepted.map(|value| ("accept-encoding", value)).into_iter().collect();
    edge_with(method, "/metrics", &headers)
}

/// Answers with `PAGE`, so many times.
fn page(
    route: RouteName,
    times: usize,
) -> impl Fn(EdgeRequest) -> Result<Response<Body>, Error> + Clone {
    move |_| {
        let mut response = whole("text/plain", PAGE.repeat(times));
        response.extensions_mut().insert(Served { route, ..Served::default() });
        Ok(response)
    }
}

async fn send(request: EdgeRequest, route: RouteName, times: usize) -> Response<Body> {
    call(&CompressionLayer.layer(leaf(page(route, times))), request).await.unwrap()
}

/// The text of a compressed answer.
async fn unpacked(response: Response<Body>) -> String {
    let mut text = String::new();
    GzDecoder::new(&bytes(response).await[..]).read_to_string(&mut text).unwrap();
    text
}

async fn bytes(response: Response<Body>) -> Vec<u8> {
    response.into_body().collect().await.unwrap().to_bytes().to_vec()
}

#[tokio::test(start_paused = true)]
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

#[tokio::test(start_paused = true)]
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

#[tokio::test(start_paused = true)]
async fn an_error_from_below_passes_unchanged() {
    let service = CompressionLayer.layer(failing(ErrorKind::Storage));
    let request = request("GET", Some("gzip"));
    assert_passes_unchanged(&service, request, ErrorKind::Storage).await;
}

#[tokio::test(start_paused = true)]
async fn services_of_one_layer_share_no_stream() {
    let service = |times| CompressionLayer.layer(leaf(page(RouteName::Admin, times)));
    let (one, two) = (service(500), service(900));
    let first = call(&one, request("GET", Some("gzip"))).await.unwrap();
    let second = call(&two, request("GET", Some("gzip"))).await.unwrap();
    assert!(unpacked(second).await == PAGE.repeat(900), "begun last, read first");
    assert!(unpacked(first).await == PAGE.repeat(500));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_ends_the_call_below() {
    let held = Held::default();
    let service = CompressionLayer.layer(held.service());
    held.assert_ends_with_its_caller(&service, request("GET", Some("gzip"))).await;
}
