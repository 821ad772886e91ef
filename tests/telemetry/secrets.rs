//! Secrets of the configuration in nothing that leaves the process but the requests they are for.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use dipylon_testkit::upstream::{Fault, When};

use crate::collector::Collector;
use crate::world::{PROGRAM, VERSION, World, file, until};

const HEADER: &str = "hunter2-of-the-collector";
const UPSTREAM: &str = "hunter2-of-the-upstream";
const CLIENT: &str = "hunter2-of-the-clients";
const SECOND: &str = "hunter2-of-the-second-upstream";

/// What the gateway knows and must not tell.
fn secrets() -> Vec<String> {
    let plain = [HEADER, UPSTREAM, CLIENT, SECOND].map(str::to_owned);
    let pairs = [format!("robot:{UPSTREAM}"), format!("robot:{SECOND}"), format!("user:{CLIENT}")];
    let encoded = pairs.map(|pair| STANDARD.encode(pair));
    plain.into_iter().chain(encoded).collect()
}

fn variables(collector: &str) -> Vec<(&'static str, String)> {
    vec![
        (
            "GOPROXY",
            format!("http://robot:{UPSTREAM}@{{upstream}},http://robot:{SECOND}@127.0.0.1:9"),
        ),
        ("BASIC_AUTH_USER", "user".to_owned()),
        ("BASIC_AUTH_PASS", CLIENT.to_owned()),
        ("ATHENS_TRACE_EXPORTER", "otlp".to_owned()),
        ("ATHENS_TRACE_EXPORTER_URL", collector.to_owned()),
        ("DIPYLON_OTLP_PROTOCOL", "http".to_owned()),
        ("DIPYLON_TRACE_HEADERS", format!("authorization:{HEADER}")),
        ("ATHENS_LOG_LEVEL", "debug".to_owned()),
    ]
}

async fn started(collector: &str) -> World {
    let ours = variables(collector);
    let ours: Vec<(&str, &str)> =
        ours.iter().map(|(name, value)| (*name, value.as_str())).collect();
    World::start(&ours).await
}

fn assert_clean(what: &str, text: &str) {
    for secret in secrets() {
        assert!(!text.contains(&secret), "{what} tells {secret}:\n{text}");
    }
}

/// Every kind of request, with everything that came back: pages, answers, refusals, failures.
async fn run(world: &mut World) {
    let user = format!("Basic {}", STANDARD.encode(format!("user:{CLIENT}")));
    let wrong = format!("Basic {}", STANDARD.encode("user:wrong"));
    let broken = Fault::Status(500, "text/plain", Bytes::from_static(b"out of order\n"));
    world.upstream.fault(When::suffix("v1.4.0.info"), broken);
    world.upstream.fault(When::suffix("v1.5.0.info"), Fault::Reset);
    world.upstream.fault(When::suffix("v1.6.0.info"), Fault::HtmlLogin);
    for path in [
        file(VERSION, "zip"),
        file(VERSION, "info"),
        file("v1.4.0", "info"),
        file("v1.5.0", "info"),
        file("v1.6.0", "info"),
        file("v1.9.9", "info"),
        "/example.com/none/@v/list".to_owned(),
        "/metrics".to_owned(),
        "/readyz".to_owned(),
        "/version".to_owned(),
        "/catalog".to_owned(),
        "/index".to_owned(),
        "/".to_owned(),
        "/-/".to_owned(),
        "/-/config".to_owned(),
        "/-/status".to_owned(),
        "/sumdb/sum.test/lookup/example.com/lib@v1.0.0".to_owned(),
    ] {
        for credentials in [&user, &wrong] {
            let answer = world.get_with(&path, &[("authorization", credentials)]).await;
            assert_clean(&path, &String::from_utf8_lossy(&answer.body));
            assert_clean(&format!("a header of {path}"), &format!("{:?}", answer.headers));
        }
    }
    // The upstream was given its credentials: they are in use, not lost.
    let seen = world.upstream.requests();
    let sent = format!("Basic {}", STANDARD.encode(format!("robot:{UPSTREAM}")));
    let zip = seen.iter().find(|seen| seen.path.ends_with(".zip")).expect("the zip was fetched");
    assert_eq!(zip.headers["authorization"].to_str().ok(), Some(sent.as_str()));
    // The clients' password and the collector's header are nobody else's.
    for request in &seen {
        let headers = format!("{:?}", request.headers);
        assert!(!headers.contains(&STANDARD.encode(format!("user:{CLIENT}"))), "{headers}");
        assert!(!headers.contains(HEADER), "{headers}");
    }
    world.end().await;
    assert_clean("the log", &world.gateway.stdout());
    assert_clean("standard error", &world.gateway.stderr());
}

/// What a collector that refuses everything got to see.
fn refusing_collector() -> (String, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(64) {
            let Ok(mut stream) = stream else { return };
            let mut head = [0; 4096];
            let read = stream.read(&mut head).unwrap_or(0);
            // The test may be over.
            let _ = sender.send(String::from_utf8_lossy(&head[..read]).into_owned());
            let _ = stream.write_all(
                b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            );
        }
    });
    (url, receiver)
}

#[tokio::test]
async fn secrets_stay_where_they_belong() {
    let (url, seen) = refusing_collector();
    let mut world = started(&url).await;
    run(&mut world).await;
    let head = seen.recv_timeout(Duration::from_secs(10)).expect("the exporter has tried");
    assert!(head.contains(HEADER), "TraceHeaders did not arrive: {head}");
}

#[tokio::test]
async fn check_prints_no_secret() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(PROGRAM);
    command.arg("check").env_clear().current_dir(folder.path());
    for (name, value) in variables("http://robot:hunter2-of-the-upstream@127.0.0.1:9") {
        command.env(name, value);
    }
    command
        .env("ATHENS_GO_BINARY_ENV_VARS", format!("GOPROXY=https://robot:{SECOND}@proxy.example"));
    let said = command.output().expect("the program can be run");
    let text = [said.stdout, said.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(said.status.success(), "{}", text[1]);
    assert!(text[0].contains("TraceHeaders"), "{}", text[0]);
    assert_clean("check", &text.concat());
}

#[tokio::test]
#[ignore = "needs otelcol: run by cargo xtask test, which builds it"]
async fn spans_hold_no_secret() {
    let collector = Collector::start().await;
    let variables = collector.variables("http");
    let url = variables.iter().find(|(name, _)| *name == "ATHENS_TRACE_EXPORTER_URL");
    let mut world = started(&url.expect("it has a URL").1).await;
    run(&mut world).await;
    until("the spans of the failures have arrived", async || {
        collector.spans().iter().any(|span| span.json.to_string().contains("out of order"))
    })
    .await;
    assert_clean("a span", &collector.text());
}
