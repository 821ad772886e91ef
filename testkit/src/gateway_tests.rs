use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;

use http::Request;
use hyper::body::Incoming;

use super::*;
use crate::server::{Answer, Connection, Handler, Server};
use crate::upstream::{Log, Page, plain};

/// Set for the child that [`stand_in`] is.
const STAND_IN: &str = "TESTKIT_STAND_IN";

#[derive(Default)]
struct StandIn {
    log: Arc<Log>,
}

impl Handler for StandIn {
    fn answer(self: Arc<Self>, request: Request<Incoming>, _: Connection) -> Answer {
        let path = request.uri().path();
        let flight = self.log.begin(request.method(), (path, path), request.headers());
        let page = match path {
            "/healthz" => Page::text(200, "ok\n"),
            "/metrics" => Page::text(200, "# TYPE up gauge\nup{which=\"stand-in\"} 1\n"),
            _ => Page::text(404, "not found\n"),
        };
        let response = plain(request.method(), page, flight);
        Box::pin(async move { Ok(response) })
    }
}

/// Not a test but a program: this binary started again by [`stand_in_gateway`] serves a little of
/// what the gateway serves, until it is ended.
#[test]
fn stand_in() {
    if std::env::var_os(STAND_IN).is_none() {
        return;
    }
    let address = std::env::var("ATHENS_PORT").unwrap().parse().unwrap();
    let _server = Server::start(address, Arc::new(StandIn::default()));
    // Longer than any test; the one that started it kills it.
    std::thread::sleep(Duration::from_secs(60));
}

async fn stand_in_gateway() -> Gateway {
    let program = std::env::current_exe().unwrap();
    let start = Gateway::builder(program).arg("--exact").arg("gateway::tests::stand_in");
    start.env(STAND_IN, "1").start().await
}

#[tokio::test]
async fn a_gateway_is_up_when_its_start_returns() {
    let gateway = stand_in_gateway().await;
    assert_eq!(gateway.get("/healthz").await.text(), "ok\n");
    assert_eq!(gateway.metrics().await.metric("up").label("which", "stand-in").value(), Some(1.0));
    assert!(gateway.rss_kib() > 1000 && gateway.peak_kib() > 1000);
    assert!(gateway.stdout().contains("running 1 test"), "{}", gateway.stdout());
}

#[tokio::test]
async fn a_gateway_ends_at_sigterm_and_at_the_latest_when_dropped() {
    let mut gateway = stand_in_gateway().await;
    let status = gateway.terminate().await;
    assert_eq!(status.signal(), Some(Signal::TERM.as_raw()));
    let dropped = stand_in_gateway().await;
    let pid = dropped.pid();
    drop(dropped);
    assert_eq!(memory_kib(pid, "VmRSS:"), None, "it still runs");
}

/// A stand-in for the program. A shell writes it: were it open for writing in this process, a
/// child that another test starts at that moment could keep it busy.
fn script(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("program");
    let write = "printf '#!/bin/sh\n%s\n' \"$1\" > \"$0\" && chmod 755 \"$0\"";
    let status = Command::new("sh").args(["-c", write]).arg(&path).arg(text).status();
    assert!(status.unwrap().success());
    path
}

#[tokio::test]
async fn a_program_that_dies_is_reported_with_its_words() {
    let folder = TempDir::new().unwrap();
    let program = script(folder.path(), "echo \"bad StorageType\" >&2; exit 3");
    let why = Gateway::builder(program).try_start().await.unwrap_err();
    assert!(why.contains("bad StorageType") && why.contains("exit status: 3"), "{why}");
}

#[tokio::test]
async fn the_environment_is_clean_and_the_file_is_given() {
    let folder = TempDir::new().unwrap();
    let program = script(folder.path(), "env >&2; cat \"$2\" >&2; exit 1");
    let start = Gateway::builder(program).env("X_Y", "1").config("Port = 1\n");
    let why = start.try_start().await.unwrap_err();
    assert!(why.contains("ATHENS_PORT=127.0.0.1:") && why.contains("X_Y=1"), "{why}");
    assert!(why.contains("Port = 1") && !why.contains("CARGO"), "{why}");
}

#[tokio::test]
async fn a_program_that_never_listens_is_killed() {
    let folder = TempDir::new().unwrap();
    let program = script(folder.path(), "echo $$ >&2; sleep 300");
    let start = Gateway::builder(program).start_limit(Duration::from_millis(300));
    let why = start.try_start().await.unwrap_err();
    assert!(why.starts_with("not up within 300ms"), "{why}");
    let pid: u32 = why.lines().nth(1).and_then(|line| line.parse().ok()).expect("its pid");
    assert_eq!(memory_kib(pid, "VmRSS:"), None, "it still runs");
}

#[test]
fn resident_memory_of_this_process_is_read_now_and_at_its_most() {
    let now = memory_kib(std::process::id(), "VmRSS:").unwrap();
    let most = memory_kib(std::process::id(), "VmHWM:").unwrap();
    assert!(now > 1000 && most > 1000, "{now} {most}");
}
