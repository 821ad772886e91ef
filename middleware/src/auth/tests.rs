use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CACHE_CONTROL};
use http::{Request, Response};
use tokio::time::Instant;
use tower::util::ServiceExt as _;
use tower::{Layer as _, service_fn};

use super::{AuthLayer, Credentials};
use crate::body::{self, Body};
use crate::error::{Error, ErrorKind};
use crate::render;
use crate::request::{EdgeRequest, RequestContext};

/// Asks for `whole`, whose path below the prefix is `below`.
async fn ask(
    prefixed: bool,
    (whole, below): (&str, Option<&str>),
    header: Option<&str>,
) -> Result<Response<Body>, Error> {
    let mut request = Request::get(whole);
    if let Some(value) = header {
        request = request.header(AUTHORIZATION, value);
    }
    let (head, ()) = request.body(()).unwrap().into_parts();
    let context = RequestContext::detached(Instant::now());
    let path = below.map(str::to_owned);
    let request = EdgeRequest { context, head, path, peer: None, secure: false };
    let inner = service_fn(|_: EdgeRequest| async {
        let inside = Response::builder().header(CACHE_CONTROL, "public, max-age=9, immutable");
        Ok::<_, Error>(inside.body(body::full("inside")).unwrap())
    });
    let layer = AuthLayer::new(Credentials::new("user", "pass:word"), prefixed);
    layer.layer(inner).oneshot(request).await
}

fn basic(pair: &str) -> String {
    format!("Basic {}", STANDARD.encode(pair))
}

const LIST: (&str, Option<&str>) = ("/a.b/c/@v/list", Some("/a.b/c/@v/list"));

#[tokio::test]
async fn the_right_pair_is_let_in() {
    let pair = basic("user:pass:word");
    for header in [pair.clone(), pair.replace("Basic", "bAsIc"), pair.replace(' ', "  ")] {
        assert!(ask(false, LIST, Some(&header)).await.is_ok(), "{header}");
    }
}

#[tokio::test]
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

#[tokio::test]
async fn health_checks_need_no_credentials_with_or_without_a_prefix() {
    for page in ["/healthz", "/readyz"] {
        assert!(ask(false, (page, Some(page)), None).await.is_ok(), "{page}");
        assert!(ask(true, (&format!("/p{page}"), Some(page)), None).await.is_ok(), "/p{page}");
    }
    assert!(ask(true, ("/", Some("/")), None).await.is_ok(), "the bare / is a health check");
}

#[tokio::test]
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

#[tokio::test]
async fn what_needs_credentials_is_not_for_shared_caches() {
    let response = ask(false, LIST, Some(&basic("user:pass:word"))).await.unwrap();
    assert_eq!(response.headers()[CACHE_CONTROL], "private, max-age=9, immutable");
}
