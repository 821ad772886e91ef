//! Answers that are not what was asked for.

use dipylon_middleware::ErrorKind;
use dipylon_middleware::request::FetchAsk;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::{Fault, Upstream, When};

use crate::support::{
    MODULE, VERSION, every_ask, fetch, go_mod, info, proxy, refused, request, zip,
};

async fn upstream() -> (Upstream, FakeModule) {
    let upstream = Upstream::start().await;
    let module = FakeModule::new(MODULE, VERSION).filler(50_000);
    upstream.add(module.clone());
    (upstream, module)
}

// Case 9.
#[tokio::test]
async fn a_login_page_is_bad_content_for_every_file() {
    let (upstream, _) = upstream().await;
    upstream.fault(When::any(), Fault::HtmlLogin);
    let client = proxy(&upstream);
    for ask in every_ask() {
        let error = refused(&client, ask.clone()).await;
        assert_eq!(error.kind(), ErrorKind::BadContent, "{ask:?}: {error}");
        assert!(error.message().contains(&upstream.url()), "the place is named: {error}");
    }
}

// Case 8.
#[tokio::test]
async fn an_info_of_another_version_is_bad_content() {
    let (upstream, _) = upstream().await;
    upstream.fault(When::suffix(".info"), Fault::WrongVersion);
    let error = refused(&proxy(&upstream), info(VERSION)).await;
    assert_eq!(error.kind(), ErrorKind::BadContent);
    assert!(error.message().contains("v9.9.9 instead of the requested v1.2.3"), "{error}");
}

// Case 16, as far as fetching goes.
#[tokio::test]
async fn an_info_of_a_query_may_name_any_fitting_version() {
    let (upstream, module) = upstream().await;
    upstream.query(MODULE, "master", VERSION);
    assert_eq!(fetch(&proxy(&upstream), info("master")).await.unwrap(), module.info());
    let foreign = r#"{"Version":"v2.0.0","Time":"2024-01-01T00:00:00Z"}"#;
    upstream.fault(When::suffix(".info"), Fault::Body(foreign.into()));
    let error = refused(&proxy(&upstream), info("master")).await;
    assert_eq!(error.kind(), ErrorKind::BadContent, "{error}");
}

#[tokio::test]
async fn broken_small_files_are_bad_content() {
    let table = [
        (info(VERSION), ""),
        (info(VERSION), "{\"Version\":\"v1.2"),
        (info(VERSION), "[]"),
        (FetchAsk::Latest, "{}"),
        (FetchAsk::Latest, "{\"Version\":\"v2.0.0\"}"),
        (go_mod(), ""),
        (go_mod(), "\0\0\0"),
        (go_mod(), "{\"error\":\"not a go.mod\"}"),
    ];
    let (upstream, _) = upstream().await;
    let client = proxy(&upstream);
    for (ask, body) in table {
        upstream.fault(When::any().times(1), Fault::Body(body.into()));
        let error = refused(&client, ask.clone()).await;
        assert_eq!(error.kind(), ErrorKind::BadContent, "{ask:?} {body:?}: {error}");
    }
}

// Case 14: the list's meaning is the list filter's affair, so it comes raw.
#[tokio::test]
async fn a_wild_list_comes_raw() {
    let (upstream, _) = upstream().await;
    let list = "v1.0.0\r\nv1.9\ngarbage\nv2.0.0\nv1.0.1-0.20240101000000-abcdefabcdef 2024-01-01\n\nv1.1.0";
    upstream.fault(When::any(), Fault::Body(list.into()));
    assert_eq!(fetch(&proxy(&upstream), FetchAsk::List).await.unwrap(), list);
}

// Case 15.
#[tokio::test]
async fn an_empty_list_is_a_list() {
    let upstream = Upstream::start().await;
    upstream.add_path(MODULE);
    let client = proxy(&upstream);
    assert_eq!(fetch(&client, FetchAsk::List).await.unwrap(), "");
    assert_eq!(refused(&client, FetchAsk::Latest).await.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn small_files_over_their_limit_are_bad_content_with_and_without_a_length() {
    let (upstream, _) = upstream().await;
    let client = proxy(&upstream);
    let huge = vec![b' '; (1 << 20) + 1];
    upstream.fault(When::any().times(1), Fault::Body(huge.into()));
    let error = refused(&client, info(VERSION)).await;
    assert_eq!(error.kind(), ErrorKind::BadContent);
    assert!(error.message().contains("over the limit of 1048576 bytes"), "{error}");
    // Without a length the limit strikes while reading.
    let huge = format!("{{\"Version\":\"{VERSION}\",\"Name\":\"{}\"}}", "x".repeat(2 << 20));
    upstream.add(FakeModule::new(MODULE, VERSION).info_json(&huge));
    for fault in [Fault::NoContentLength, Fault::Gzip] {
        upstream.fault(When::any().times(1), fault.clone());
        let error = refused(&client, info(VERSION)).await;
        assert_eq!(error.kind(), ErrorKind::BadContent, "{fault:?}: {error}");
    }
}

#[tokio::test]
async fn a_zip_that_does_not_begin_as_one_is_refused_before_anything_is_shown() {
    let (upstream, _) = upstream().await;
    let client = proxy(&upstream);
    for body in ["", "PK", "not a zip at all", "PK\u{5}\u{6}0000000000000000000"] {
        upstream.fault(When::any().times(1), Fault::Body(body.into()));
        let error = refused(&client, zip()).await;
        assert_eq!(error.kind(), ErrorKind::BadContent, "{body:?}: {error}");
    }
}

#[tokio::test]
async fn a_zip_that_trickles_in_single_bytes_arrives_whole() {
    let upstream = Upstream::start().await;
    let module = FakeModule::new(MODULE, VERSION);
    upstream.add(module.clone());
    let tick = std::time::Duration::from_millis(1);
    upstream.fault(When::any(), Fault::Trickle { bytes_per_tick: 3, tick });
    assert_eq!(fetch(&proxy(&upstream), zip()).await.unwrap(), module.zip());
}

// Case 1: one spelling of a path goes upstream, whatever the client wrote.
#[tokio::test]
async fn capitals_go_upstream_as_raw_exclamation_marks() {
    let (upstream, _) = upstream().await;
    let client = proxy(&upstream);
    let ask = request(MODULE, zip());
    dipylon_middleware::ports::Fetcher::fetch(&client, ask).await.unwrap();
    assert_eq!(upstream.requests()[0].raw_path, "/example.com/a/!b/@v/v1.2.3.zip");
}
