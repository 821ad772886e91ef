use http::{Request, Response};
use tokio::time::Instant;
use tower::util::ServiceExt as _;
use tower::{Layer as _, service_fn};

use super::ForceSslLayer;
use crate::body::{self, Body};
use crate::error::{Error, ErrorKind};
use crate::request::{EdgeRequest, RequestContext};

fn request(uri: &str, headers: &[(&str, &str)]) -> EdgeRequest {
    let mut builder = Request::get(uri);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    let (head, ()) = builder.body(()).unwrap().into_parts();
    let path = head.uri.path();
    let path = Some(path.strip_prefix("/p").unwrap_or(path).to_owned());
    let context = RequestContext::detached(Instant::now());
    EdgeRequest { context, head, path, peer: None, secure: false }
}

async fn send(request: EdgeRequest) -> Result<Response<Body>, Error> {
    let inner =
        service_fn(|_: EdgeRequest| async { Ok::<_, Error>(Response::new(body::full("inside"))) });
    ForceSslLayer::new(true).layer(inner).oneshot(request).await
}

async fn location(uri: &str, headers: &[(&str, &str)]) -> String {
    let response = send(request(uri, headers)).await.unwrap();
    assert_eq!(response.status(), 301, "{uri}");
    assert_eq!(response.headers()["cache-control"], "no-store");
    response.headers()["location"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_plain_request_is_sent_to_https_with_host_path_and_query() {
    let host = [("host", "proxy.example")];
    assert_eq!(
        location("/p/a.b/!c/@v/list?x=1&y=%20", &host).await,
        "https://proxy.example/p/a.b/!c/@v/list?x=1&y=%20"
    );
    assert_eq!(location("/p/x", &[("host", "[::1]:8080")]).await, "https://[::1]:8080/p/x");
    assert_eq!(location("http://h2.example/p/x", &[]).await, "https://h2.example/p/x");
}

#[tokio::test]
async fn tls_here_or_at_a_proxy_passes() {
    let mut secure = request("/p/x", &[]);
    secure.secure = true;
    assert_eq!(send(secure).await.unwrap().status(), 200);
    let forwarded = request("/p/x", &[("x-forwarded-proto", "HTTPS")]);
    assert_eq!(send(forwarded).await.unwrap().status(), 200);
    let headers = [("x-forwarded-proto", "http"), ("host", "h")];
    assert_eq!(location("/p/x", &headers).await, "https://h/p/x");
}

#[tokio::test]
async fn health_checks_pass_as_they_are() {
    for uri in ["/p/healthz", "/p/readyz", "/"] {
        assert_eq!(send(request(uri, &[])).await.unwrap().status(), 200, "{uri}");
    }
    assert_eq!(location("/metrics", &[("host", "h")]).await, "https://h/metrics");
}

#[tokio::test]
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
