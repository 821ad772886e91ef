//! The whole program over a database.

use std::time::Duration;

use dipylon_testkit::gateway::{Builder, Gateway};
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::Upstream;

use crate::bench::{fresh_name, url};

/// The most memory that a transfer of any size may take.
const MAX_PEAK_MIB: u64 = 100;
/// Time for one large transfer; the server that stands for MongoDB here is no fast one.
const TRANSFER_LIMIT: Duration = Duration::from_secs(400);

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
async fn five_modules_are_served_without_an_upstream(settings: &Settings) {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs mongo: run by cargo xtask test"]
async fn mongo_serves_five_modules_without_an_upstream() {
    let settings = vec![
        ("ATHENS_STORAGE_TYPE", "mongo".to_owned()),
        ("ATHENS_MONGO_STORAGE_URL", url()),
        ("ATHENS_MONGO_DEFAULT_DATABASE", fresh_name()),
    ];
    five_modules_are_served_without_an_upstream(&settings).await;
}

/// A zip larger than the program may be, in and out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs mongo: run by cargo xtask test --slow"]
async fn slow_400_mb_on_mongo() {
    let settings = vec![
        ("ATHENS_STORAGE_TYPE", "mongo".to_owned()),
        ("ATHENS_MONGO_STORAGE_URL", url()),
        ("ATHENS_MONGO_DEFAULT_DATABASE", fresh_name()),
    ];
    let upstream = Upstream::start().await;
    let module = FakeModule::new("example.com/huge", "v1.0.0").filler(400 << 20);
    upstream.add(module.clone());
    let gateway = gateway(&settings, &upstream.url()).start().await;
    let client = gateway.client().limit(TRANSFER_LIMIT);
    let want = module.zip();
    assert!(want.len() > 400 << 20);
    let answer = client.get("/example.com/huge/@v/v1.0.0.zip").await;
    assert!(answer.status == 200 && answer.body == want, "from upstream: {}", gateway.stderr());
    drop(answer);
    let began = std::time::Instant::now();
    // A HEAD of what is stored costs no bytes; of a miss it would be another fetch's.
    loop {
        let head = client.head("/example.com/huge/@v/v1.0.0.zip").await;
        if head.header("cache-status").is_some_and(|status| status.contains("hit_storage")) {
            break;
        }
        assert!(began.elapsed() < TRANSFER_LIMIT, "not stored: {}", gateway.stderr());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let answer = client.get("/example.com/huge/@v/v1.0.0.zip").await;
    assert!(answer.status == 200 && answer.body == want, "from the store: {}", gateway.stderr());
    let peak_mib = peak_kib(gateway.pid()) >> 10;
    println!("peak resident memory: {peak_mib} MiB");
    assert!(peak_mib < MAX_PEAK_MIB, "{peak_mib} MiB");
    assert_eq!(upstream.count("/example.com/huge/@v/v1.0.0.zip"), 1, "fetched once");
}

/// The most memory that a process ever had, as the kernel counts it.
fn peak_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}
