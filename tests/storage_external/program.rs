//! The whole program: `dipylon external-storage` with a disk, and gateways over it.

use std::path::Path;
use std::time::Duration;

use dipylon_testkit::gateway::{Builder, Gateway};
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::Upstream;

use crate::bench::escaped;
use crate::foreign_server::Foreign;

const PROGRAM: &str = env!("CARGO_BIN_EXE_dipylon");
/// The most memory that a transfer of any size may take.
const MAX_PEAK_MIB: u64 = 100;
/// Time for one large transfer.
const TRANSFER_LIMIT: Duration = Duration::from_secs(180);

/// The store as a server: its credentials are those of the gateway's own configuration.
fn store(root: &Path) -> Builder {
    Gateway::builder(PROGRAM)
        .arg("external-storage")
        .env("ATHENS_STORAGE_TYPE", "disk")
        .env("ATHENS_DISK_STORAGE_ROOT", &root.display().to_string())
        .env("BASIC_AUTH_USER", "robot")
        .env("BASIC_AUTH_PASS", "hush-hush")
        .env("ATHENS_LOG_LEVEL", "info")
}

fn gateway(store: &str, upstream: &str) -> Builder {
    Gateway::builder(PROGRAM)
        .env("ATHENS_STORAGE_TYPE", "external")
        .env("ATHENS_EXTERNAL_STORAGE_URL", store)
        .env("GOPROXY", upstream)
        .env("GOSUMDB", "off")
        .env("GO_BINARY_PATH", "no-go-command")
        .env("ATHENS_LOG_LEVEL", "info")
}

fn url_of(store: &Gateway) -> String {
    format!("http://robot:hush-hush@{}", store.address())
}

fn five() -> Vec<FakeModule> {
    vec![
        FakeModule::new("example.com/one", "v1.0.0"),
        FakeModule::new("example.com/one", "v1.1.0").filler(100_000),
        FakeModule::new("github.com/Azure/Two", "v2.0.0+incompatible").no_go_mod(),
        FakeModule::new("example.com/three/v3", "v3.1.4").filler(20 << 20),
        FakeModule::new("example.com/four", "v0.0.0-20240102030405-abcdefabcdef"),
    ]
}

async fn files(gateway: &Gateway, module: &FakeModule) -> Vec<Vec<u8>> {
    let mut files = Vec::new();
    for suffix in ["info", "mod", "zip"] {
        let path = format!("/{}/@v/{}.{suffix}", escaped(module.path()), module.version());
        let answer = gateway.get(&path).await;
        assert_eq!(answer.status, 200, "{path}: {}\n{}", answer.text(), gateway.stderr());
        files.push(answer.body.to_vec());
    }
    files
}

/// Five modules come through a gateway into the store at `url`; another gateway, which knows no upstream,
/// serves them from there, byte for byte. Returns the second gateway.
async fn five_modules_are_served_without_an_upstream(url: &str) -> Gateway {
    let upstream = Upstream::start().await;
    for module in five() {
        upstream.add(module);
    }
    let mut first = gateway(url, &upstream.url()).start().await;
    let mut fetched = Vec::new();
    for module in &five() {
        fetched.push(files(&first, module).await);
    }
    assert!(first.terminate().await.success(), "{}", first.stderr());
    for said in [first.stdout(), first.stderr()] {
        assert!(!said.contains("hush-hush"), "the password is in the log:\n{said}");
    }
    upstream.stop();

    let second = gateway(url, "off").env("ATHENS_NETWORK_MODE", "offline").start().await;
    for (module, fetched) in five().iter().zip(&fetched) {
        assert_eq!(fetched[0], module.info().into_bytes());
        assert_eq!(fetched[1], module.go_mod_bytes());
        assert!(fetched[2] == module.zip(), "{}.zip", module.path());
        assert!(files(&second, module).await == *fetched, "{} from the store", module.path());
    }
    let list = second.get("/example.com/one/@v/list").await;
    assert_eq!(list.text().lines().collect::<Vec<_>>(), ["v1.0.0", "v1.1.0"]);
    let latest = second.get("/example.com/one/@latest").await;
    assert!(latest.text().contains("v1.1.0"), "{}", latest.text());
    assert_eq!(second.get("/readyz").await.status, 200);
    second
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn external_storage_serves_five_modules_to_gateways_without_an_upstream() {
    let root = tempfile::tempdir().unwrap();
    let mut store = store(root.path()).start().await;
    let gateway = five_modules_are_served_without_an_upstream(&url_of(&store)).await;
    let catalog = gateway.get("/catalog").await;
    for module in five() {
        assert!(catalog.text().contains(module.path()), "{}", catalog.text());
        let stored = root.path().join(module.path()).join(module.version()).join("source.zip");
        assert!(std::fs::read(stored).unwrap() == module.zip());
    }
    assert_eq!(store.get("/example.com/one/@v/list").await.status, 401, "it asks for credentials");
    assert!(store.terminate().await.success(), "{}", store.stderr());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_server_serves_five_modules_without_an_upstream_and_has_no_catalogue() {
    let foreign = Foreign::start().await;
    let gateway = five_modules_are_served_without_an_upstream(&foreign.url()).await;
    let catalog = gateway.get("/catalog").await;
    assert_eq!(catalog.status, 501, "{}", catalog.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_goes_down_costs_an_error_and_never_a_false_absence() {
    let root = tempfile::tempdir().unwrap();
    let mut store = store(root.path()).start().await;
    let gateway = gateway(&url_of(&store), "off").env("ATHENS_NETWORK_MODE", "offline");
    let gateway = gateway.start().await;
    assert_eq!(gateway.get("/example.com/one/@v/v1.0.0.mod").await.status, 404);
    store.kill();
    let answer = gateway.get("/example.com/one/@v/v1.1.0.mod").await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.text().contains("external storage cannot read"), "{}", answer.text());
    let ready = gateway.get("/readyz").await;
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("external storage cannot"), "{}", ready.text());
    assert!(!ready.text().contains("hush-hush"), "{}", ready.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn external_storage_listens_where_its_flag_says_and_needs_a_store_of_its_own() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let run = |kind: &str| {
        let mut command = tokio::process::Command::new(PROGRAM);
        command.args(["external-storage", "-listen", &free.to_string()]).env_clear();
        command.env("ATHENS_STORAGE_TYPE", kind).env("ATHENS_EXTERNAL_STORAGE_URL", "http://h");
        command.kill_on_drop(true).stdin(std::process::Stdio::null());
        command
    };
    let refused = run("external").output().await.unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("needs a store of its own"), "{said}");

    let quiet = std::process::Stdio::null;
    let child = run("memory").stdout(quiet()).stderr(quiet()).spawn().unwrap();
    let client = dipylon_testkit::client::Client::new(&format!("http://{free}"));
    for _ in 0..1_000 {
        let asked = client.try_request(http::Method::GET, "/healthz", &[], "").await;
        if asked.is_ok_and(|answer| answer.status == 200) {
            drop(child);
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("nobody listens on {free}");
}

/// A zip larger than the programs may be, in and out: through the gateway, its client, and the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: 400 MB through two programs"]
async fn slow_400_mb_on_external() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path()).start().await;
    let upstream = Upstream::start().await;
    let module = FakeModule::new("example.com/huge", "v1.0.0").filler(400 << 20);
    upstream.add(module.clone());
    let gateway = gateway(&url_of(&store), &upstream.url()).start().await;
    let path = "/example.com/huge/@v/v1.0.0.zip";
    let want = module.zip();
    let stored = root.path().join("example.com/huge/v1.0.0/v1.0.0.info");
    let client = gateway.client().limit(TRANSFER_LIMIT);
    for round in ["from upstream", "from the store"] {
        let answer = client.get(path).await;
        assert_eq!(answer.status, 200, "{round}: {}", gateway.stderr());
        assert!(answer.body == want, "{round}: {} bytes", answer.body.len());
        for _ in 0..TRANSFER_LIMIT.as_secs() * 10 {
            if stored.exists() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(stored.exists(), "not stored within {TRANSFER_LIMIT:?}: {}", gateway.stderr());
    }
    let hit = client.get(path).await;
    assert!(hit.header("cache-status").unwrap_or("").contains("hit"), "{:?}", hit.headers);
    for (name, program) in [("gateway", &gateway), ("external-storage", &store)] {
        let peak_mib = peak_kib(program.pid()) >> 10;
        println!("peak resident memory of {name}: {peak_mib} MiB");
        assert!(peak_mib < MAX_PEAK_MIB, "{name}: {peak_mib} MiB");
    }
}

/// The most memory that a process ever had, as the kernel counts it.
fn peak_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}
