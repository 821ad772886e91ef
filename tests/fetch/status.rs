//! What each status of an upstream becomes.

use std::time::Duration;

use dipylon_middleware::ErrorKind;
use dipylon_middleware::request::FetchAsk;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::{Fault, Upstream, When};

use crate::support::{ESCAPED, MODULE, VERSION, every_ask, fetch, proxy, refused, zip};

async fn upstream() -> (Upstream, FakeModule) {
    let upstream = Upstream::start().await;
    let module = FakeModule::new(MODULE, VERSION).filler(100_000);
    upstream.add(module.clone());
    (upstream, module)
}

#[tokio::test]
async fn every_file_comes_as_upstream_has_it() {
    let (upstream, module) = upstream().await;
    let client = proxy(&upstream);
    let [list, latest, info, go_mod, zip] = every_ask();
    assert_eq!(fetch(&client, list).await.unwrap(), format!("{VERSION}\n"));
    assert_eq!(fetch(&client, latest).await.unwrap(), module.info());
    assert_eq!(fetch(&client, info).await.unwrap(), module.info());
    assert_eq!(fetch(&client, go_mod).await.unwrap(), module.go_mod_bytes());
    assert_eq!(fetch(&client, zip).await.unwrap(), module.zip());
    let path = format!("{ESCAPED}/@v/{VERSION}.zip");
    assert_eq!(upstream.count(&path), 1, "nothing is asked twice here");
}

#[tokio::test]
async fn each_status_has_its_kind_for_every_file() {
    use ErrorKind::{
        BadContent, NotFound, UpstreamFailed, UpstreamRefused, UpstreamRejected, UpstreamThrottled,
    };
    let table = [
        (404, NotFound),
        (410, NotFound),
        (401, UpstreamRefused),
        (403, UpstreamRefused),
        (451, UpstreamRefused),
        (429, UpstreamThrottled),
        (400, UpstreamRejected),
        (408, UpstreamFailed),
        (422, UpstreamRejected),
        (500, UpstreamFailed),
        (502, UpstreamFailed),
        (503, UpstreamFailed),
        (204, BadContent),
        (206, BadContent),
    ];
    let (upstream, _) = upstream().await;
    let client = proxy(&upstream);
    for (status, want) in table {
        for ask in every_ask() {
            upstream.fault(When::any().times(1), Fault::Status(status, "text/plain", "".into()));
            let error = refused(&client, ask.clone()).await;
            assert_eq!(error.kind(), want, "{status} for {ask:?}: {error}");
        }
    }
}

#[tokio::test]
async fn a_404_repeats_what_upstream_says_in_one_clean_line() {
    let (upstream, _) = upstream().await;
    let text = "not found: unknown revision\u{7} v1\nsecond line\n";
    upstream.fault(When::any(), Fault::Status(404, "text/plain; charset=utf-8", text.into()));
    let error = refused(&proxy(&upstream), zip()).await;
    let want = format!(
        "{}{ESCAPED}/@v/{VERSION}.zip: upstream answered 404 Not Found: not found: unknown revision  v1",
        upstream.url()
    );
    assert_eq!(error.message(), want);
}

#[tokio::test]
async fn an_html_error_page_is_not_repeated() {
    let (upstream, _) = upstream().await;
    upstream.fault(When::any(), Fault::Status(404, "text/html", "<h1>gone</h1>".into()));
    let error = refused(&proxy(&upstream), FetchAsk::List).await;
    assert!(error.message().ends_with("404 Not Found"), "{error}");
}

#[tokio::test]
async fn an_endless_error_body_is_given_up_and_the_status_stays() {
    let (upstream, _) = upstream().await;
    let body = "x".repeat(1 << 20);
    upstream.fault(When::any(), Fault::Status(404, "text/plain", body.into()));
    let error = refused(&proxy(&upstream), FetchAsk::List).await;
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().len() < 600, "{error}");
}

#[tokio::test]
async fn retry_after_is_handed_on() {
    let (upstream, _) = upstream().await;
    for (status, want) in [(429, ErrorKind::UpstreamThrottled), (503, ErrorKind::UpstreamFailed)] {
        upstream.fault(When::any().times(1), Fault::RetryAfter(status, 7));
        let error = refused(&proxy(&upstream), zip()).await;
        assert_eq!((error.kind(), error.retry_after()), (want, Some(Duration::from_secs(7))));
    }
    // It means nothing beside another status.
    for status in [403, 404, 500, 502] {
        upstream.fault(When::any().times(1), Fault::RetryAfter(status, 7));
        assert_eq!(refused(&proxy(&upstream), zip()).await.retry_after(), None, "{status}");
    }
}

#[tokio::test]
async fn credentials_of_the_url_are_sent_and_never_named() {
    let (upstream, module) = upstream().await;
    // user:p@ss
    upstream.require_authorization(Some("Basic dXNlcjpwQHNz"));
    let url = upstream.url().replace("http://", "http://user:p%40ss@");
    let client = crate::support::proxy_with(crate::support::http(), &url);
    assert_eq!(fetch(&client, zip()).await.unwrap(), module.zip());
    upstream.require_authorization(Some("Basic other"));
    let error = refused(&client, zip()).await;
    assert_eq!(error.kind(), ErrorKind::UpstreamRefused);
    assert!(error.message().contains("check the gateway's credentials"), "{error}");
    for text in [error.message(), &*dipylon_middleware::ports::Fetcher::name(&client)] {
        assert!(!text.contains("p@ss") && !text.contains("user"), "{text}");
    }
}
