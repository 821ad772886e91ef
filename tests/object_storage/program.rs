//! The whole program over an object store.

use std::time::Duration;

use dipylon_protocol::route::FileKind;
use dipylon_testkit::gateway::{Builder, Gateway};
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::Upstream;

use crate::bench::{Bench, names};
use crate::{azureblob, gcp, minio, s3};

/// The most memory that a transfer of any size may take.
const MAX_PEAK_MIB: u64 = 100;
/// Time for one large transfer.
const TRANSFER_LIMIT: Duration = Duration::from_secs(180);

/// Settings of a storage type, as variables.
type Settings = Vec<(&'static str, String)>;

fn gateway(settings: &Settings, upstream: &str) -> Builder {
    let mut builder = Gateway::builder(env!("CARGO_BIN_EXE_dipylon"))
        .env("GOPROXY", upstream)
        .env("GOSUMDB", "off")
        .env("GO_BINARY_PATH", "no-go-command")
        .env("ATHENS_LOG_LEVEL", "info");
    for (name, value) in settings {
        builder = builder.env(name, value);
    }
    builder
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

fn escaped(path: &str) -> String {
    path.chars()
        .flat_map(|c| match c.is_ascii_uppercase() {
            true => vec!['!', c.to_ascii_lowercase()],
            false => vec![c],
        })
        .collect()
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

/// Five modules come through a gateway into the store; another gateway, which knows no upstream, serves
/// them from there, byte for byte.
async fn five_modules_are_served_without_an_upstream(bench: Bench) {
    let settings = &bench.settings;
    let upstream = Upstream::start().await;
    for module in five() {
        upstream.add(module);
    }
    let mut first = gateway(settings, &upstream.url()).start().await;
    let mut fetched = Vec::new();
    for module in &five() {
        fetched.push(files(&first, module).await);
    }
    assert!(first.terminate().await.success(), "{}", first.stderr());
    upstream.stop();

    let second = gateway(settings, "off").env("ATHENS_NETWORK_MODE", "offline").start().await;
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
    let catalog = second.get("/catalog").await;
    for module in five() {
        assert!(catalog.text().contains(module.path()), "{}", catalog.text());
    }
    assert_eq!(second.get("/readyz").await.status, 200);
}

/// A zip larger than the program may be, in and out.
async fn a_zip_of_400_mb_goes_through_in_bounded_memory(bench: Bench) {
    let upstream = Upstream::start().await;
    let module = FakeModule::new("example.com/huge", "v1.0.0").filler(400 << 20);
    upstream.add(module.clone());
    let gateway = gateway(&bench.settings, &upstream.url()).start().await;
    let path = "/example.com/huge/@v/v1.0.0.zip";
    let want = module.zip();
    assert!(want.len() > 400 << 20);
    let client = gateway.client().limit(TRANSFER_LIMIT);
    for round in ["from upstream", "from the store"] {
        let answer = client.get(path).await;
        assert_eq!(answer.status, 200, "{round}: {}", gateway.stderr());
        assert!(answer.body == want, "{round}: {} bytes", answer.body.len());
        wait_until_stored(&bench).await;
    }
    let peak_mib = peak_kib(gateway.pid()) >> 10;
    println!("peak resident memory: {peak_mib} MiB");
    assert!(peak_mib < MAX_PEAK_MIB, "{peak_mib} MiB");
    let hit = client.get(path).await;
    assert!(hit.header("cache-status").unwrap_or("").contains("hit"), "{:?}", hit.headers);
}

/// The save goes on behind the answer.
async fn wait_until_stored(bench: &Bench) {
    let (module, version) = names(&FakeModule::new("example.com/huge", "v1.0.0"));
    for _ in 0..TRANSFER_LIMIT.as_secs() * 10 {
        if bench.storage().read(&module, &version, FileKind::Mod).await.unwrap().is_some() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the version is not stored within {TRANSFER_LIMIT:?}");
}

/// The most memory that a process ever had, as the kernel counts it.
pub(crate) fn peak_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}

on_every_kind!(five_modules_are_served_without_an_upstream);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs minio: run by cargo xtask test --slow"]
async fn slow_400_mb_on_minio() {
    a_zip_of_400_mb_goes_through_in_bounded_memory(minio::bench().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs versitygw: run by cargo xtask test --slow"]
async fn slow_400_mb_on_s3() {
    let bench = s3::bench("DIPYLON_TEST_VERSITYGW").await;
    a_zip_of_400_mb_goes_through_in_bounded_memory(bench).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs gcs: run by cargo xtask test --slow"]
async fn slow_400_mb_on_gcp() {
    a_zip_of_400_mb_goes_through_in_bounded_memory(gcp::bench().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs azurite: run by cargo xtask test --slow"]
async fn slow_400_mb_on_azureblob() {
    a_zip_of_400_mb_goes_through_in_bounded_memory(azureblob::bench().await).await;
}
