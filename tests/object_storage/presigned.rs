//! Clients that are sent to the store for large zips, through the whole program: by each store that checks
//! its signatures. The emulator of Google's checks none, so there it is only seen that the start refuses.

use std::time::Duration;

use bytes::Bytes;
use dipylon::storage::object::Connector;
use dipylon_protocol::route::FileKind;
use dipylon_testkit::client::Response;
use dipylon_testkit::gateway::Gateway;
use dipylon_testkit::go::Go;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::Upstream;
use http::Method;
use object_store::client::HttpRequestBody;

use crate::bench::{Bench, names};
use crate::{gcp, minio};

const LARGE: &str = "/example.com/large/@v/v1.0.0.zip";
const SMALL: &str = "/example.com/small/@v/v1.0.0.zip";
/// The longest wait until a version is stored.
const PATIENCE: Duration = Duration::from_secs(20);

fn large() -> FakeModule {
    FakeModule::new("example.com/large", "v1.0.0").filler(300_000)
}

fn small() -> FakeModule {
    FakeModule::new("example.com/small", "v1.0.0")
}

/// A gateway over a store that has both modules.
async fn stocked(bench: &Bench, settings: &[(&str, &str)]) -> Gateway {
    for module in [large(), small()] {
        bench.subject.save(&module).await.unwrap();
    }
    let gateway = builder(bench, settings).start().await;
    wait_for(bench, &large()).await;
    gateway
}

fn builder(bench: &Bench, settings: &[(&str, &str)]) -> dipylon_testkit::gateway::Builder {
    let mut builder = Gateway::builder(env!("CARGO_BIN_EXE_dipylon"))
        .env("GOPROXY", "off")
        .env("GOSUMDB", "off")
        .env("GO_BINARY_PATH", "no-go-command")
        .env("ATHENS_LOG_LEVEL", "debug")
        // Which is for files, and never for a redirect.
        .env("ATHENS_CACHE_CONTROL", "public, max-age=600")
        .env("DIPYLON_PRESIGNED_MIN_BYTES", "100000");
    for (name, value) in &bench.settings {
        builder = builder.env(name, value);
    }
    for (name, value) in settings {
        builder = builder.env(name, value);
    }
    builder
}

async fn wait_for(bench: &Bench, module: &FakeModule) {
    let (path, version) = names(module);
    let began = std::time::Instant::now();
    while bench.storage().read(&path, &version, FileKind::Mod).await.unwrap().is_none() {
        assert!(began.elapsed() < PATIENCE, "{} is not stored", module.path());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Where an answer sends its client.
fn location(answer: &Response) -> String {
    assert_eq!(answer.status, 302, "{}", answer.text());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    answer.header("location").expect("a location").to_owned()
}

/// What the store itself answers a client without any credentials.
async fn fetch(url: &str) -> (u16, Bytes) {
    let request = http::Request::builder().uri(url).body(HttpRequestBody::empty()).unwrap();
    let answer = Connector::new(&minio::no_environment).unwrap().send(request).await.unwrap();
    (answer.status().as_u16(), answer.into_body().bytes().await.unwrap())
}

/// What of a signed URL nobody else may see: the values behind its question mark that are long.
fn secrets(url: &str) -> Vec<String> {
    let query = url.split_once('?').expect("a query").1;
    let named = query.split('&').filter_map(|pair| pair.split_once('='));
    let secret = ["X-Amz-Signature", "sig"];
    let found: Vec<_> = named
        .filter(|(name, _)| secret.contains(name))
        .map(|(_, value)| value.to_owned())
        .collect();
    assert_eq!(found.len(), 1, "a signature");
    found
}

async fn a_large_zip_comes_from_the_store_itself(bench: Bench) {
    let gateway = stocked(&bench, &[]).await;
    let url = location(&gateway.get(LARGE).await);
    let (status, body) = fetch(&url).await;
    assert!(status == 200 && body == large().zip(), "{status}");
    let forged = url.replace("large", "small");
    assert_eq!(fetch(&forged).await.0, 403, "the URL is for one object");

    // All but a plain GET of a large zip goes through the gateway.
    let answer = gateway.get(SMALL).await;
    assert!(answer.status == 200 && answer.body == small().zip());
    let client = gateway.client();
    let head = client.head(LARGE).await;
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-length"), Some(large().zip().len().to_string().as_str()));
    let part = client.request(Method::GET, LARGE, &[("range", "bytes=10-19")], "").await;
    assert!(part.status == 206 && part.body == large().zip().slice(10..20), "{}", part.status);
    let tag = head.header("etag").expect("a tag").to_owned();
    let same = client.request(Method::GET, LARGE, &[("if-none-match", &tag)], "").await;
    assert_eq!(same.status, 304);
    for suffix in ["info", "mod"] {
        assert_eq!(gateway.get(&LARGE.replace("zip", suffix)).await.status, 200);
    }

    let metrics = gateway.metrics().await;
    let sent = metrics.metric("dipylon_presigned_total").label("result", "sent");
    assert_eq!(sent.sum(), 1.0);
    let bytes = metrics.metric("dipylon_presigned_bytes_total").sum();
    assert_eq!(bytes, large().zip().len() as f64);
    let redirected =
        metrics.metric("dipylon_http_server_requests_total").label("outcome", "redirected");
    assert_eq!(redirected.sum(), 1.0);
    let pages = ["/metrics", "/readyz", "/catalog", "/version", "/"];
    let mut seen = gateway.stderr() + &gateway.stdout();
    for page in pages {
        seen += gateway.get(page).await.text();
    }
    for secret in secrets(&url) {
        assert!(!seen.contains(&secret), "{secret} is seen");
    }
}

on_every_signing_kind!(a_large_zip_comes_from_the_store_itself, clients_may_see_another_address);

async fn clients_may_see_another_address(bench: Bench) {
    let endpoint = ["ATHENS_MINIO_ENDPOINT", "AWS_ENDPOINT", "DIPYLON_AZURE_ENDPOINT"];
    let (_, own) = bench.settings.iter().find(|(name, _)| endpoint.contains(name)).unwrap();
    let seen = own.replace("127.0.0.1", "localhost");
    assert_ne!(*own, seen);
    let gateway = stocked(&bench, &[("DIPYLON_PRESIGNED_ENDPOINT", &seen)]).await;
    let url = location(&gateway.get(LARGE).await);
    assert!(url.starts_with(&seen), "another host than {seen}");
    let (status, body) = fetch(&url).await;
    assert!(status == 200 && body == large().zip(), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs minio: run by cargo xtask test"]
async fn a_url_ends_with_its_lifetime() {
    let bench = minio::bench().await;
    let gateway = stocked(&bench, &[("DIPYLON_PRESIGNED_LIFETIME", "5")]).await;
    let url = location(&gateway.get(LARGE).await);
    assert!(url.contains("X-Amz-Expires=5"), "not for five seconds");
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(fetch(&url).await.0, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs minio: run by cargo xtask test"]
async fn what_a_policy_refuses_is_not_sent_anywhere() {
    let bench = minio::bench().await;
    let folder = tempfile::tempdir().unwrap();
    let filter = folder.path().join("filter");
    std::fs::write(&filter, "- example.com/large\n").unwrap();
    let gateway = stocked(&bench, &[("ATHENS_FILTER_FILE", filter.to_str().unwrap())]).await;
    assert_eq!(gateway.get(LARGE).await.status, 403);
    assert_eq!(gateway.metrics().await.metric("dipylon_presigned_total").sum(), 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs minio: run by cargo xtask test"]
async fn what_is_near_is_served_near() {
    let bench = minio::bench().await;
    let near = tempfile::tempdir().unwrap();
    let settings = [("DIPYLON_TIERED_DIRECTORY", near.path().to_str().unwrap())];
    let gateway = stocked(&bench, &settings).await;
    location(&gateway.get(LARGE).await);
    let upstream = Upstream::start().await;
    let fresh = FakeModule::new("example.com/fresh", "v1.0.0").filler(300_000);
    upstream.add(fresh.clone());
    drop(gateway);
    let settings = [settings[0], ("GOPROXY", &upstream.url())];
    let gateway = builder(&bench, &settings).start().await;
    let path = "/example.com/fresh/@v/v1.0.0.zip";
    assert_eq!(gateway.get(path).await.status, 200, "a miss comes through the gateway");
    wait_for(&bench, &fresh).await;
    let began = std::time::Instant::now();
    let filled = async || {
        let metrics = gateway.metrics().await;
        metrics.metric("dipylon_tier_fills_total").label("result", "filled").sum()
    };
    while filled().await < 3.0 {
        assert!(began.elapsed() < PATIENCE, "{}", gateway.stderr());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let answer = gateway.get(path).await;
    assert!(answer.status == 200 && answer.body == fresh.zip(), "{}", answer.status);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs minio and the go command: run by cargo xtask test"]
async fn the_go_command_follows_and_checks_what_it_gets() {
    let bench = minio::bench().await;
    let gateway = stocked(&bench, &[]).await;
    let go = Go::new().goproxy(&gateway.url()).gosumdb("off");
    let downloaded =
        tokio::task::spawn_blocking(move || go.mod_download_json(&["example.com/large@v1.0.0"]));
    let downloaded = downloaded.await.unwrap();
    assert_eq!(downloaded[0]["Sum"], large().h1(), "{downloaded:?}");
    let sent =
        gateway.metrics().await.metric("dipylon_presigned_total").label("result", "sent").sum();
    assert_eq!(sent, 1.0);
}

#[tokio::test]
#[ignore = "needs gcs: run by cargo xtask test"]
async fn an_emulator_that_checks_no_signature_is_refused() {
    let bench = gcp::bench().await;
    let failed =
        builder(&bench, &[]).try_start().await.expect_err("no signature is worth anything");
    assert!(failed.contains("an emulator checks no signature"), "{failed}");
}
