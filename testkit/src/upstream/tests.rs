use std::io::Read;
use std::time::{Duration, Instant};

use http::Method;

use super::*;
use crate::client::{Client, raw_get};

const ZIP: &str = "/example.com/!a/@v/v1.0.0.zip";
const INFO: &str = "/example.com/!a/@v/v1.0.0.info";
const SIZE: usize = 300_000;

fn module() -> FakeModule {
    FakeModule::new("example.com/A", "v1.0.0").filler(SIZE)
}

async fn upstream() -> (Upstream, Client) {
    let upstream = Upstream::start().await;
    upstream.add(module());
    let client = Client::new(&upstream.url());
    (upstream, client)
}

/// Polls, in real time, until what happens on another thread has happened.
async fn until(what: &str, done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(10), "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn files_are_served_with_their_types_and_lengths() {
    let (upstream, client) = upstream().await;
    let zip = client.get(ZIP).await;
    assert_eq!((zip.status.as_u16(), zip.truncated), (200, false));
    assert_eq!(zip.body, module().zip());
    assert_eq!(zip.header("content-length"), Some(zip.body.len().to_string().as_str()));
    assert_eq!(zip.header("content-type"), Some("application/zip"));
    let info = client.get("/example.com/%21a/@v/v1.0.0.info").await;
    assert_eq!(info.text(), module().info());
    assert_eq!(client.get("/example.com/!a/@v/list").await.text(), "v1.0.0\n");
    assert_eq!(upstream.count(INFO), 1, "both spellings count as one path");
    assert_eq!(upstream.requests()[1].raw_path, "/example.com/%21a/@v/v1.0.0.info");
    assert_eq!(upstream.requests()[0].end, End::Completed);
}

#[tokio::test]
async fn head_has_the_length_and_no_body() {
    let (upstream, client) = upstream().await;
    let head = client.head(ZIP).await;
    assert_eq!(head.body.len(), 0);
    assert_eq!(head.header("content-length"), Some(module().zip().len().to_string().as_str()));
    assert_eq!(upstream.requests()[0].method, Method::HEAD);
    assert_eq!(upstream.count(ZIP), 0, "HEAD is not counted as GET");
}

#[tokio::test]
async fn modules_change_at_run_time() {
    let (upstream, client) = upstream().await;
    upstream.add(FakeModule::new("example.com/A", "v1.0.0").file("moved.go", "package moved\n"));
    assert_ne!(client.get(ZIP).await.body, module().zip());
    upstream.remove("example.com/A", "v1.0.0");
    let gone = client.get(INFO).await;
    assert_eq!(gone.status, 404);
    assert_eq!(gone.header("content-type"), Some("text/plain; charset=utf-8"));
    assert!(gone.text().starts_with("not found: example.com/!a/@v/v1.0.0.info"));
}

#[tokio::test]
async fn a_status_fault_runs_out() {
    let (upstream, client) = upstream().await;
    upstream.fault(When::path(INFO).times(1), Fault::Status(503, "text/plain", "busy\n".into()));
    let broken = client.get(INFO).await;
    assert_eq!((broken.status.as_u16(), broken.text()), (503, "busy\n"));
    assert_eq!(client.get(INFO).await.status, 200);
    upstream.fault(INFO, Fault::RetryAfter(429, 7));
    assert_eq!(client.get(INFO).await.header("retry-after"), Some("7"));
    upstream.clear_faults();
    assert_eq!(client.get(INFO).await.status, 200);
}

#[tokio::test]
async fn a_login_page_is_html_with_200() {
    let (upstream, client) = upstream().await;
    upstream.fault(When::any(), Fault::HtmlLogin);
    let page = client.get(ZIP).await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.text().starts_with("<!DOCTYPE html>"));
}

#[tokio::test]
async fn a_hang_sends_nothing_and_sees_the_client_leave() {
    let (upstream, client) = upstream().await;
    upstream.fault(ZIP, Fault::HangBeforeHeaders);
    let wait = tokio::time::timeout(Duration::from_millis(200), client.get_streaming(ZIP));
    assert!(wait.await.is_err(), "headers came");
    assert_eq!(upstream.max_in_flight(), 1);
    until("the client's end is noted", || upstream.requests()[0].end == End::Aborted).await;
    assert_eq!(upstream.requests()[0].status, None);
    assert_eq!(upstream.in_flight(), 0);
}

#[tokio::test]
async fn a_stall_comes_after_its_bytes() {
    let (upstream, client) = upstream().await;
    upstream.fault(ZIP, Fault::StallAfter(100_000));
    let mut answer = client.get_streaming(ZIP).await.unwrap();
    assert_eq!(answer.headers["content-length"], module().zip().len().to_string());
    let mut got = 0;
    while got < 100_000 {
        got += answer.chunk().await.unwrap().expect("more").len();
    }
    assert_eq!(got, 100_000);
    let more = tokio::time::timeout(Duration::from_millis(200), answer.chunk()).await;
    assert!(more.is_err(), "something came after the stall");
    drop(answer);
    until("the client's end is noted", || upstream.requests()[0].end == End::Aborted).await;
}

#[tokio::test]
async fn a_truncation_keeps_the_length_and_cuts() {
    let (upstream, client) = upstream().await;
    for bytes in [0, 1, 100_000, module().zip().len() - 1] {
        upstream.clear_faults();
        upstream.fault(ZIP, Fault::TruncateAt(bytes));
        let answer = client.get(ZIP).await;
        assert_eq!((answer.truncated, answer.body.len()), (true, bytes));
        assert_eq!(
            answer.header("content-length"),
            Some(module().zip().len().to_string().as_str())
        );
    }
    assert!(upstream.requests().iter().all(|seen| seen.end == End::Aborted));
}

#[tokio::test]
async fn a_trickle_takes_its_time() {
    let (upstream, client) = upstream().await;
    let tick = Duration::from_millis(20);
    let bytes_per_tick = SIZE / 5;
    upstream.fault(ZIP, Fault::Trickle { bytes_per_tick, tick });
    let answer = client.get(ZIP).await;
    assert_eq!((answer.truncated, &answer.body), (false, &module().zip()));
    assert!(answer.total >= 5 * tick, "{:?}", answer.total);
    assert!(answer.first_byte < answer.total);
}

#[tokio::test]
async fn a_body_can_come_without_its_length() {
    let (upstream, client) = upstream().await;
    upstream.fault(ZIP, Fault::NoContentLength);
    let answer = client.get(ZIP).await;
    assert_eq!(answer.header("content-length"), None);
    assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
    assert_eq!(answer.body, module().zip());
    assert_eq!(upstream.requests()[0].end, End::Completed);
}

#[tokio::test]
async fn a_body_can_come_compressed() {
    let (upstream, client) = upstream().await;
    upstream.fault(INFO, Fault::Gzip);
    let answer = client.get(INFO).await;
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(&answer.body[..]).read_to_string(&mut text).unwrap();
    assert_eq!(text, module().info());
}

#[tokio::test]
async fn a_reset_is_an_error_before_the_headers() {
    let (upstream, client) = upstream().await;
    upstream.fault(ZIP, Fault::Reset);
    let error = client.try_request(Method::GET, ZIP, &[], "").await.unwrap_err();
    // The error of the socket stands somewhere below that of the client.
    let text = format!("{error:?}");
    assert!(text.contains("ConnectionReset"), "{text}");
}

#[tokio::test]
async fn a_redirect_names_its_target() {
    let (upstream, client) = upstream().await;
    upstream.fault(ZIP, Fault::Redirect(302, "http://127.0.0.1:1/x".to_owned()));
    let answer = client.get(ZIP).await;
    assert_eq!(answer.status, 302);
    assert_eq!(answer.header("location"), Some("http://127.0.0.1:1/x"));
}

#[tokio::test]
async fn the_wrong_version_is_told_consistently() {
    let (upstream, client) = upstream().await;
    upstream.fault(When::any(), Fault::WrongVersion);
    assert!(client.get(INFO).await.text().contains("\"v9.9.9\""));
    assert_eq!(client.get(ZIP).await.body, module().with_version("v9.9.9").zip());
}

#[tokio::test]
async fn any_bytes_can_be_served() {
    let (upstream, client) = upstream().await;
    upstream.fault("/example.com/!a/@v/list", Fault::Body("v1.9\r\nnonsense".into()));
    let list = client.get("/example.com/!a/@v/list").await;
    assert_eq!((list.status.as_u16(), list.text()), (200, "v1.9\r\nnonsense"));
}

#[tokio::test]
async fn latency_and_delay_are_felt() {
    let (upstream, client) = upstream().await;
    upstream.latency(Duration::from_millis(80));
    upstream.fault(INFO, Fault::Delay(Duration::from_millis(80)));
    assert!(client.get(INFO).await.total >= Duration::from_millis(160));
}

#[tokio::test]
async fn requests_in_flight_are_counted_at_their_peak() {
    let (upstream, client) = upstream().await;
    upstream.latency(Duration::from_millis(150));
    let all = (0..8).map(|_| client.get(INFO));
    futures::future::join_all(all).await;
    assert_eq!(upstream.max_in_flight(), 8);
    until("all have ended", || upstream.in_flight() == 0).await;
    upstream.clear_requests();
    assert_eq!((upstream.total(), upstream.max_in_flight()), (0, 0));
}

#[tokio::test]
async fn a_stopped_upstream_refuses_and_comes_back() {
    let (upstream, client) = upstream().await;
    upstream.stop();
    let error = client.try_request(Method::GET, INFO, &[], "").await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    upstream.restart();
    assert_eq!(client.get(INFO).await.status, 200);
}

#[tokio::test]
async fn credentials_can_be_demanded() {
    let (upstream, client) = upstream().await;
    upstream.require_authorization(Some("Basic dTpw"));
    assert_eq!(client.get(INFO).await.status, 401);
    assert_eq!(client.header("authorization", "Basic dTpw").get(INFO).await.status, 200);
    upstream.require_authorization(None);
}

#[tokio::test]
async fn raw_requests_arrive_as_written() {
    let (upstream, client) = upstream().await;
    let text = "GET //example.com/%2e%2e/@v/list HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = raw_get(client.address(), text).await;
    assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{answer}");
    assert_eq!(upstream.requests()[0].raw_path, "//example.com/%2e%2e/@v/list");
}

#[tokio::test]
async fn other_methods_are_refused() {
    let (_upstream, client) = upstream().await;
    assert_eq!(client.request(Method::POST, INFO, &[], "x").await.status, 405);
}

#[test]
fn percent_encoding_is_undone_once() {
    assert_eq!(decode_percent("/%21a/%2521/%zz/%2"), "/!a/%21/%zz/%2");
}

/// One module with one version.
struct OnlyOne;

impl Generator for OnlyOne {
    fn module(&self, path: &str, version: &str) -> Option<FakeModule> {
        let known = (path, version) == ("example.com/made/up", "v1.2.0");
        known.then(|| FakeModule::new(path, version).filler(20_000))
    }

    fn versions(&self, path: &str) -> Vec<String> {
        if path == "example.com/made/up" { vec!["v1.2.0".to_owned()] } else { Vec::new() }
    }
}

#[tokio::test]
async fn what_is_made_up_is_counted_and_its_right_answer_known() {
    const MADE_UP: &str = "/example.com/made/up/@v/v1.2.0.zip";
    let upstream = Upstream::start().await;
    upstream.generate(OnlyOne);
    let client = Client::new(&upstream.url());
    let digest = client.get(&format!("/__digest{MADE_UP}")).await.text().to_owned();
    let said = |body: &[u8]| {
        use sha2::Digest as _;
        let hex: Vec<String> =
            sha2::Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{} {}\n", body.len(), hex.concat())
    };
    assert_eq!(said(&client.get(MADE_UP).await.body), digest);
    upstream.fault(When::suffix(".zip"), Fault::OtherContent);
    let other = said(&client.get(MADE_UP).await.body);
    assert_eq!(other.split(' ').next(), digest.split(' ').next(), "of the same length");
    assert_ne!(other, digest);
    assert_eq!(client.get("/example.com/made/up/@v/list").await.text(), "v1.2.0\n");
    assert!(client.get("/example.com/made/up/@latest").await.text().contains("v1.2.0"));
    assert_eq!(client.get("/example.com/made/up/@v/v1.3.0.zip").await.status, 404);
    let counts = client.get("/__counts").await.text().to_owned();
    assert!(counts.contains(&format!("2 {MADE_UP}\n")), "{counts}");
    assert!(!counts.contains("__"), "{counts}");
}

#[tokio::test]
async fn an_answer_behind_a_gate_comes_when_it_is_opened() {
    let (upstream, client) = upstream().await;
    let gate = Gate::default();
    upstream.fault(When::path(ZIP).times(1), Fault::Gate(gate.clone()));
    let asking = tokio::spawn(async move { client.get(ZIP).await });
    until("it waits", || upstream.in_flight() == 1).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(upstream.requests()[0].status, None);
    gate.open();
    let zip = asking.await.expect("no panic");
    assert_eq!((zip.status.as_u16(), zip.body), (200, module().zip()));
}
