//! What the whole program must do over every kind of store, as a suite says where the store is.
//!
//! ```ignore
//! let store = StoreProgram::new(env!("CARGO_BIN_EXE_dipylon"), settings).secret("hush-hush");
//! let gateway = store.serves_five_modules_without_an_upstream().await;
//! storage_program::assert_catalogued(&gateway).await;
//! ```

use std::time::{Duration, Instant};

use bytes::Bytes;
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::version::Version;

use crate::client::Client;
use crate::gateway::{Builder, Gateway};
use crate::module::FakeModule;
use crate::upstream::Upstream;

/// The most memory that the program may have had resident, whatever went through it.
pub const MAX_PEAK_MIB: u64 = 100;
/// Bytes of the large zip, and some: more than the program may be.
const LARGE_BYTES: usize = 400 << 20;
/// The pause between two looks at whether it is stored.
const PAUSE: Duration = Duration::from_millis(500);
/// Pages that one catalogue may have, so that a token that leads nowhere ends the test.
const MAX_PAGES: usize = 10_000;

/// The program, and the variables that lead it to one store.
#[derive(Clone, Debug)]
pub struct StoreProgram {
    program: String,
    settings: Vec<(&'static str, String)>,
    secrets: Vec<String>,
}

impl StoreProgram {
    /// `program` is `env!("CARGO_BIN_EXE_dipylon")`.
    pub fn new(program: &str, settings: Vec<(&'static str, String)>) -> Self {
        Self { program: program.to_owned(), settings, secrets: Vec::new() }
    }

    /// A word of the settings that the program must never print.
    #[must_use]
    pub fn secret(mut self, secret: &str) -> Self {
        self.secrets.push(secret.to_owned());
        self
    }

    /// A gateway over the store, which fetches from `upstream`.
    pub fn gateway(&self, upstream: &str) -> Builder {
        let builder = Gateway::builder(&self.program)
            .env("GOPROXY", upstream)
            .env("GOSUMDB", "off")
            .env("GO_BINARY_PATH", "no-go-command")
            .env("ATHENS_LOG_LEVEL", "info");
        let settings = self.settings.iter();
        settings.fold(builder, |builder, (name, value)| builder.env(name, value))
    }

    /// A gateway over the store that knows no upstream.
    pub fn offline(&self) -> Builder {
        self.gateway("off").env("ATHENS_NETWORK_MODE", "offline")
    }

    /// Five modules come through a gateway into the store; another gateway, which knows no upstream,
    /// serves them from there: every file byte for byte, list and latest of each. Returns the second gateway.
    ///
    /// # Panics
    /// Where it is not so, or a secret was printed.
    pub async fn serves_five_modules_without_an_upstream(&self) -> Gateway {
        let upstream = Upstream::start().await;
        five_modules().into_iter().for_each(|module| upstream.add(module));
        let mut first = self.gateway(&upstream.url()).start().await;
        for module in five_modules() {
            assert_served(&first, &module).await;
        }
        assert!(first.terminate().await.success(), "{}", first.stderr());
        self.assert_discreet(&first);
        upstream.stop();

        let second = self.offline().start().await;
        for module in five_modules() {
            assert_served(&second, &module).await;
        }
        for (path, versions, latest) in LISTED {
            let list = second.get(&format!("/{path}/@v/list")).await;
            assert_eq!(list.text().lines().collect::<Vec<_>>(), *versions, "{path}");
            let answer = second.get(&format!("/{path}/@latest")).await;
            let told = format!("\"{latest}\"");
            assert!(answer.status == 200 && answer.text().contains(&told), "{}", answer.text());
        }
        let ready = second.get("/readyz").await;
        assert_eq!(ready.status, 200, "{}", ready.text());
        self.assert_discreet(&second);
        second
    }

    /// A zip larger than the program may be comes through it into the store, and out of the store again:
    /// right, fetched once, and with [`MAX_PEAK_MIB`] resident at most. Each transfer, and the save behind
    /// the first, may take `limit`. Returns the gateway.
    ///
    /// # Panics
    /// Where it is not so.
    pub async fn takes_and_gives_400_mb(&self, limit: Duration) -> Gateway {
        let upstream = Upstream::start().await;
        let module = FakeModule::new("example.com/huge", "v1.0.0").filler(LARGE_BYTES);
        upstream.add(module.clone());
        let want = module.zip();
        assert!(want.len() > LARGE_BYTES);
        let gateway = self.gateway(&upstream.url()).start().await;
        let (client, path) = (gateway.client().limit(limit), file_path(&module, "zip"));

        let fetched = client.get(&path).await;
        assert_eq!(fetched.status, 200, "from upstream: {}", gateway.stderr());
        assert!(fetched.body == want, "from upstream: {} bytes", fetched.body.len());
        drop(fetched);
        until_hit(&gateway, &client, &path, limit).await;
        let stored = client.get(&path).await;
        assert_eq!(stored.status, 200, "from the store: {}", gateway.stderr());
        assert!(stored.body == want, "from the store: {} bytes", stored.body.len());
        assert!(is_hit(stored.header("cache-status")), "{:?}", stored.headers);
        assert_eq!(upstream.count(&path), 1, "it is fetched once");
        assert_small("the gateway", &gateway);
        gateway
    }

    /// A gateway that knows no upstream lists the versions of `module` twice, and hands out as many
    /// entries of the catalogue, in pages of at most `page`: these versions, each once, and with
    /// [`MAX_PEAK_MIB`] resident at most. One list or page may take `limit`.
    ///
    /// # Panics
    /// Where it is not so.
    pub async fn lists_and_walks(
        &self,
        module: &str,
        mut versions: Vec<String>,
        page: usize,
        limit: Duration,
    ) {
        versions.sort_unstable();
        let gateway = self.offline().start().await;
        let client = gateway.client().limit(limit);
        for round in ["first", "second"] {
            let began = Instant::now();
            let list = client.get(&format!("/{module}/@v/list")).await;
            assert_eq!(list.status, 200, "{}\n{}", list.text(), gateway.stderr());
            let mut listed: Vec<&str> = list.text().lines().collect();
            listed.sort_unstable();
            assert!(listed == versions, "{} versions", listed.len());
            println!("the {round} list took {:?}", began.elapsed());
        }
        let began = Instant::now();
        let mut walked = walk(&client, page).await;
        walked.sort_unstable();
        assert!(walked == versions, "{} entries", walked.len());
        println!("walked in {:?}", began.elapsed());
        assert_small("the gateway", &gateway);
    }

    fn assert_discreet(&self, gateway: &Gateway) {
        let said = gateway.stdout() + &gateway.stderr();
        for secret in &self.secrets {
            assert!(!said.contains(secret), "a secret is in the log:\n{said}");
        }
    }
}

/// What is listed of [`five_modules`], escaped, and the latest: offline, a list has a
/// pseudo-version where there is nothing else.
const LISTED: &[(&str, &[&str], &str)] = &[
    ("example.com/one", &["v1.0.0", "v1.1.0"], "v1.1.0"),
    ("github.com/!azure/!two", &["v2.0.0+incompatible"], "v2.0.0+incompatible"),
    ("example.com/three/v3", &["v3.1.4"], "v3.1.4"),
    (
        "example.com/four",
        &["v0.0.0-20240102030405-abcdefabcdef"],
        "v0.0.0-20240102030405-abcdefabcdef",
    ),
    ("example.com/five", &["v0.1.0-rc.1"], "v0.1.0-rc.1"),
];

/// Five modules whose names and sizes are of every sort: two versions of one, an incompatible one without a
/// go.mod, capitals, a major version in the path, a pseudo-version, a pre-release, a zip that is read in parts.
pub fn five_modules() -> Vec<FakeModule> {
    vec![
        FakeModule::new("example.com/one", "v1.0.0"),
        FakeModule::new("example.com/one", "v1.1.0").filler(100_000),
        FakeModule::new("github.com/Azure/Two", "v2.0.0+incompatible").no_go_mod(),
        FakeModule::new("example.com/three/v3", "v3.1.4").filler(20 << 20),
        FakeModule::new("example.com/four", "v0.0.0-20240102030405-abcdefabcdef"),
        FakeModule::new("example.com/five", "v0.1.0-rc.1"),
    ]
}

/// Where a proxy has the `info`, `mod` or `zip` of a version.
///
/// # Panics
/// When its names are not valid.
pub fn file_path(module: &FakeModule, suffix: &str) -> String {
    let path = ModulePath::parse(module.path()).expect("a module path");
    let version = Version::parse(module.version()).expect("a version");
    format!("/{}/@v/{}.{suffix}", path.escaped(), version.escaped())
}

/// The bytes of the `info`, `mod` or `zip` of a version.
pub fn file_bytes(module: &FakeModule, suffix: &str) -> Bytes {
    match suffix {
        "info" => module.info().into(),
        "mod" => module.go_mod_bytes(),
        _ => module.zip(),
    }
}

/// The catalogue has each of the [`five_modules`] once, and nothing else.
///
/// # Panics
/// Where it is not so.
pub async fn assert_catalogued(gateway: &Gateway) {
    let catalog = gateway.get("/catalog").await;
    assert_eq!(catalog.status, 200, "{}", catalog.text());
    let catalog: serde_json::Value = serde_json::from_slice(&catalog.body).expect("JSON");
    let name = |entry: &serde_json::Value| {
        let text = |key: &str| entry[key].as_str().expect("a name").to_owned();
        (text("module"), text("version"))
    };
    let mut entries: Vec<_> =
        catalog["modules"].as_array().expect("entries").iter().map(name).collect();
    entries.sort();
    let mut want: Vec<_> = five_modules()
        .iter()
        .map(|module| (module.path().to_owned(), module.version().to_owned()))
        .collect();
    want.sort();
    assert_eq!(entries, want);
}

/// The program never had more than [`MAX_PEAK_MIB`] resident.
///
/// # Panics
/// When it had, or is gone.
pub fn assert_small(name: &str, program: &Gateway) {
    let peak_mib = program.peak_kib() >> 10;
    println!("peak resident memory of {name}: {peak_mib} MiB");
    assert!(peak_mib < MAX_PEAK_MIB, "{name}: {peak_mib} MiB");
}

async fn assert_served(gateway: &Gateway, module: &FakeModule) {
    for suffix in ["info", "mod", "zip"] {
        let path = file_path(module, suffix);
        let answer = gateway.get(&path).await;
        assert_eq!(answer.status, 200, "{path}: {}\n{}", answer.text(), gateway.stderr());
        assert!(answer.body == file_bytes(module, suffix), "{path}: other bytes");
    }
}

/// The save goes on behind the answer. A HEAD of what is stored costs no bytes; of a miss it would be
/// another fetch's.
async fn until_hit(gateway: &Gateway, client: &Client, path: &str, limit: Duration) {
    let began = Instant::now();
    while !is_hit(client.head(path).await.header("cache-status")) {
        assert!(began.elapsed() < limit, "not stored within {limit:?}: {}", gateway.stderr());
        tokio::time::sleep(PAUSE).await;
    }
}

fn is_hit(cache_status: Option<&str>) -> bool {
    cache_status.is_some_and(|status| status.contains("hit_storage"))
}

/// The versions in the catalogue, page by page.
async fn walk(client: &Client, page: usize) -> Vec<String> {
    let (mut walked, mut token) = (Vec::new(), String::new());
    for _ in 0..MAX_PAGES {
        let found = client.get(&format!("/catalog?pagesize={page}&token={token}")).await;
        assert_eq!(found.status, 200, "{}", found.text());
        let found: serde_json::Value = serde_json::from_slice(&found.body).expect("JSON");
        let entries = found["modules"].as_array().expect("entries");
        assert!(entries.len() <= page, "{} entries", entries.len());
        let version = |entry: &serde_json::Value| entry["version"].as_str().map(str::to_owned);
        walked.extend(entries.iter().filter_map(version));
        match found["next"].as_str() {
            Some(next) if !next.is_empty() => token = in_query(next),
            _ => return walked,
        }
    }
    panic!("the catalogue has no end after {MAX_PAGES} pages of {page}");
}

/// A text as the value of a query parameter.
fn in_query(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
