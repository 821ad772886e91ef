use std::sync::Arc;
use std::time::Duration;

use http::Response;
use parking_lot::Mutex;
use tokio::time::Instant;
use tower::Layer as _;

use super::{Arrival, Connection, ID_BYTES_MAX, RequestContextLayer};
use crate::body::{self, Body};
use crate::error::{Error, ErrorKind};
use crate::render::Served;
use crate::request::EdgeRequest;
use crate::telemetry::trace::KeepRules;
use crate::telemetry::{Outcome, RouteName};
use crate::testing::below::{Held, error_from_below, hello};
use crate::testing::{SECOND, call, error, header, http_request, leaf, spans, telemetry, text_of};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// What the layer below saw, and what the client gets.
struct Exchange {
    seen: EdgeRequest,
    response: Response<Body>,
}

async fn exchange_with(
    prefix: &str,
    arrival: impl Into<Arrival>,
    answer: impl Fn() -> Result<Response<Body>, Error> + Clone + Send + Sync + 'static,
) -> Exchange {
    let (telemetry, _) = spans::traced(KeepRules::NONE);
    let seen: Arc<Mutex<Option<EdgeRequest>>> = Arc::default();
    let keep = Arc::clone(&seen);
    let inner = leaf(move |request: EdgeRequest| {
        *keep.lock() = Some(request);
        answer()
    });
    let service = RequestContextLayer::new(prefix, 30 * SECOND, &telemetry).layer(inner);
    let response = call(&service, arrival.into()).await.expect("never an error");
    let seen = seen.lock().take().expect("every request goes down");
    Exchange { seen, response }
}

async fn exchange(headers: &[(&str, &str)]) -> Exchange {
    exchange_with("", http_request("GET", "/x", headers), hit).await
}

fn hit() -> Result<Response<Body>, Error> {
    let mut response = Response::new(body::full("hello"));
    let served = Served { route: RouteName::Mod, outcome: Outcome::HitMemory, ..Served::default() };
    response.extensions_mut().insert(served);
    Ok(response)
}

#[tokio::test(start_paused = true)]
async fn the_client_s_request_id_is_taken_and_told_back_under_both_names() {
    for headers in [
        &[("x-request-id", "abc-1")][..],
        &[("athens-request-id", "abc-1")],
        &[("x-request-id", "other"), ("athens-request-id", "abc-1")],
        &[("athens-request-id", "not printable: \u{e4}"), ("x-request-id", "abc-1")],
    ] {
        let Exchange { seen, response } = exchange(headers).await;
        assert_eq!(&*seen.context.id, "abc-1");
        assert_eq!(header(&response, "x-request-id"), Some("abc-1"));
        assert_eq!(header(&response, "athens-request-id"), Some("abc-1"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_id_that_is_no_id_is_replaced() {
    let long = "x".repeat(ID_BYTES_MAX + 1);
    for bad in ["", "a b", long.as_str()] {
        let id = exchange(&[("x-request-id", bad)]).await.seen.context.id.clone();
        assert_eq!(id.len(), 32, "{bad:?}");
        assert!(id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    }
    let longest = "x".repeat(ID_BYTES_MAX);
    assert_eq!(*exchange(&[("x-request-id", &longest)]).await.seen.context.id, longest);
}

#[tokio::test(start_paused = true)]
async fn new_request_ids_differ() {
    let (one, two) = (exchange(&[]).await, exchange(&[]).await);
    assert_ne!(one.seen.context.id, two.seen.context.id);
}

#[tokio::test(start_paused = true)]
async fn the_root_span_continues_the_client_s_trace() {
    let Exchange { seen, response } = exchange(&[("traceparent", PARENT)]).await;
    let span = seen.context.trace.span().expect("a trace");
    assert_eq!(span.trace.to_string(), TRACE);
    assert_ne!(span.span.to_string(), "00f067aa0ba902b7", "a span of its own");
    let told = format!("00-{TRACE}-{}-01", span.span);
    assert_eq!(header(&response, "traceparent"), Some(told.as_str()));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_sample_is_followed() {
    let unsampled = PARENT.replace("-01", "-00");
    let Exchange { seen, response } = exchange(&[("traceparent", &unsampled)]).await;
    assert!(!seen.context.trace.is_kept());
    assert!(header(&response, "traceparent").expect("told").ends_with("-00"));
}

#[tokio::test(start_paused = true)]
async fn a_malformed_traceparent_begins_a_new_trace() {
    for bad in [
        "",
        "00",
        "garbage",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "zz-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902bg-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
    ] {
        let Exchange { seen, response } = exchange(&[("traceparent", bad)]).await;
        let span = seen.context.trace.span().expect("a trace");
        assert_ne!(span.trace.to_string(), TRACE, "{bad:?}");
        assert!(header(&response, "traceparent").is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_later_version_of_traceparent_may_have_more_fields() {
    let later = PARENT.replacen("00", "01", 1) + "-more";
    let seen = exchange(&[("traceparent", &later)]).await.seen;
    assert_eq!(seen.context.trace.span().expect("a trace").trace.to_string(), TRACE);
}

#[tokio::test(start_paused = true)]
async fn the_path_below_the_prefix_is_what_a_route_sees() {
    let table: &[(&str, &str, Option<&str>)] = &[
        ("", "/example.com/m/@v/list", Some("/example.com/m/@v/list")),
        ("/p", "/p/example.com/m/@v/list", Some("/example.com/m/@v/list")),
        ("/p/", "/p/example.com/m/@v/list", Some("/example.com/m/@v/list")),
        ("/p", "/p/", Some("/")),
        ("/p", "/p", None),
        ("/p", "/px/example.com/m/@v/list", None),
        ("/p", "/example.com/m/@v/list", None),
        ("/p", "/healthz", None),
        ("/p", "/p/healthz", Some("/healthz")),
        ("/p", "/metrics", Some("/metrics")),
        ("/p", "/", Some("/")),
        ("/p", "/p/%21x/@v/list", Some("/%21x/@v/list")),
    ];
    for (prefix, path, below) in table {
        let request = http_request("GET", path, &[]);
        let seen = exchange_with(prefix, request, hit).await.seen;
        assert_eq!(seen.path.as_deref(), *below, "{path} below {prefix:?}");
        assert_eq!(seen.head.uri.path(), *path, "the head stays as it came");
    }
}

#[tokio::test(start_paused = true)]
async fn every_answer_carries_the_five_headers_errors_too() {
    type Answering = fn() -> Result<Response<Body>, Error>;
    let answers: [Answering; 3] =
        [hit, || Ok(Response::new(body::empty())), || Err(error(ErrorKind::UpstreamTimeout))];
    for answer in answers {
        let response = exchange_with("", http_request("GET", "/x", &[]), answer).await.response;
        for name in
            ["x-request-id", "athens-request-id", "traceparent", "cache-status", "server-timing"]
        {
            assert!(header(&response, name).is_some(), "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_from_below_is_an_answer_with_its_outcome() {
    let fails = || Err(error_from_below(ErrorKind::UpstreamTimeout));
    let response = exchange_with("", http_request("GET", "/x", &[]), fails).await.response;
    assert_eq!(response.status(), 504);
    assert_eq!(header(&response, "retry-after"), Some("7"));
    let told = header(&response, "cache-status");
    assert_eq!(told, Some("dipylon; fwd=uri-miss; detail=upstream_timeout"));
    assert_eq!(text_of(response).await, "UpstreamTimeout on purpose\n");
}

#[tokio::test(start_paused = true)]
async fn cache_status_and_server_timing_say_how_and_how_long() {
    let response = exchange(&[]).await.response;
    assert_eq!(header(&response, "cache-status"), Some("dipylon; hit; detail=hit_memory"));
    let timing = header(&response, "server-timing").expect("told");
    let parts: Vec<&str> = timing.split(", ").collect();
    let named = |part: &str| part.starts_with("gateway;dur=") || part.starts_with("total;dur=");
    assert!(parts.iter().all(|part| named(part)), "nothing was waited for: {timing}");
}

#[tokio::test(start_paused = true)]
async fn a_client_is_told_of_a_miss_that_its_trace_is_kept_here() {
    let (telemetry, _) = spans::traced(spans::NOTABLE);
    let layer = RequestContextLayer::new("", 30 * SECOND, &telemetry);
    let unsampled = PARENT.replace("-01", "-00");
    for (outcome, flag) in [(Outcome::MissLeader, "-01"), (Outcome::HitMemory, "-00")] {
        let inner = leaf(move |_: EdgeRequest| {
            let mut response = Response::new(body::full("hello"));
            response.extensions_mut().insert(Served { outcome, ..Served::default() });
            Ok(response)
        });
        let request = http_request("GET", "/x", &[("traceparent", &unsampled)]);
        let response = call(&layer.layer(inner), request.into()).await.expect("never an error");
        let told = header(&response, "traceparent").expect("told");
        assert!(told.ends_with(flag), "{outcome}: {told}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_deadline_and_the_connection_travel_with_the_request() {
    let mut arrival = Arrival::from(http_request("GET", "/x", &[]));
    let peer = Some(([192, 0, 2, 7], 4711).into());
    arrival.connection = Connection { peer, secure: true };
    let seen = exchange_with("", arrival, hit).await.seen;
    assert_eq!((seen.peer, seen.secure), (peer, true));
    assert_eq!(seen.context.deadline, Instant::now() + Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn services_of_one_layer_never_give_the_same_id() {
    let layer = RequestContextLayer::new("", 30 * SECOND, &telemetry());
    let services = [layer.layer(hello()), layer.layer(hello())];
    let mut ids = std::collections::HashSet::new();
    for _ in 0..100 {
        for service in &services {
            let response =
                call(service, http_request("GET", "/x", &[]).into()).await.expect("an answer");
            ids.insert(header(&response, "x-request-id").expect("told").to_owned());
        }
    }
    assert_eq!(ids.len(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_ends_the_call_below() {
    let held = Held::default();
    let service = RequestContextLayer::new("", 30 * SECOND, &telemetry()).layer(held.service());
    held.assert_ends_with_its_caller(&service, http_request("GET", "/x", &[]).into()).await;
}
