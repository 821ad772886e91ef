//! Every page that is not about one module, and what all answers have in common.

use std::collections::BTreeSet;
use std::os::unix::net::UnixListener;

use dipylon_testkit::client::{Client, Response};
use dipylon_testkit::module::FakeModule;
use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::started::{Started, free_port, socket_path};
use crate::world::{
    DATABASE, MODULE, Setup, VERSION, World, assert_common_headers, assert_refusal, file, outcome,
    path_of,
};

const JSON: &str = "application/json; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

fn body(response: &Response) -> Value {
    serde_json::from_slice(&response.body).expect("the body is JSON")
}

/// Fetches and stores these versions of [`MODULE`], one after the other.
async fn store(world: &World, versions: &[&str]) {
    for version in versions {
        world.add(FakeModule::new(MODULE, version));
        world.get_ok(&path_of(MODULE, version, "zip")).await;
        world.until_stored(MODULE, version).await;
    }
}

#[tokio::test]
async fn every_endpoint_answers_get_and_head_alike() {
    let world = Setup::disk().env("ATHENS_INDEX_TYPE", "memory").start().await;
    store(&world, &[VERSION]).await;
    std::fs::write(world.gateway.folder().join("robots.txt"), "User-agent: *\n").unwrap();
    let endpoints = [
        ("/", 200, "text/html; charset=utf-8"),
        ("/healthz", 200, "application/json"),
        ("/readyz", 200, JSON),
        ("/version", 200, JSON),
        ("/catalog", 200, JSON),
        ("/catalog?pagesize=many", 400, TEXT),
        ("/index", 200, JSON),
        ("/index?limit=none", 400, TEXT),
        ("/nothing", 404, TEXT),
        (&file("info"), 200, "application/json"),
        (&file("mod"), 200, TEXT),
        (&file("zip"), 200, "application/zip"),
        (&format!("/{MODULE}/@v/list"), 200, TEXT),
        (&format!("/{MODULE}/@latest"), 200, JSON),
        (&format!("/sumdb/{DATABASE}/supported"), 200, TEXT),
        (&format!("/sumdb/{DATABASE}/latest"), 200, TEXT),
    ];
    for (path, status, content_type) in endpoints {
        let (get, head) = (world.get(path).await, world.head(path).await);
        for answer in [&get, &head] {
            assert_eq!(answer.status.as_u16(), status, "{path}: {:?}", answer.headers);
            assert_eq!(answer.header("content-type"), Some(content_type), "{path}");
        }
        assert_eq!(head.header("content-length"), get.header("content-length"), "{path}");
        assert!(head.body.is_empty(), "{path}");
    }
    let (get, head) = (world.get_ok("/metrics").await, world.head("/metrics").await);
    assert_eq!((get.status, head.status), (head.status, get.status));
    assert!(get.text().contains("# TYPE dipylon_http_server_requests_total counter"));
}

#[tokio::test]
async fn the_home_page_says_how_to_use_this_gateway() {
    let world = Setup::memory().env("ATHENS_GONOSUM_PATTERNS", "corp.test/*").start().await;
    let home = world.get_ok("/").await;
    assert!(home.text().contains(&format!("GOPROXY={}", world.gateway.url())), "{}", home.text());
    assert!(home.text().contains("GONOSUMDB=corp.test/*"));
    let behind = world.request(Method::GET, "/", &[("x-forwarded-proto", "https")]).await;
    assert!(behind.text().contains("GOPROXY=https://127.0.0.1:"), "{}", behind.text());
}

#[tokio::test]
async fn version_is_json_and_says_which() {
    let world = Setup::memory().start().await;
    let version = body(&world.get_ok("/version").await);
    assert_eq!(version["version"], concat!("v", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn a_gateway_with_all_its_parts_is_ready() {
    let world = Setup::disk().start().await;
    let ready = body(&world.get_ok("/readyz").await);
    assert_eq!(ready, json!({ "ready": true, "parts": { "storage": "ok", "upstream": "ok" } }));
    assert!(world.get_ok("/healthz").await.body.is_empty());
}

#[tokio::test]
async fn without_an_upstream_hits_work_and_readiness_and_each_miss_say_what_to_do() {
    let mut world = Setup::disk().start().await;
    store(&world, &[VERSION]).await;
    let status = world.gateway.terminate().await;
    assert!(status.success(), "{status}");
    let empty = world.file("no-programs");
    std::fs::create_dir(&empty).unwrap();
    let root = world.root();
    let orphan = Started::with(&[
        ("PATH", empty.to_str().unwrap()),
        ("GO_BINARY_PATH", "go"),
        ("ATHENS_STORAGE_TYPE", "disk"),
        ("ATHENS_DISK_STORAGE_ROOT", root.to_str().unwrap()),
        ("ATHENS_PORT", "127.0.0.1:0"),
        ("ATHENS_LOG_FORMAT", "json"),
        ("ATHENS_LOG_LEVEL", "info"),
    ]);
    orphan.until_serving().await;
    let client = client_of(&orphan);

    let ready = client.get("/readyz").await;
    assert_eq!(ready.status, 503);
    assert_eq!(
        body(&ready),
        json!({
            "ready": false,
            "parts": { "storage": "ok", "upstream": "no upstream: set GOPROXY" },
        })
    );
    assert_eq!(client.get("/healthz").await.status, 200);
    assert_eq!(client.get(&file("zip")).await.status, 200, "hits work");
    for path in [path_of(MODULE, "v1.0.0", "info"), format!("/{MODULE}/@latest")] {
        let miss = client.get(&path).await;
        assert_refusal(&miss, 503, &["no upstream: set GOPROXY"]);
        assert_eq!(outcome(&miss), "no_upstream");
    }
}

/// A client of a program that listens on the port it was given by the system.
fn client_of(started: &Started) -> Client {
    let said = started.stdout();
    let event = said
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find(|event| event["msg"] == "Starting application")
        .expect("it says where it listens");
    Client::new(&format!("http://{}", event["address"].as_str().expect("an address")))
}

#[tokio::test]
async fn a_store_that_cannot_be_written_is_named_by_readiness() {
    let world = Setup::disk().start().await;
    std::fs::remove_dir_all(world.root()).unwrap();
    let ready = world.get("/readyz").await;
    assert_eq!(ready.status, 503, "{}", ready.text());
    let parts = &body(&ready)["parts"];
    assert_ne!(parts["storage"], "ok");
    assert_eq!(parts["upstream"], "ok");
    assert_eq!(world.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn the_catalog_is_paged_without_a_gap_or_a_double() {
    let world = Setup::disk().start().await;
    let versions = ["v1.0.0", "v1.1.0", "v1.2.0", "v1.3.0", "v1.4.0"];
    store(&world, &versions).await;
    let all = body(&world.get_ok("/catalog").await);
    assert_eq!(all["modules"].as_array().map(Vec::len), Some(versions.len()));
    assert_eq!(all.get("next"), None);

    let mut seen = Vec::new();
    let mut token = String::new();
    for page in 1..=4 {
        let answer = body(&world.get_ok(&format!("/catalog?pagesize=2&token={token}")).await);
        let entries = answer["modules"].as_array().expect("an array").clone();
        assert!(entries.len() <= 2, "page {page}: {answer}");
        seen.extend(entries);
        match answer["next"].as_str() {
            Some(next) => token = percent(next),
            None => break,
        }
    }
    let want: Vec<Value> =
        versions.iter().map(|version| json!({ "module": MODULE, "version": version })).collect();
    assert_eq!(seen, want);

    for (query, words) in
        [("pagesize=x", "pagesize"), ("pagesize=-1", "pagesize"), ("token=%00", "token")]
    {
        world.get_refused(&format!("/catalog?{query}"), 400, &[words]).await;
    }
    let everything = body(&world.get_ok("/catalog?pagesize=0").await);
    assert_eq!(everything["modules"], all["modules"], "as in Athens");
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn robots_txt_is_the_configured_file_or_404() {
    let world = Setup::memory().env("ATHENS_ROBOTS_FILE", "{folder}/robots").start().await;
    world.get_refused("/robots.txt", 404, &["robots.txt"]).await;
    std::fs::write(world.file("robots"), "User-agent: *\nDisallow: /\n").unwrap();
    let robots = world.get_ok("/robots.txt").await;
    assert_eq!(robots.text(), "User-agent: *\nDisallow: /\n");
    assert_eq!(robots.header("content-type"), Some(TEXT));
}

#[tokio::test]
async fn the_index_has_each_version_once_in_the_order_of_arrival() {
    let world = Setup::disk().env("ATHENS_INDEX_TYPE", "memory").start().await;
    assert!(world.get_ok("/index").await.body.is_empty());
    store(&world, &["v1.1.0", "v1.0.0", "v1.2.0"]).await;
    world.get_ok(&path_of(MODULE, "v1.1.0", "zip")).await;
    crate::world::until("the last is in the index", async || {
        world.get_ok("/index").await.text().lines().count() == 3
    })
    .await;
    let lines = async |query: &str| {
        let answer = world.get_ok(&format!("/index{query}")).await;
        let parse = |line: &str| serde_json::from_str::<Value>(line).expect("a line is JSON");
        answer.text().lines().map(parse).collect::<Vec<_>>()
    };
    let all = lines("").await;
    let versions: Vec<&str> = all.iter().filter_map(|line| line["Version"].as_str()).collect();
    assert_eq!(versions, ["v1.1.0", "v1.0.0", "v1.2.0"]);
    assert!(all.iter().all(|line| line["Path"] == MODULE));
    let text = world.get_ok("/index").await;
    assert!(
        text.text().starts_with(&format!(
            "{{\"Path\":\"{MODULE}\",\"Version\":\"v1.1.0\",\"Timestamp\":\""
        ))
    );

    assert_eq!(lines("?limit=2").await, all[..2]);
    let since = percent(all[1]["Timestamp"].as_str().expect("a time"));
    assert_eq!(lines(&format!("?since={since}")).await, all[1..], "from that time on");
    assert_eq!(lines(&format!("?since={since}&limit=1")).await, all[1..2]);
    assert_eq!(lines("?since=2999-01-01T00:00:00Z").await.len(), 0);
    for (query, word) in [
        ("limit=0", "limit"),
        ("limit=-1", "limit"),
        ("limit=x", "limit"),
        ("since=yesterday", "since"),
        ("since=2024-01-01", "since"),
    ] {
        world.get_refused(&format!("/index?{query}"), 400, &[word]).await;
    }
}

#[tokio::test]
async fn without_an_index_its_page_is_empty() {
    let world = Setup::disk().start().await;
    store(&world, &[VERSION]).await;
    assert!(world.get_ok("/index").await.body.is_empty());
}

#[tokio::test]
async fn metrics_count_what_was_answered_and_can_be_switched_off() {
    let world = Setup::memory().start().await;
    world.get_ok("/healthz").await;
    let metrics = world.metrics().await;
    let requests = metrics.metric("dipylon_http_server_requests_total");
    assert_eq!(requests.label("route", "admin").label("outcome", "ok").value(), Some(2.0));
    let without = Setup::memory().env("ATHENS_STATS_EXPORTER", "").start().await;
    without.get_refused("/metrics", 404, &["StatsExporter"]).await;
}

#[tokio::test]
async fn below_a_path_prefix_lies_everything_but_metrics_and_the_health_root() {
    let world = Setup::disk().env("ATHENS_PATH_PREFIX", "/go/proxy").start().await;
    world.add_module();
    let table = [
        ("/go/proxy/", 200),
        ("/go/proxy/healthz", 200),
        ("/go/proxy/readyz", 200),
        ("/go/proxy/version", 200),
        ("/go/proxy/catalog", 200),
        ("/go/proxy/index", 200),
        ("/metrics", 200),
        ("/", 200),
        ("/healthz", 404),
        ("/readyz", 404),
        ("/version", 404),
        ("/catalog", 404),
        ("/index", 404),
        ("/go/proxy", 404),
        ("/go/proxyhealthz", 404),
    ];
    for (path, status) in table {
        let answer = world.get(path).await;
        assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.text());
    }
    assert!(world.get_ok("/").await.body.is_empty(), "a health check, as in Athens");
    let home = world.get_ok("/go/proxy/").await;
    assert!(home.text().contains(&format!("{}/go/proxy", world.gateway.url())));
    world.get_ok(&format!("/go/proxy{}", file("zip"))).await;
    world.get_ok(&format!("/go/proxy/sumdb/{DATABASE}/supported")).await;
    world.get_refused(&file("zip"), 404, &["not found"]).await;
    world.get_refused(&format!("/sumdb/{DATABASE}/supported"), 404, &["not found"]).await;
}

#[tokio::test]
async fn a_unix_socket_is_served_and_a_stale_file_of_one_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = socket_path(folder.path());
    // What a killed process leaves behind.
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let socket = path.to_str().unwrap();
    let gateway = Started::with(&[("ATHENS_UNIX_SOCKET", socket), ("GOPROXY", "off")]);
    gateway.until_serving().await;
    let answer = ask_socket(&path).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.to_lowercase().contains("x-request-id: "), "{answer}");

    // One that is served is not.
    let mut second = Started::with(&[("ATHENS_UNIX_SOCKET", socket), ("GOPROXY", "off")]);
    let (code, said) = second.end().await;
    assert_eq!(code, Some(1));
    assert!(said.contains("Could not listen on Unix domain socket"), "{said}");
    assert!(said.contains("in use"), "{said}");
    assert!(ask_socket(&path).await.starts_with("HTTP/1.1 200 OK\r\n"));

    // Nor is a file that is no socket.
    let plain = folder.path().join("plain");
    std::fs::write(&plain, "precious").unwrap();
    let mut third = Started::with(&[("ATHENS_UNIX_SOCKET", plain.to_str().unwrap())]);
    assert_eq!(third.end().await.0, Some(1));
    assert_eq!(std::fs::read_to_string(&plain).unwrap(), "precious");
}

async fn ask_socket(path: &std::path::Path) -> String {
    let mut stream = tokio::net::UnixStream::connect(path).await.unwrap();
    let request = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn port_counts_where_athens_port_is_not_set() {
    let port = free_port();
    let gateway = Started::with(&[("PORT", &port.to_string()), ("GOPROXY", "off")]);
    gateway.until_serving().await;
    let client = Client::new(&format!("http://127.0.0.1:{port}"));
    assert_eq!(client.get("/healthz").await.status, 200);
    // A second one says what is wrong.
    let mut second = Started::with(&[("PORT", &port.to_string()), ("GOPROXY", "off")]);
    let (code, said) = second.end().await;
    assert_eq!(code, Some(1));
    assert!(said.contains("Could not listen on TCP port") && said.contains("in use"), "{said}");
}

#[tokio::test]
async fn an_unknown_method_is_405_with_the_methods_allowed() {
    let world = Setup::disk().start().await;
    world.add_module();
    let paths = [
        file("info"),
        file("mod"),
        file("zip"),
        format!("/{MODULE}/@v/list"),
        format!("/{MODULE}/@latest"),
        format!("/sumdb/{DATABASE}/supported"),
        "/metrics".to_owned(),
    ];
    for path in &paths {
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "FROBNICATE"] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let answer = world.request(method.clone(), path, &[]).await;
            assert_refusal(&answer, 405, &[method.as_str(), "GET"]);
            assert_eq!(answer.header("allow"), Some("GET, HEAD"), "{method} {path}");
            assert_eq!(outcome(&answer), "invalid");
        }
    }
    assert_eq!(world.upstream.total(), 0);
}

/// A part of `Server-Timing`, in microseconds.
fn phase(part: &str) -> (&str, u64) {
    let (name, milliseconds) = part.split_once(";dur=").expect("a phase");
    (name, milliseconds.replace('.', "").parse().expect("three decimals"))
}

#[tokio::test]
async fn every_answer_has_the_five_headers_whatever_its_status() {
    let world = Setup::disk().env("DIPYLON_UPSTREAM_ATTEMPTS", "1").start().await;
    world.add_module();
    let mut statuses = BTreeSet::new();
    world.upstream.fault(
        format!("/{MODULE}/@v/v5.0.0+incompatible.info").as_str(),
        dipylon_testkit::upstream::Fault::Reset,
    );
    for path in [
        "/healthz",
        "/metrics",
        "/nothing",
        "/index?limit=0",
        &file("zip"),
        &format!("/{MODULE}/@v/v1.9.0.info"),
        &format!("/{MODULE}/@v/v5.0.0+incompatible.info"),
        "/github.com/@v/list",
    ] {
        let answer = world.get(path).await;
        statuses.insert(answer.status.as_u16());
        let timing = answer.header("server-timing").unwrap_or_default();
        let parts: Vec<(&str, u64)> = timing.split(", ").map(phase).collect();
        let (total, phases) = parts.split_last().expect("a total");
        let sum: u64 = phases.iter().map(|(_, micros)| micros).sum();
        assert_eq!((total.0, total.1), ("total", sum), "{path}: {timing}");
        let cache = answer.header("cache-status").unwrap_or_default();
        assert!(cache.starts_with("dipylon; "), "{path}: {cache}");
        let parent: Vec<&str> =
            answer.header("traceparent").unwrap_or_default().split('-').collect();
        let lengths: Vec<usize> = parent.iter().map(|part| part.len()).collect();
        assert_eq!(lengths, [2, 32, 16, 2], "{path}: {parent:?}");
    }
    assert_eq!(statuses, BTreeSet::from([200, 400, 404, 502]));
}

#[tokio::test]
async fn cache_control_of_files_can_be_configured() {
    let world = Setup::disk().env("ATHENS_CACHE_CONTROL", "private, max-age=7").start().await;
    world.add_module();
    for kind in ["info", "mod", "zip"] {
        let answer = world.get_ok(&file(kind)).await;
        assert_eq!(answer.header("cache-control"), Some("private, max-age=7"), "{kind}");
    }
    let list = world.get_ok(&format!("/{MODULE}/@v/list")).await;
    assert_eq!(list.header("cache-control"), Some("no-cache, no-store, must-revalidate"));
    let missing = world.get(&path_of(MODULE, "v1.9.9", "info")).await;
    assert_eq!(missing.header("cache-control"), Some("public, max-age=60"));
}

#[tokio::test]
async fn a_request_id_and_a_trace_are_taken_over_or_made() {
    let world = Setup::memory().start().await;
    let client = world.client();
    let ask = async |headers: &[(&str, &str)]| {
        let answer = client.request(Method::GET, "/healthz", headers, "").await;
        assert_common_headers(&answer);
        answer
    };
    let id = |answer: &Response| answer.header("x-request-id").unwrap_or_default().to_owned();
    assert_eq!(id(&ask(&[("x-request-id", "mine-1")]).await), "mine-1");
    assert_eq!(id(&ask(&[("athens-request-id", "mine-2")]).await), "mine-2");
    let both = [("x-request-id", "b"), ("athens-request-id", "a")];
    assert_eq!(id(&ask(&both).await), "a", "Athens's header counts first");
    let (one, two) = (id(&ask(&[]).await), id(&ask(&[]).await));
    assert!(one != two && one.len() == 32, "{one} {two}");
    let long = "x".repeat(200);
    for bad in [long.as_str(), "with blank", ""] {
        assert_ne!(id(&ask(&[("x-request-id", bad)]).await), bad);
    }
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let parent = format!("00-{trace}-b7ad6b7169203331-01");
    let traced = ask(&[("traceparent", &parent)]).await;
    let answered = traced.header("traceparent").unwrap_or_default();
    assert!(answered.contains(trace) && answered != parent, "{answered}");
    world
        .until("the id is in the log", || {
            world
                .events()
                .iter()
                .any(|event| event["msg"] == "request" && event["request-id"] == "mine-1")
        })
        .await;
}
