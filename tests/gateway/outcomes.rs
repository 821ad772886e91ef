//! Every outcome says the same in five places: `Cache-Status`, the metric, the log event, its error
//! field and the text of the answer.

use dipylon_testkit::client::Response;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::{Fault, When};
use http::Method;
use serde_json::Value;

use crate::raw_upstream::RawUpstream;
use crate::world::{DATABASE, MODULE, Setup, VERSION, World, file, outcome, path_of, until};

/// One request and what must be said of it.
struct Expected<'a> {
    path: &'a str,
    route: &'a str,
    outcome: &'a str,
    status: u16,
}

/// Makes the request and holds the five places to each other.
async fn agree(world: &World, expected: Expected<'_>) -> Response {
    let Expected { path, route, outcome: want, status } = expected;
    let id = format!("id-of-{}", path.replace(|c: char| !c.is_ascii_alphanumeric(), "-"));
    let count = async || {
        let metrics = world.metrics().await;
        let requests = metrics.metric("dipylon_http_server_requests_total");
        requests.label("route", route).label("outcome", want).sum()
    };
    let before = count().await;
    let answer = world.request(Method::GET, path, &[("x-request-id", &id)]).await;
    assert_eq!(answer.status.as_u16(), status, "{path}: {:?}", answer.body);
    assert_eq!(outcome(&answer), want, "{path}");
    assert_eq!(answer.header("x-request-id"), Some(id.as_str()));
    // The event and the count come when the last byte has gone, so a moment after it came.
    let event = || {
        let of_request =
            |event: &Value| event["msg"] == "request" && event["request-id"] == id.as_str();
        world.events().into_iter().rfind(of_request)
    };
    world.until(&format!("{path} is logged"), || event().is_some()).await;
    let event = event().expect("it is logged");
    assert_eq!(event["outcome"], want, "{event}");
    assert_eq!(event["route"], route, "{event}");
    assert_eq!(event["http-status"], status, "{event}");
    assert_eq!(event["sent-bytes"], answer.body.len(), "{event}");
    if status >= 400 {
        assert_eq!(event["error"], answer.text().trim_end(), "{event}");
    } else {
        assert!(event.get("error").is_none_or(Value::is_null), "{event}");
    }
    until("it is counted", async || count().await >= before + 1.0).await;
    // Asking for the count is itself a request of the route `admin`.
    if route != "admin" {
        assert_eq!(count().await, before + 1.0, "{path}");
    }
    answer
}

fn text(status: u16) -> Fault {
    Fault::Status(status, "text/plain; charset=utf-8", "as upstream says\n".into())
}

#[tokio::test]
async fn hits_and_misses_say_the_same_everywhere() {
    let world = Setup::disk().start().await;
    world.add_module();
    let (info, zip) = (file("info"), file("zip"));
    let list = format!("/{MODULE}/@v/list");
    let zip_of = |outcome| Expected { path: &zip, route: "zip", outcome, status: 200 };
    let info_of = |outcome| Expected { path: &info, route: "info", outcome, status: 200 };
    let list_of = |outcome| Expected { path: &list, route: "list", outcome, status: 200 };
    agree(&world, zip_of("miss_leader")).await;
    world.until_stored(MODULE, VERSION).await;
    world.until_idle().await;
    agree(&world, zip_of("hit_storage")).await;
    agree(&world, info_of("hit_storage")).await;
    agree(&world, list_of("miss_leader")).await;
    agree(&world, list_of("hit_memory")).await;
    let healthz = Expected { path: "/healthz", route: "admin", outcome: "ok", status: 200 };
    agree(&world, healthz).await;
    let supported = format!("/sumdb/{DATABASE}/supported");
    agree(&world, Expected { path: &supported, route: "sumdb", outcome: "ok", status: 200 }).await;
}

#[tokio::test]
async fn a_follower_is_told_apart_from_its_leader() {
    let world = Setup::disk().start().await;
    world.add_module();
    let path = file("mod");
    world.upstream.fault(path.as_str(), Fault::Delay(std::time::Duration::from_millis(500)));
    let client = world.client();
    let (one, two) = tokio::join!(client.get(&path), client.get(&path));
    let mut outcomes = [outcome(&one), outcome(&two)];
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["miss_follower", "miss_leader"]);
    for want in outcomes {
        until("both are counted", async || {
            let metrics = world.metrics().await;
            let requests = metrics.metric("dipylon_http_server_requests_total");
            requests.label("route", "mod").label("outcome", want).sum() == 1.0
        })
        .await;
    }
    let followed = [&one, &two].into_iter().find(|answer| outcome(answer) == "miss_follower");
    let status = followed.and_then(|answer| answer.header("cache-status")).unwrap_or_default();
    assert_eq!(status, "dipylon; fwd=uri-miss; collapsed; detail=miss_follower");
}

#[tokio::test]
async fn what_upstream_fails_with_says_the_same_everywhere() {
    let world = Setup::disk()
        .env("DIPYLON_UPSTREAM_ATTEMPTS", "1")
        .env("DIPYLON_UPSTREAM_HEADER_TIMEOUT", "1")
        .start()
        .await;
    let cases = [
        ("v1.0.0", text(404), "upstream_not_found", 404),
        ("v1.0.1", text(410), "upstream_not_found", 404),
        ("v1.0.2", text(500), "upstream_error", 502),
        ("v1.0.3", Fault::Reset, "upstream_error", 502),
        ("v1.0.4", text(403), "upstream_refused", 403),
        ("v1.0.5", text(401), "upstream_refused", 403),
        ("v1.0.6", text(429), "upstream_throttled", 429),
        ("v1.0.7", Fault::HangBeforeHeaders, "upstream_timeout", 504),
        ("v1.0.8", Fault::HtmlLogin, "upstream_bad_content", 502),
        ("v1.0.9", Fault::WrongVersion, "upstream_bad_content", 502),
    ];
    for (version, fault, outcome, status) in cases {
        world.add(FakeModule::new(MODULE, version));
        let path = path_of(MODULE, version, "info");
        world.upstream.fault(path.as_str(), fault);
        agree(&world, Expected { path: &path, route: "info", outcome, status }).await;
    }
    let path = path_of(MODULE, "v1.0.0", "info");
    agree(&world, Expected { path: &path, route: "info", outcome: "negative", status: 404 }).await;
}

#[tokio::test]
async fn refusals_of_our_own_say_the_same_everywhere() {
    let world = Setup::disk().env("ATHENS_GONOSUM_PATTERNS", "example.com/private").start().await;
    world.add_module();
    world.database.lie(MODULE, VERSION, &FakeModule::new("example.com/x", VERSION).h1());
    let private = format!("/sumdb/{DATABASE}/lookup/example.com/private@v1.0.0");
    let zip = file("zip");
    let cases = [
        (private.as_str(), "sumdb", "deny_private", 403),
        ("/sumdb/other.test/supported", "sumdb", "invalid", 404),
        (&zip, "zip", "checksum_mismatch", 403),
        ("/github.com/x/@v/list", "list", "invalid", 404),
        ("/example.com/Text/@v/list", "unknown", "invalid", 404),
        ("/nothing", "unknown", "invalid", 404),
        ("/index?limit=0", "index", "invalid", 400),
        ("/catalog?pagesize=x", "catalog", "invalid", 400),
    ];
    for (path, route, outcome, status) in cases {
        agree(&world, Expected { path, route, outcome, status }).await;
    }
    world.database.down(true);
    world.add(FakeModule::new(MODULE, "v1.9.0"));
    let path = path_of(MODULE, "v1.9.0", "mod");
    let unavailable =
        Expected { path: &path, route: "mod", outcome: "checksum_unavailable", status: 503 };
    agree(&world, unavailable).await;
}

#[tokio::test]
async fn what_operators_forbid_says_the_same_everywhere() {
    let refusing = |status: &str| {
        format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into_bytes()
    };
    let (info, list) = (file("info"), format!("/{MODULE}/@v/list"));
    for (answer, outcome, status) in [
        ("403 Forbidden", "deny_validator", 403),
        ("500 Internal Server Error", "validator_failed", 503),
    ] {
        let hook = RawUpstream::start(refusing(answer)).await;
        let world = Setup::disk().env("ATHENS_PROXY_VALIDATOR", &hook.url).start().await;
        world.add_module();
        agree(&world, Expected { path: &info, route: "info", outcome, status }).await;
        assert!(hook.connections() >= 1);
        assert_eq!(world.module_requests(), 0);
    }
    let world = Setup::disk()
        .env("ATHENS_FILTER_FILE", "{folder}/filter")
        .with_file("filter", &format!("- {MODULE}\n"))
        .start()
        .await;
    world.add_module();
    for (path, route) in [(&info, "info"), (&list, "list")] {
        agree(&world, Expected { path, route, outcome: "deny_filter", status: 403 }).await;
    }
    assert_eq!(world.upstream.total(), 0);
}

#[tokio::test]
async fn a_request_without_credentials_says_so_in_its_answer_and_in_the_log() {
    let world = Setup::disk()
        .env("BASIC_AUTH_USER", "gopher")
        .env("BASIC_AUTH_PASS", "secret-pass")
        .start()
        .await;
    world.add_module();
    let right = "Basic Z29waGVyOnNlY3JldC1wYXNz";
    for given in [None, Some("Basic Z29waGVyOndyb25n"), Some("Bearer x"), Some("Basic ###")] {
        let headers: Vec<_> = given.map(|value| ("authorization", value)).into_iter().collect();
        let refused = world.request(Method::GET, &file("info"), &headers).await;
        crate::world::assert_refusal(&refused, 401, &[]);
        assert_eq!(outcome(&refused), "deny_auth");
        assert_eq!(refused.header("www-authenticate"), Some("Basic realm=\"basic auth required\""));
    }
    for path in ["/healthz", "/readyz"] {
        world.get_ok(path).await;
    }
    let logged = || {
        let events = world.events();
        events.iter().filter(|event| event["outcome"] == "deny_auth").count()
    };
    world.until("each is logged", || logged() == 4).await;
    assert_eq!(world.upstream.total(), 0);
    let allowed = world.request(Method::GET, &file("info"), &[("authorization", right)]).await;
    assert_eq!(allowed.status, 200);
    let sent = world.upstream.requests();
    assert!(sent.iter().all(|request| !request.headers.contains_key("authorization")));
    assert!(!world.logged("secret-pass") && !world.logged("Z29waGVy"));
    let scrape = world.request(Method::GET, "/metrics", &[("authorization", right)]).await;
    let refused = "dipylon_http_server_requests_total{outcome=\"deny_auth\",route=\"unknown\"} 4";
    assert!(scrape.text().contains(refused), "{}", scrape.text());
}

#[tokio::test]
async fn what_the_modes_decide_says_the_same_everywhere() {
    let path = file("zip");
    for (mode, outcome, status) in [
        ("none", "not_stored", 404),
        ("async", "async_accepted", 404),
        ("redirect", "redirected", 302),
        ("async_redirect", "redirected", 302),
    ] {
        let world = Setup::disk()
            .env("ATHENS_DOWNLOAD_MODE", mode)
            .env("ATHENS_DOWNLOAD_URL", "http://objects.test")
            .start()
            .await;
        world.add_module();
        world.upstream.fault(When::any(), Fault::Delay(std::time::Duration::from_millis(200)));
        agree(&world, Expected { path: &path, route: "zip", outcome, status }).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_early_is_logged_as_dropped_or_cut_short() {
    let world = Setup::disk().start().await;
    world.add_module();
    world.upstream.fault(When::any(), Fault::HangBeforeHeaders);
    let (client, path) = (world.client(), file("info"));
    let asking = tokio::spawn(async move { client.get(&path).await });
    world.until("upstream is asked", || world.asked(&file("info")) == 1).await;
    asking.abort();
    let event = || {
        let events = world.events();
        events.into_iter().find(|event| event["http-path"] == file("info").as_str())
    };
    world.until("it is logged", || event().is_some()).await;
    let event = event().expect("it is logged");
    assert_eq!((&event["outcome"], &event["http-status"]), (&"dropped".into(), &499.into()));
    assert_eq!(event["sent-bytes"], 0);
    let metrics = world.metrics().await;
    let requests = metrics.metric("dipylon_http_server_requests_total");
    assert_eq!(requests.label("outcome", "dropped").sum(), 1.0);
    assert_eq!(
        metrics.metric("dipylon_http_server_active_requests").value(),
        Some(1.0),
        "this one"
    );
}
