//! Who has no credentials, or wrong ones, gets nothing, and what was sent is written nowhere.

use http::Method;

use crate::world::{Setup, assert_refusal, file, outcome};

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
        assert_refusal(&refused, 401, &[]);
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
