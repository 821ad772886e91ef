//! Connections that fail, stall and lie, and the headers that are sent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dipylon::fetch::http_client::{HttpClient, HttpClientConfig};
use dipylon_middleware::ErrorKind;
use dipylon_middleware::ports::{Fetcher, Payload};
use dipylon_middleware::request::FetchAsk;
use dipylon_middleware::telemetry::trace::{
    FinishedTrace, KeepRules, Parent, SpanRef, SpanSink, Tracer,
};
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::{End, Fault, Upstream, When};
use futures::StreamExt as _;

use crate::support::{
    MODULE, SHORT, VERSION, config, every_ask, fetch, go_mod, info, proxy, proxy_with, refused,
    request, zip,
};

async fn upstream() -> (Upstream, FakeModule) {
    let upstream = Upstream::start().await;
    let module = FakeModule::new(MODULE, VERSION).filler(200_000);
    upstream.add(module.clone());
    (upstream, module)
}

fn impatient() -> HttpClient {
    HttpClient::new(&HttpClientConfig { header_timeout: SHORT, idle_timeout: SHORT, ..config() })
        .unwrap()
}

#[tokio::test]
async fn an_upstream_that_never_answers_times_out() {
    let (upstream, _) = upstream().await;
    upstream.fault(When::any(), Fault::HangBeforeHeaders);
    let started = Instant::now();
    let error = refused(&proxy_with(impatient(), &upstream.url()), zip()).await;
    assert_eq!(error.kind(), ErrorKind::UpstreamTimeout, "{error}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

// Case 10, at this level: the stall is seen, and the bytes before it were shown.
#[tokio::test]
async fn a_zip_that_stalls_fails_after_the_idle_timeout() {
    let (upstream, module) = upstream().await;
    let sent = module.zip().len() * 99 / 100;
    upstream.fault(When::suffix(".zip"), Fault::StallAfter(sent));
    let client = proxy_with(impatient(), &upstream.url());
    let fetched = client.fetch(request(MODULE, zip())).await.unwrap();
    let Payload::Zip(mut body) = fetched.payload else { panic!("a zip") };
    let mut received = 0;
    let error = loop {
        match body.stream.next().await.expect("an end that says why") {
            Ok(chunk) => received += chunk.len(),
            Err(error) => break error,
        }
    };
    assert_eq!(received, sent);
    assert_eq!(error.kind(), ErrorKind::UpstreamTimeout, "{error}");
    assert!(body.stream.next().await.is_none(), "an error ends the stream");
}

#[tokio::test]
async fn a_slow_body_that_moves_is_not_timed_out() {
    let upstream = Upstream::start().await;
    let module = FakeModule::new(MODULE, VERSION);
    upstream.add(module.clone());
    let pieces = 8;
    let bytes_per_tick = module.zip().len().div_ceil(pieces);
    let tick = SHORT / 3;
    upstream.fault(When::suffix(".zip"), Fault::Trickle { bytes_per_tick, tick });
    let started = Instant::now();
    let client = proxy_with(impatient(), &upstream.url());
    assert_eq!(fetch(&client, zip()).await.unwrap(), module.zip());
    assert!(started.elapsed() > SHORT * 2, "the whole took longer than the idle timeout");
}

// Case 10.
#[tokio::test]
async fn a_truncated_body_fails_for_every_file() {
    let (upstream, _) = upstream().await;
    let client = proxy(&upstream);
    for ask in every_ask() {
        upstream.fault(When::any().times(1), Fault::TruncateAt(6));
        let error = fetch(&client, ask.clone()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UpstreamFailed, "{ask:?}: {error}");
        assert!(error.message().contains("broke off after 6 bytes"), "{error}");
    }
}

#[tokio::test]
async fn a_zip_cut_within_its_first_four_bytes_is_a_failure_and_not_bad_content() {
    let (upstream, _) = upstream().await;
    upstream.fault(When::any(), Fault::TruncateAt(2));
    let error = refused(&proxy(&upstream), zip()).await;
    assert_eq!(error.kind(), ErrorKind::UpstreamFailed, "{error}");
}

#[tokio::test]
async fn a_reset_a_closed_port_and_an_unknown_host_are_failures_that_name_the_upstream() {
    let (upstream, _) = upstream().await;
    upstream.fault(When::any(), Fault::Reset);
    let error = refused(&proxy(&upstream), go_mod()).await;
    assert_eq!(error.kind(), ErrorKind::UpstreamFailed, "{error}");
    upstream.stop();
    let error = refused(&proxy(&upstream), go_mod()).await;
    assert_eq!(error.kind(), ErrorKind::UpstreamFailed, "{error}");
    assert!(error.message().contains(&upstream.url()), "{error}");
    let nowhere = proxy_with(crate::support::http(), "http://nowhere.invalid");
    let error = refused(&nowhere, go_mod()).await;
    assert_eq!(error.kind(), ErrorKind::UpstreamFailed, "{error}");
}

#[tokio::test]
async fn connecting_has_a_timeout_of_its_own() {
    // A listener whose backlog nobody empties still connects, so TLS is asked of a silent server.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", silent.local_addr().unwrap());
    let rows = [
        HttpClientConfig { connect_timeout: SHORT, ..config() },
        // Who cannot be reached is told from who is silent, whichever time is the shorter.
        HttpClientConfig { header_timeout: SHORT, ..config() },
    ];
    for row in rows {
        let http = HttpClient::new(&row).unwrap();
        let started = Instant::now();
        let error = refused(&proxy_with(http, &url), zip()).await;
        assert_eq!(error.kind(), ErrorKind::UpstreamTimeout, "{error}");
        assert!(error.is_unreachable(), "{error}");
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}

// Case 28.
#[tokio::test]
async fn a_gzip_body_is_decoded_and_announces_no_length() {
    let (upstream, module) = upstream().await;
    upstream.fault(When::any(), Fault::Gzip);
    let client = proxy(&upstream);
    assert_eq!(fetch(&client, info(VERSION)).await.unwrap(), module.info());
    assert_eq!(fetch(&client, go_mod()).await.unwrap(), module.go_mod_bytes());
    assert_eq!(fetch(&client, FetchAsk::List).await.unwrap(), format!("{VERSION}\n"));
    let fetched = client.fetch(request(MODULE, zip())).await.unwrap();
    let Payload::Zip(body) = &fetched.payload else { panic!("a zip") };
    assert_eq!(body.length, None, "the length on the wire is not the zip's");
    assert_eq!(crate::support::read(fetched).await.unwrap(), module.zip());
}

#[tokio::test]
async fn a_truncated_gzip_body_is_a_failure() {
    let module = FakeModule::new(MODULE, VERSION).filler(200_000);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &module.zip()).unwrap();
    let mut compressed = gzip.finish().unwrap();
    compressed.truncate(compressed.len() / 2);
    // Whole by its length, cut within the compression.
    let answer = super::redirects::raw_server(vec![super::redirects::raw_answer(
        "200 OK",
        &["Content-Encoding: gzip"],
        &compressed,
    )])
    .await;
    let error = fetch(&proxy_with(crate::support::http(), &answer), zip()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadContent, "{error}");
}

#[tokio::test]
async fn a_chunked_body_is_read_to_its_end() {
    let (upstream, module) = upstream().await;
    upstream.fault(When::any(), Fault::NoContentLength);
    let client = proxy(&upstream);
    let fetched = client.fetch(request(MODULE, zip())).await.unwrap();
    let Payload::Zip(body) = &fetched.payload else { panic!("a zip") };
    assert_eq!(body.length, None);
    assert_eq!(crate::support::read(fetched).await.unwrap(), module.zip());
    assert_eq!(fetch(&client, go_mod()).await.unwrap(), module.go_mod_bytes());
}

// Case 11, the size alone.
#[tokio::test]
async fn a_zip_that_announces_too_much_is_refused_at_once() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/zip\r\nContent-Length: 524288001\r\n\r\nPK\x03\x04";
    let url = super::redirects::raw_server(vec![head.as_bytes().to_vec()]).await;
    let error = refused(&proxy_with(crate::support::http(), &url), zip()).await;
    assert_eq!(error.kind(), ErrorKind::BadContent);
    assert!(error.message().contains("over the limit of 524288000 bytes"), "{error}");
}

#[tokio::test]
async fn the_trace_goes_on_upstream_and_gzip_is_offered_for_lists_only() {
    let (upstream, _) = upstream().await;
    let client = proxy(&upstream);
    let tracer = Tracer::new(KeepRules::NONE, Arc::new(Nowhere));
    let traced = |is_sampled, ask| {
        let ids = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";
        let (span, state) = (SpanRef::parse(ids).unwrap(), Some("vendor=opaque".into()));
        let parent = Parent { span, is_sampled, state };
        let mut asked = request(MODULE, ask);
        asked.context.trace = tracer.request(Some(parent), Instant::now());
        asked
    };
    // What is not kept here is nobody else's business.
    client.fetch(traced(false, FetchAsk::List)).await.unwrap();
    assert!(upstream.requests().remove(0).headers.get("traceparent").is_none());
    for ask in every_ask() {
        upstream.clear_requests();
        let asked = traced(true, ask.clone());
        let traceparent = asked.context.trace.traceparent().unwrap();
        client.fetch(asked).await.unwrap();
        let headers = upstream.requests().remove(0).headers;
        assert_eq!(headers["traceparent"], traceparent);
        assert!(traceparent.starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{traceparent}");
        assert!(traceparent.ends_with("-01"), "{traceparent}");
        assert_eq!(headers["tracestate"], "vendor=opaque");
        assert_eq!(headers["user-agent"], concat!("dipylon/", env!("CARGO_PKG_VERSION")));
        let gzip = headers.get("accept-encoding").is_some();
        assert_eq!(gzip, ask == FetchAsk::List, "{ask:?}");
        assert!(headers.get("authorization").is_none());
    }
}

#[tokio::test]
async fn a_dropped_zip_ends_the_transfer() {
    let upstream = Upstream::start().await;
    upstream.add(FakeModule::new(MODULE, VERSION).filler(30_000_000));
    let client = proxy(&upstream);
    let fetched = client.fetch(request(MODULE, zip())).await.unwrap();
    let Payload::Zip(mut body) = fetched.payload else { panic!("a zip") };
    body.stream.next().await.unwrap().unwrap();
    drop(body);
    let waited = Instant::now();
    while upstream.in_flight() > 0 {
        assert!(waited.elapsed() < Duration::from_secs(5), "upstream goes on sending");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(upstream.requests()[0].end, End::Aborted);
}

#[tokio::test]
async fn a_connection_is_used_again_after_a_404() {
    let url = super::redirects::raw_keep_alive_server().await;
    let client = proxy_with(crate::support::http(), &url);
    for _ in 0..3 {
        let error = refused(&client, FetchAsk::List).await;
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.message().ends_with("connection 1"), "{error}");
    }
}

/// Takes spans and keeps none.
struct Nowhere;

impl SpanSink for Nowhere {
    fn take(&self, _: FinishedTrace) {}
}
