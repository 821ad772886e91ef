use http::Response;
use tower::Layer as _;

use super::ForceSslLayer;
use crate::body::Body;
use crate::error::{Error, ErrorKind};
use crate::request::EdgeRequest;
use crate::testing::below::{Held, assert_passes_unchanged, failing, hello};
use crate::testing::{call, edge_with};

fn request(uri: &str, headers: &[(&str, &str)]) -> EdgeRequest {
    let mut request = edge_with("GET", uri, headers);
    let path = request.head.uri.path();
    request.path = Some(path.strip_prefix("/p").unwrap_or(path).to_owned());
    request
}

/// As it comes over TLS.
fn secure() -> EdgeRequest {
    let mut request = request("/p/x", &[]);
    request.secure = true;
    request
}

async fn send(request: EdgeRequest) -> Result<Response<Body>, Error> {
    call(&ForceSslLayer::new(true).layer(hello()), request).await
}

async fn location(uri: &str, headers: &[(&str, &str)]) -> String {
    let response = send(request(uri, headers)).await.unwrap();
    assert_eq!(response.status(), 301, "{uri}");
    assert_eq!(response.headers()["cache-control"], "no-store");
    response.headers()["location"].to_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_plain_request_is_sent_to_https_with_host_path_and_query() {
    let host = [("host", "proxy.example")];
    assert_eq!(
        location("/p/a.b/!c/@v/list?x=1&y=%20", &host).await,
        "https://proxy.example/p/a.b/!c/@v/list?x=1&y=%20"
    );
    assert_eq!(location("/p/x", &[("host", "[::1]:8080")]).await, "https://[::1]:8080/p/x");
    assert_eq!(location("http://h2.example/p/x", &[]).await, "https://h2.example/p/x");
}

#[tokio::test(start_paused = true)]
async fn tls_here_or_at_a_proxy_passes() {
    assert_eq!(send(secure()).await.unwrap().status(), 200);
    let forwarded = request("/p/x", &[("x-forwarded-proto", "HTTPS")]);
    assert_eq!(send(forwarded).await.unwrap().status(), 200);
    let headers = [("x-forwarded-proto", "http"), ("host", "h")];
    assert_eq!(location("/p/x", &headers).await, "https://h/p/x");
}

#[tokio::test(start_paused = true)]
async fn health_checks_pass_as_they_are() {
    for uri in ["/p/healthz", "/p/readyz", "/"] {
        assert_eq!(send(request(uri, &[])).await.unwrap().status(), 200, "{uri}");
    }
    assert_eq!(location("/metrics", &[("host", "h")]).await, "https://h/metrics");
}

#[tokio::test(start_paused = true)]
async fn only_a_host_that_can_stand_in_a_url_is_repeated() {
    let long = "a".repeat(300);
    for host in ["", "user@h", "h/evil", "h?x", "h#x", "a b", "[::1", ":80", "\"h\"", &long] {
        let error = send(request("/p/x", &[("host", host)])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadRequest, "{host:?}");
    }
    for headers in [&[][..], &[("host", "a"), ("host", "b")]] {
        let error = send(request("/p/x", headers)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadRequest, "{headers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_from_below_passes_unchanged() {
    let service = ForceSslLayer::new(true).layer(failing(ErrorKind::NotFound));
    assert_passes_unchanged(&service, secure(), ErrorKind::NotFound).await;
}

#[tokio::test(start_paused = true)]
async fn services_of_one_layer_have_the_same_health_checks() {
    for (prefixed, status) in [(true, 200), (false, 301)] {
        let layer = ForceSslLayer::new(prefixed);
        for service in [layer.layer(hello()), layer.layer(hello())] {
            let response = call(&service, request("/", &[("host", "h")])).await.unwrap();
            assert_eq!(response.status(), status, "the bare / where prefixed is {prefixed}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_ends_the_call_below() {
    let held = Held::default();
    let service = ForceSslLayer::new(true).layer(held.service());
    held.assert_ends_with_its_caller(&service, secure()).await;
}
