use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Response;
use http::header::CACHE_CONTROL;
use tower::Layer as _;

use super::{AuthLayer, Credentials};
use crate::body::{self, Body};
use crate::error::{Error, ErrorKind};
use crate::render;
use crate::request::EdgeRequest;
use crate::testing::below::{Held, assert_passes_unchanged, failing};
use crate::testing::{call, edge_with, leaf};

fn layer(prefixed: bool) -> AuthLayer {
    AuthLayer::new(Credentials::new("user", "pass:word"), prefixed)
}

fn inside(_: EdgeRequest) -> Result<Response<Body>, Error> {
    let inside = Response::builder().header(CACHE_CONTROL, "public, max-age=9, immutable");
    Ok(inside.body(body::full("inside")).unwrap())
}

/// A request for `whole`, whose path below the prefix is `below`.
fn request((whole, below): (&str, Option<&str>), header: Option<&str>) -> EdgeRequest {
    let headers: Vec<_> = header.map(|value| ("authorization", value)).into_iter().collect();
    let mut request = edge_with("GET", whole, &headers);
    request.path = below.map(str::to_owned);
    request
}

async fn ask(
    prefixed: bool,
    paths: (&str, Option<&str>),
    header: Option<&str>,
) -> Result<Response<Body>, Error> {
    call(&layer(prefixed).layer(leaf(inside)), request(paths, header)).await
}

/// A request that is let in.
fn welcome() -> EdgeRequest {
    request(LIST, Some(&basic("user:pass:word")))
}

fn basic(pair: &str) -> String {
    format!("Basic {}", STANDARD.encode(pair))
}

const LIST: (&str, Option<&str>) = ("/a.b/c/@v/list", Some("/a.b/c/@v/list"));

#[tokio::test(start_paused = true)]
async fn the_right_pair_is_let_in() {
    let pair = basic("user:pass:word");
    for header in [pair.clone(), pair.replace("Basic", "bAsIc"), pair.replace(' ', "  ")] {
        assert!(ask(false, LIST, Some(&header)).await.is_ok(), "{header}");
    }
}

#[tokio::test(start_paused = true)]
async fn everything_else_is_401_with_a_challenge() {
    let almost = [
        None,
        Some(String::new()),
        Some("Basic".to_owned()),
        Some("Basic ***".to_owned()),
        Some(basic("user:pass")),
        Some(basic("user")),
        Some(basic("USER:pass:word")),
        Some(basic("user:pass:word ")),
        Some(basic("")),
        Some(basic("user:pass:word").replace("Basic", "Bearer")),
        Some("Bearer user:pass:word".to_owned()),
    ];
    for header in almost {
        let error = ask(false, LIST, header.as_deref()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized, "{header:?}");
        let response = render::error(&error);
        assert_eq!(response.status(), 401);
        let challenge = response.headers()["www-authenticate"].to_str().unwrap();
        assert!(challenge.starts_with("Basic realm="), "{challenge}");
    }
}

#[tokio::test(start_paused = true)]
async fn health_checks_need_no_credentials_with_or_without_a_prefix() {
    for page in ["/healthz", "/readyz"] {
        assert!(ask(false, (page, Some(page)), None).await.is_ok(), "{page}");
        assert!(ask(true, (&format!("/p{page}"), Some(page)), None).await.is_ok(), "/p{page}");
    }
    assert!(ask(true, ("/", Some("/")), None).await.is_ok(), "the bare / is a health check");
}

#[tokio::test(start_paused = true)]
async fn nothing_else_is_exempt() {
    for (prefixed, whole, below) in [
        (false, "/", Some("/")),
        (true, "/p/", Some("/")),
        (true, "/healthz", None),
        (true, "/metrics", Some("/metrics")),
        (false, "/healthz/", Some("/healthz/")),
        (false, "/healthz/@v/list", Some("/healthz/@v/list")),
        (false, "//healthz", Some("//healthz")),
        (false, "/%68ealthz", Some("/%68ealthz")),
    ] {
        let answer = ask(prefixed, (whole, below), None).await;
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Unauthorized, "{whole}");
    }
}

#[test]
fn secrets_are_never_printed() {
    let layer = AuthLayer::new(Credentials::new("user", "hunter2"), false);
    let service = layer.layer(());
    assert_eq!(format!("{:?}", Credentials::new("user", "hunter2")), "Credentials(***)");
    assert!(!format!("{layer:?}{service:?}").contains("digest"));
}

#[tokio::test(start_paused = true)]
async fn what_needs_credentials_is_not_for_shared_caches() {
    let response = ask(false, LIST, Some(&basic("user:pass:word"))).await.unwrap();
    assert_eq!(response.headers()[CACHE_CONTROL], "private, max-age=9, immutable");
}

#[tokio::test(start_paused = true)]
async fn an_error_from_below_passes_unchanged() {
    let service = layer(false).layer(failing(ErrorKind::NotFound));
    assert_passes_unchanged(&service, welcome(), ErrorKind::NotFound).await;
}

#[tokio::test(start_paused = true)]
async fn services_of_one_layer_take_the_same_credentials() {
    let layer = layer(false);
    for service in [layer.layer(leaf(inside)), layer.layer(leaf(inside))] {
        call(&service, welcome()).await.expect("the right pair");
        let refused = call(&service, request(LIST, Some(&basic("user:wrong")))).await;
        assert_eq!(refused.expect_err("the wrong pair").kind(), ErrorKind::Unauthorized);
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_ends_the_call_below() {
    let held = Held::default();
    held.assert_ends_with_its_caller(&layer(false).layer(held.service()), welcome()).await;
}
