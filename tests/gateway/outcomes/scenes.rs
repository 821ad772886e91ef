//! What provokes each outcome.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use dipylon_middleware::breaker::state::UPSTREAM_FAILURES_TO_OPEN;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::{Fault, Gate, When};
use http::Method;
use tempfile::TempDir;

use super::agree::{Scene, Trial};
use crate::raw_upstream::RawUpstream;
use crate::world::{DATABASE, MODULE, Setup, VERSION, file, large, list, path_of, sick, until};

/// Until a list is no longer fresh under `FreshFor = 1`.
const NO_LONGER_FRESH: Duration = Duration::from_millis(1_200);
/// A host of loopback on which nobody listens.
const NOBODY: &str = "http://127.0.0.1:1";
/// A `go` command for which no version exists.
const GO_FINDS_NOTHING: &str = "#!/bin/sh
case \"$1\" in
version) echo go version go1.26.8 linux/amd64 ;;
env) echo '{}' ;;
*) echo 'go: example.com/lib/text@v1.2.3: invalid version: unknown revision v1.2.3' >&2; exit 1 ;;
esac
";
/// What the gateway refuses to send as `/robots.txt`.
const ROBOTS_BYTES: usize = 1024 * 1024 + 1;

fn text(status: u16) -> Fault {
    Fault::Status(status, "text/plain; charset=utf-8", "as upstream says\n".into())
}

/// A server that answers everything with this status and nothing else.
async fn saying(status: &str) -> RawUpstream {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    RawUpstream::start(head.into_bytes()).await
}

/// Upstream is asked once for each request, and not waited for long.
fn impatient() -> Setup {
    Setup::disk().env("DIPYLON_UPSTREAM_ATTEMPTS", "1").env("DIPYLON_UPSTREAM_HEADER_TIMEOUT", "1")
}

async fn with_module(trial: &Trial, setup: Setup) -> Scene<'_> {
    let scene = trial.start(setup).await;
    scene.world.add_module();
    scene
}

async fn until_stored(scene: &Scene<'_>) {
    scene.world.until_stored(MODULE, VERSION).await;
    scene.world.until_idle().await;
}

pub(super) async fn hit_memory(trial: &Trial) {
    let scene = with_module(trial, Setup::disk()).await;
    scene.world.get_ok(&list()).await;
    scene.agree(&list(), "list", 200).await;
}

pub(super) async fn hit_storage(trial: &Trial) {
    let scene = with_module(trial, Setup::disk()).await;
    scene.world.get_ok(&file("zip")).await;
    until_stored(&scene).await;
    for kind in ["zip", "mod"] {
        scene.agree(&file(kind), kind, 200).await;
    }
    scene.world.upstream.query(MODULE, "master", VERSION);
    scene.agree(&path_of(MODULE, "master", "info"), "info", 200).await;
    scene.world.upstream.fault(list().as_str(), text(404));
    scene.agree(&list(), "list", 200).await;
}

async fn asked_when_no_longer_fresh<'a>(trial: &'a Trial, revalidated_for: &str) -> Scene<'a> {
    let setup = Setup::disk()
        .env("DIPYLON_FRESH_FOR", "1")
        .env("DIPYLON_STALE_WHILE_REVALIDATE", revalidated_for);
    let scene = with_module(trial, setup).await;
    scene.world.get_ok(&list()).await;
    scene.world.upstream.fault(When::any(), sick());
    tokio::time::sleep(NO_LONGER_FRESH).await;
    scene.agree(&list(), "list", 200).await;
    scene
}

pub(super) async fn stale_revalidate(trial: &Trial) {
    asked_when_no_longer_fresh(trial, "1500").await;
}

pub(super) async fn stale_error(trial: &Trial) {
    let scene = asked_when_no_longer_fresh(trial, "0").await;
    // Upstream has failed a moment ago, and nobody is sent there again.
    let asked = scene.world.module_requests();
    let before = scene.before("list").await;
    let headers = [("x-request-id", "left-alone")];
    let answer = scene.world.request(Method::GET, &list(), &headers).await;
    scene.agrees(&before, "left-alone", Some(&answer)).await;
    assert_eq!(scene.world.module_requests(), asked);
}

pub(super) async fn miss_leader(trial: &Trial) {
    let scene = with_module(trial, Setup::disk()).await;
    scene.agree(&file("zip"), "zip", 200).await;
}

pub(super) async fn miss_follower(trial: &Trial) {
    let scene = with_module(trial, Setup::disk()).await;
    let (world, path, gate) = (&scene.world, file("mod"), Gate::default());
    world.upstream.fault(path.as_str(), Fault::Gate(gate.clone()));
    let before = scene.before("mod").await;
    let leads = world.get(&path);
    let follows = async {
        world.until("upstream is asked", || world.asked(&path) == 1).await;
        world.request(Method::GET, &path, &[("x-request-id", "follows")]).await
    };
    let opens = async {
        until("both wait", async || {
            let metrics = world.metrics().await;
            let calls = metrics.metric("dipylon_layer_active_calls");
            calls.label("layer", "single_flight").sum() == 2.0
        })
        .await;
        gate.open();
    };
    let (leader, follower, ()) = tokio::join!(leads, follows, opens);
    assert_eq!((leader.status.as_u16(), world.asked(&path)), (200, 1));
    assert_eq!(crate::world::outcome(&leader), "miss_leader");
    scene.agrees(&before, "follows", Some(&follower)).await;
}

fn at_a_store(store: &RawUpstream) -> Setup {
    impatient()
        .env("ATHENS_STORAGE_TYPE", "external")
        .env("ATHENS_EXTERNAL_STORAGE_URL", &store.url)
}

pub(super) async fn miss_degraded(trial: &Trial) {
    let store = saying("503 Service Unavailable").await;
    let scene = with_module(trial, at_a_store(&store)).await;
    scene.agree(&file("info"), "info", 200).await;
    assert!(store.connections() >= 1);
}

pub(super) async fn negative(trial: &Trial) {
    let scene = trial.start(Setup::disk()).await;
    scene.world.get_refused(&file("info"), 404, &[]).await;
    let asked = scene.world.module_requests();
    scene.agree(&file("info"), "info", 404).await;
    assert_eq!(scene.world.module_requests(), asked);
}

pub(super) async fn deny_filter(trial: &Trial) {
    let setup = Setup::disk()
        .env("ATHENS_FILTER_FILE", "{folder}/filter")
        .with_file("filter", &format!("- {MODULE}\n"));
    let scene = with_module(trial, setup).await;
    scene.agree(&file("info"), "info", 403).await;
    scene.agree(&list(), "list", 403).await;
    assert_eq!(scene.world.upstream.total(), 0);
}

async fn behind_a_hook(trial: &Trial, says: &str, status: u16) {
    let hook = saying(says).await;
    let setup = Setup::disk().env("ATHENS_PROXY_VALIDATOR", &hook.url);
    let scene = with_module(trial, setup).await;
    scene.agree(&file("info"), "info", status).await;
    assert!(hook.connections() >= 1);
    assert_eq!(scene.world.module_requests(), 0);
}

pub(super) async fn deny_validator(trial: &Trial) {
    behind_a_hook(trial, "403 Forbidden", 403).await;
}

pub(super) async fn validator_failed(trial: &Trial) {
    behind_a_hook(trial, "500 Internal Server Error", 503).await;
}

pub(super) async fn deny_auth(trial: &Trial) {
    let setup =
        Setup::disk().env("BASIC_AUTH_USER", "gopher").env("BASIC_AUTH_PASS", "secret-pass");
    let mut scene = with_module(trial, setup).await;
    scene.credentials = Some("Basic Z29waGVyOnNlY3JldC1wYXNz");
    let before = scene.before("unknown").await;
    let headers = [("x-request-id", "wrong"), ("authorization", "Basic Z29waGVyOndyb25n")];
    let refused = scene.world.request(Method::GET, &file("info"), &headers).await;
    assert_eq!(refused.status, 401);
    scene.agrees(&before, "wrong", Some(&refused)).await;
    assert_eq!(scene.world.upstream.total(), 0);
    let scene = trial.start(Setup::disk()).await;
    scene.agree_on(Method::POST, "/-/purge", "admin", 403).await;
}

pub(super) async fn deny_private(trial: &Trial) {
    let scene = trial.start(Setup::disk().env("ATHENS_GONOSUM_PATTERNS", "example.com/private"));
    let scene = scene.await;
    let path = format!("/sumdb/{DATABASE}/lookup/example.com/private@v1.0.0");
    scene.agree(&path, "sumdb", 403).await;
    assert_eq!(scene.world.upstream.total(), 0);
}

pub(super) async fn limited(trial: &Trial) {
    let setup = Setup::disk()
        .env("DIPYLON_RATE_LIMIT_REQUESTS_PER_SECOND", "1")
        .env("DIPYLON_RATE_LIMIT_BURST", "1");
    let scene = with_module(trial, setup).await;
    let before = scene.before("unknown").await;
    // Directly after one that was served there is room for none, so a slow machine only needs more of them.
    for number in 0.. {
        let id = format!("limited-{number}");
        let answer =
            scene.world.request(Method::GET, &list(), &[("x-request-id", id.as_str())]).await;
        if answer.status == 429 {
            scene.agrees(&before, &id, Some(&answer)).await;
            return;
        }
        assert!(answer.status == 200 && number < 100, "{}", answer.text());
    }
}

pub(super) async fn shed(trial: &Trial) {
    let scene = trial.start(Setup::disk().env("DIPYLON_MAX_SPOOL_BYTES", "1048576")).await;
    scene.world.add(large(2 * 1024 * 1024));
    scene.agree(&file("zip"), "zip", 503).await;
}

async fn in_the_mode<'a>(trial: &'a Trial, mode: &str, status: u16) -> Scene<'a> {
    let setup = Setup::disk()
        .env("ATHENS_DOWNLOAD_MODE", mode)
        .env("ATHENS_DOWNLOAD_URL", "http://objects.test");
    let scene = with_module(trial, setup).await;
    scene.world.upstream.fault(When::any(), Fault::Delay(Duration::from_millis(200)));
    scene.agree(&file("zip"), "zip", status).await;
    scene
}

pub(super) async fn redirected(trial: &Trial) {
    in_the_mode(trial, "redirect", 302).await;
    in_the_mode(trial, "async_redirect", 302).await;
}

pub(super) async fn async_accepted(trial: &Trial) {
    let scene = in_the_mode(trial, "async", 404).await;
    let version = "v1.2.4";
    scene.world.add(FakeModule::new(MODULE, version));
    scene.world.upstream.query(MODULE, "master", version);
    scene.agree(&path_of(MODULE, "master", "info"), "info", 404).await;
}

pub(super) async fn not_stored(trial: &Trial) {
    in_the_mode(trial, "none", 404).await;
}

/// Each fault for a version of its own.
async fn upstream_fails(trial: &Trial, faults: &[Fault], status: u16) {
    let scene = trial.start(impatient()).await;
    for (patch, fault) in faults.iter().enumerate() {
        let version = format!("v1.0.{patch}");
        scene.world.add(FakeModule::new(MODULE, &version));
        let path = path_of(MODULE, &version, "info");
        scene.world.upstream.fault(path.as_str(), fault.clone());
        scene.agree(&path, "info", status).await;
    }
}

pub(super) async fn upstream_not_found(trial: &Trial) {
    upstream_fails(trial, &[text(404), text(410)], 404).await;
    // What was asked before `direct` might have it.
    let folder = TempDir::with_prefix("dipylon-test-").expect("a temporary folder");
    let go = folder.path().join("go");
    std::fs::write(&go, GO_FINDS_NOTHING).expect("a file for the script");
    std::fs::set_permissions(&go, Permissions::from_mode(0o755)).expect("it is ours");
    let setup = impatient()
        .env("GOPROXY", &format!("{NOBODY}|direct"))
        .env("GO_BINARY_PATH", &go.display().to_string());
    let scene = trial.start(setup).await;
    scene.agree(&file("info"), "info", 404).await;
}

pub(super) async fn upstream_refused(trial: &Trial) {
    upstream_fails(trial, &[text(401), text(403)], 403).await;
}

pub(super) async fn upstream_throttled(trial: &Trial) {
    let scene = with_module(trial, impatient()).await;
    scene.world.upstream.fault(file("info").as_str(), Fault::RetryAfter(429, 60));
    scene.agree(&file("info"), "info", 429).await;
    let asked = scene.world.module_requests();
    scene.agree(&file("mod"), "mod", 503).await;
    assert_eq!(scene.world.module_requests(), asked, "it is left alone");
}

pub(super) async fn upstream_timeout(trial: &Trial) {
    upstream_fails(trial, &[Fault::HangBeforeHeaders], 504).await;
}

pub(super) async fn upstream_error(trial: &Trial) {
    upstream_fails(trial, &[text(500), text(418), Fault::Reset], 502).await;
}

pub(super) async fn upstream_unavailable(trial: &Trial) {
    let scene = trial.start(impatient()).await;
    scene.world.upstream.fault(When::any(), sick());
    assert_eq!(UPSTREAM_FAILURES_TO_OPEN, 10, "the table says how many");
    for patch in 0..UPSTREAM_FAILURES_TO_OPEN {
        let path = path_of(MODULE, &format!("v1.0.{patch}"), "info");
        scene.world.get_refused(&path, 502, &["the upstream is sick"]).await;
    }
    let asked = scene.world.module_requests();
    scene.agree(&file("info"), "info", 503).await;
    assert_eq!(scene.world.module_requests(), asked);
}

pub(super) async fn upstream_bad_content(trial: &Trial) {
    upstream_fails(trial, &[Fault::HtmlLogin, Fault::WrongVersion], 502).await;
}

pub(super) async fn no_upstream(trial: &Trial) {
    let setup = Setup::disk()
        .env("GOPROXY", "")
        .env("PATH", "{folder}/there-are-no-programs")
        .env("GO_BINARY_PATH", "go");
    let scene = trial.start(setup).await;
    scene.agree(&file("info"), "info", 503).await;
}

pub(super) async fn checksum_mismatch(trial: &Trial) {
    let scene = with_module(trial, Setup::disk()).await;
    let other = FakeModule::new("example.com/x", VERSION).h1();
    scene.world.database.lie(MODULE, VERSION, &other);
    scene.agree(&file("zip"), "zip", 403).await;
}

pub(super) async fn checksum_unavailable(trial: &Trial) {
    let scene = with_module(trial, Setup::disk()).await;
    scene.world.database.down(true);
    scene.agree(&file("mod"), "mod", 503).await;
}

pub(super) async fn storage_error(trial: &Trial) {
    let scene = trial.start(impatient()).await;
    // As an unmounted volume leaves it: an empty folder, which must not pass for an empty store.
    std::fs::remove_dir_all(scene.world.root().join(".dipylon")).expect("our folder is there");
    scene.agree(&file("info"), "info", 500).await;
}

pub(super) async fn storage_unavailable(trial: &Trial) {
    let store = saying("503 Service Unavailable").await;
    let scene = trial.start(at_a_store(&store)).await;
    scene.agree(&file("info"), "info", 503).await;
    assert!(store.connections() >= 1);
}

pub(super) async fn invalid(trial: &Trial) {
    let scene = trial.start(Setup::disk()).await;
    for (path, route, status) in [
        ("/sumdb/other.test/supported", "sumdb", 404),
        ("/github.com/x/@v/list", "list", 404),
        ("/example.com/Text/@v/list", "unknown", 404),
        ("/nothing", "unknown", 404),
        ("/index?limit=0", "index", 400),
        ("/catalog?pagesize=x", "catalog", 400),
    ] {
        scene.agree(path, route, status).await;
    }
    scene.agree_on(Method::POST, &list(), "unknown", 405).await;
    // A server of Athens's protocol alone, which has no catalogue.
    let store = saying("404 Not Found").await;
    let scene = trial.start(at_a_store(&store)).await;
    scene.agree("/catalog", "catalog", 501).await;
}

pub(super) async fn deadline(trial: &Trial) {
    let scene = with_module(trial, Setup::disk().env("DIPYLON_REQUEST_TIMEOUT", "1")).await;
    let late = Fault::Delay(Duration::from_millis(1_700));
    scene.world.upstream.fault(file("zip").as_str(), late);
    scene.agree(&file("zip"), "zip", 504).await;
}

pub(super) async fn ok(trial: &Trial) {
    let scene = trial.start(Setup::disk()).await;
    scene.agree("/healthz", "admin", 200).await;
    scene.agree(&format!("/sumdb/{DATABASE}/supported"), "sumdb", 200).await;
}

pub(super) async fn internal(trial: &Trial) {
    let setup = Setup::disk()
        .env("ATHENS_ROBOTS_FILE", "{folder}/robots")
        .with_file("robots", &"#".repeat(ROBOTS_BYTES));
    let scene = trial.start(setup).await;
    scene.agree("/robots.txt", "admin", 500).await;
}

pub(super) async fn dropped(trial: &Trial) {
    let scene = with_module(trial, Setup::disk()).await;
    let (world, path, gate) = (&scene.world, file("info"), Gate::default());
    world.upstream.fault(When::any(), Fault::Gate(gate.clone()));
    let before = scene.before("unknown").await;
    let (client, asks) = (world.client(), path.clone());
    let asking = tokio::spawn(async move {
        client.request(Method::GET, &asks, &[("x-request-id", "leaves")], "").await
    });
    world.until("upstream is asked", || world.asked(&path) == 1).await;
    asking.abort();
    world.until("it is logged", || world.logged("\"leaves\"")).await;
    gate.open();
    scene.agrees(&before, "leaves", None).await;
    let metrics = world.metrics().await;
    let active = metrics.metric("dipylon_http_server_active_requests").value();
    assert_eq!(active, Some(1.0), "the one that asks for the count");
}
