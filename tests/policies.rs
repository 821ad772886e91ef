//! What the operator allows, seen from outside: the real program with a filter file, a validator hook,
//! credentials, `ForceSSL` and a download mode file.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use dipylon_testkit::gateway::{Builder, Gateway};
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::{Fault, Upstream, When};
use tempfile::TempDir;

const LIST: &str = "/example.com/a/@v/list";
const INFO: &str = "/example.com/a/@v/v1.0.0.info";
const ZIP: &str = "/example.com/a/@v/v1.0.0.zip";

async fn upstream() -> Upstream {
    let upstream = Upstream::start().await;
    for (path, version) in [
        ("example.com/a", "v1.0.0"),
        ("example.com/a", "v1.1.0"),
        ("example.com/b", "v1.0.0"),
        ("example.com/none/x", "v1.0.0"),
        ("example.com/async/x", "v1.0.0"),
    ] {
        upstream.add(FakeModule::new(path, version));
    }
    upstream.query("example.com/a", "main", "v1.1.0");
    upstream
}

fn gateway(upstream: &Upstream) -> Builder {
    Gateway::builder(env!("CARGO_BIN_EXE_dipylon"))
        .env("GOPROXY", &upstream.url())
        .env("GOSUMDB", "off")
}

/// A file with this text, kept as long as the folder.
fn file(name: &str, text: &str) -> (TempDir, String) {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join(name);
    std::fs::write(&path, text).expect("written");
    let path = path.to_str().expect("UTF-8").to_owned();
    (folder, path)
}

async fn served(gateway: &Gateway, outcome: &str) -> f64 {
    let metrics = gateway.metrics().await;
    let requests = metrics.metric("dipylon_http_server_requests_total");
    requests.label("outcome", outcome).sum()
}

// === The filter file ===

#[tokio::test]
async fn excluded_modules_are_refused_and_direct_ones_sent_elsewhere() {
    let upstream = upstream().await;
    let (_folder, path) = file(
        "filter.conf",
        "# approved\n-\n+ example.com/a v1.0\n\nD\texample.com/b\n- example.com/a/v2 *\n",
    );
    let gateway = gateway(&upstream)
        .env("ATHENS_FILTER_FILE", &path)
        .env("ATHENS_GLOBAL_ENDPOINT", "https://global.example/")
        .env("ATHENS_PATH_PREFIX", "/p")
        .ready_path("/p/healthz")
        .start()
        .await;
    assert_eq!(gateway.get(&format!("/p{INFO}")).await.status, 200);
    assert_eq!(gateway.get(&format!("/p{LIST}")).await.status, 200);

    let refused = gateway.get("/p/example.com/a/@v/v1.1.0.zip").await;
    assert_eq!(refused.status, 403);
    assert!(refused.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")));
    assert!(refused.text().contains("example.com/a@v1.1.0 is excluded"), "{}", refused.text());
    assert_eq!(gateway.get("/p/example.com/c/@v/list").await.status, 403);
    assert_eq!(gateway.get("/p/example.com/a/@v/main.info").await.status, 403);
    assert_eq!(upstream.count("/example.com/a/@v/v1.1.0.zip"), 0);
    assert!(served(&gateway, "deny_filter").await >= 3.0);

    for tail in ["/example.com/b/@v/v1.0.0.zip", "/example.com/b/@latest"] {
        let direct = gateway.get(&format!("/p{tail}")).await;
        assert_eq!(direct.status, 303);
        assert_eq!(direct.header("location"), Some(&*format!("https://global.example{tail}")));
        assert_eq!(direct.header("cache-control"), Some("no-store"));
    }
}

#[tokio::test]
async fn a_filter_file_that_cannot_be_used_ends_the_start() {
    let upstream = upstream().await;
    let (_folder, path) = file("filter.conf", "-\nE example.com/a\n");
    let start = |path: &str| gateway(&upstream).env("ATHENS_FILTER_FILE", path).try_start();
    let why = start(&path).await.unwrap_err();
    assert!(why.contains(&format!("FilterFile {path}:2: no rule begins with \"E\"")), "{why}");
    let why = start("/nonexistent/filter.conf").await.unwrap_err();
    assert!(why.contains("/nonexistent/filter.conf: cannot be read"), "{why}");
}

// === The validator hook ===

#[tokio::test]
async fn the_validator_decides_on_every_request_hits_included() {
    let (upstream, hook) = (upstream().await, Upstream::start().await);
    let url = format!("{}/check", hook.url());
    let gateway = gateway(&upstream).env("ATHENS_PROXY_VALIDATOR", &url).start().await;
    let says = |status, body: &'static str| {
        hook.clear_faults();
        hook.fault(When::path("/check"), Fault::Status(status, "text/plain", Bytes::from(body)));
    };

    says(200, "");
    assert_eq!(gateway.get(INFO).await.status, 200);
    assert_eq!(gateway.get(INFO).await.status, 200);
    assert_eq!(gateway.get(LIST).await.status, 200);
    let asked = hook.requests();
    assert_eq!(asked.len(), 2, "each file request, and no list");
    assert!(
        asked.iter().all(|one| one.method == "POST" && one.headers.contains_key("traceparent"))
    );

    says(403, "has a bad licence\nand internals");
    let denied = gateway.get(INFO).await;
    assert_eq!(denied.status, 403);
    assert_eq!(
        denied.text(),
        "example.com/a@v1.0.0 is refused by the gateway's validator: has a bad licence\n"
    );

    says(500, "broken");
    let broken = gateway.get(INFO).await;
    assert_eq!(broken.status, 503, "could not find out");
    assert!(!broken.text().contains(&hook.url()), "{}", broken.text());
    hook.stop();
    assert_eq!(gateway.get(INFO).await.status, 503);
    assert_eq!(served(&gateway, "deny_validator").await, 1.0);
    assert_eq!(served(&gateway, "validator_failed").await, 2.0);
}

// === Credentials ===

#[tokio::test]
async fn credentials_are_needed_for_all_but_health_checks_below_the_prefix() {
    let upstream = upstream().await;
    let gateway = gateway(&upstream)
        .env("BASIC_AUTH_USER", "user")
        .env("BASIC_AUTH_PASS", "hunter2")
        .env("ATHENS_PATH_PREFIX", "/p")
        .ready_path("/p/healthz")
        .start()
        .await;
    for page in ["/", "/p/healthz", "/p/readyz"] {
        assert_eq!(gateway.get(page).await.status, 200, "{page}");
    }
    let list = format!("/p{LIST}");
    for page in [&list, "/p/", "/metrics", "/p/catalog", "/healthz", "/p/nothing"] {
        let refused = gateway.get(page).await;
        assert_eq!(refused.status, 401, "{page}");
        let challenge = refused.header("www-authenticate").unwrap_or_default();
        assert_eq!(challenge, "Basic realm=\"basic auth required\"", "{page}");
    }
    let pair = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
    let with = |pair: String| gateway.client().header("authorization", &pair);
    assert_eq!(with(pair("user:wrong")).get(&list).await.status, 401);
    assert_eq!(with(pair("user:hunter2")).get(&list).await.status, 200);
    assert_eq!(with(pair("user:hunter2")).get("/metrics").await.status, 200);
    let printed = gateway.stdout() + &gateway.stderr();
    assert!(!printed.contains("hunter2") && !printed.contains(&pair("user:hunter2")), "{printed}");
}

#[tokio::test]
async fn plain_requests_are_sent_to_https_where_that_is_forced() {
    let upstream = upstream().await;
    let gateway = gateway(&upstream)
        .env("PROXY_FORCE_SSL", "true")
        .env("BASIC_AUTH_USER", "user")
        .env("BASIC_AUTH_PASS", "hunter2")
        .start()
        .await;
    let plain = gateway.get("/example.com/a/@v/list?x=%20").await;
    assert_eq!(plain.status, 301);
    let wanted = format!("https://{}/example.com/a/@v/list?x=%20", gateway.address());
    assert_eq!(plain.header("location"), Some(&*wanted));
    assert_eq!(plain.header("www-authenticate"), None);
    let proxied = gateway.client().header("x-forwarded-proto", "https");
    assert_eq!(proxied.get(LIST).await.status, 401);
    assert_eq!(gateway.get("/healthz").await.status, 200);
    let evil = gateway.client().header("host", "evil.example/x");
    assert_eq!(evil.get(LIST).await.status, 400);
}

// === The download mode file ===

const HCL: &str = "
downloadURL = \"https://other.example/base/\"
mode        = \"redirect\"

download \"example.com/a\" {
  mode = \"sync\"
}
download \"example.com/none/*\" { mode = \"none\" }
download \"example.com/async/*\" { mode = \"async\" }
";

#[tokio::test]
async fn the_mode_of_a_miss_is_that_of_its_pattern() {
    let upstream = upstream().await;
    let (_folder, path) = file("mode.hcl", HCL);
    let custom = format!("custom:{}", STANDARD.encode(HCL));
    for mode in [format!("file:{path}"), custom] {
        let gateway = gateway(&upstream).env("ATHENS_DOWNLOAD_MODE", &mode).start().await;
        assert_eq!(gateway.get(ZIP).await.status, 200);
        assert_eq!(gateway.get("/example.com/none/x/@v/v1.0.0.mod").await.status, 404);
        let redirected = gateway.get("/example.com/b/@v/v1.0.0.mod").await;
        assert_eq!(redirected.status, 302);
        let wanted = "https://other.example/base/example.com/b/@v/v1.0.0.mod";
        assert_eq!(redirected.header("location"), Some(wanted));
        let later = "/example.com/async/x/@v/v1.0.0.info";
        assert_eq!(gateway.get(later).await.status, 404);
        let mut tries = 0;
        while gateway.get(later).await.status != 200 {
            tries += 1;
            assert!(tries < 500, "the background fetch never ends");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
    assert_eq!(upstream.count("/example.com/none/x/@v/v1.0.0.mod"), 0);
    assert_eq!(upstream.count("/example.com/b/@v/v1.0.0.mod"), 0);
}

#[tokio::test]
async fn a_download_mode_file_that_cannot_be_used_ends_the_start() {
    let upstream = upstream().await;
    let (_folder, path) = file("mode.hcl", "downloadURL = \"\"\nmode = \"asynk\"\n");
    let start = |mode: String| gateway(&upstream).env("ATHENS_DOWNLOAD_MODE", &mode).try_start();
    let why = start(format!("file:{path}")).await.unwrap_err();
    assert!(why.contains(&format!("{path}:2:8: \"asynk\" is no mode")), "{why}");
    let why = start(format!("custom:{}", STANDARD.encode("mode = 5"))).await.unwrap_err();
    assert!(why.contains("DownloadMode:1:8: mode is a number"), "{why}");
}

#[tokio::test]
async fn a_strict_gateway_refuses_what_athens_would_refuse_in_the_file() {
    let upstream = upstream().await;
    let ours =
        format!("{HCL}\ndownload \"git.corp\" {{\n  mode = \"sync\"\n  list = \"storage\"\n}}\n");
    let (_folder, path) = file("mode.hcl", &ours);
    let mode = format!("file:{path}");
    let start = |strict| {
        let gateway = gateway(&upstream).env("ATHENS_DOWNLOAD_MODE", &mode);
        gateway.env("DIPYLON_STRICT_DOWNLOAD_FILE", strict).try_start()
    };
    let why = start("true").await.unwrap_err();
    let line = ours.lines().position(|line| line.contains("list =")).unwrap() + 1;
    assert!(why.contains(&format!("{path}:{line}:3: list is not Athens's")), "{why}");
    assert!(start("false").await.is_ok());
    std::fs::write(&path, HCL).unwrap();
    assert!(start("true").await.is_ok(), "Athens's own is taken");
}

#[tokio::test]
async fn a_redirect_to_the_gateway_itself_ends_the_start() {
    let upstream = upstream().await;
    let own = gateway(&upstream).start().await;
    let port = own.address().port();
    drop(own);
    for (name, value) in
        [("ATHENS_PORT", format!("127.0.0.1:{port}")), ("ATHENS_PORT", format!(":{port}"))]
    {
        let url = format!("http://localhost:{port}/go");
        let start = gateway(&upstream).env(name, &value).env("ATHENS_DOWNLOAD_MODE", "redirect");
        let why = start.env("ATHENS_DOWNLOAD_URL", &url).try_start().await.unwrap_err();
        assert!(why.contains("DownloadURL is this gateway itself"), "{value}: {why}");
    }
}

// === Credential files ===

#[tokio::test]
async fn credential_files_are_in_the_home_directory_before_anything_is_fetched() {
    use std::os::unix::fs::PermissionsExt as _;
    let upstream = upstream().await;
    let (_folder, hgrc) = file(".hgrc", "[auth]\n");
    let gateway = gateway(&upstream)
        .env("ATHENS_GITHUB_TOKEN", "hunter2")
        .env("ATHENS_HGRC_PATH", &hgrc)
        .start()
        .await;
    for (name, text) in [(".netrc", "machine github.com login hunter2\n"), (".hgrc", "[auth]\n")] {
        let path = gateway.folder().join(name);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert!(!(gateway.stdout() + &gateway.stderr()).contains("hunter2"));
    let missing = self::gateway(&upstream).env("ATHENS_NETRC_PATH", "/nonexistent/netrc");
    let why = missing.try_start().await.unwrap_err();
    assert!(why.contains("NETRCPath: /nonexistent/netrc: cannot be read"), "{why}");
}
