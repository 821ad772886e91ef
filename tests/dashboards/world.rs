//! Two gateways: one that is used and meets every fault, one that is flooded.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dipylon_testkit::checksum_db::ChecksumDb;
use dipylon_testkit::gateway::Gateway;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::services::redis::{PASSWORD, RedisServer};
use dipylon_testkit::upstream::Upstream;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_dipylon");
const DATABASE: &str = "sum.test";
/// A module that the filter file refuses.
pub(crate) const REFUSED: &str = "example.com/refused";
/// A module whose folder in storage leads to itself.
pub(crate) const LOOP: &str = "example.com/loop";
/// The module that is stored from the start.
pub(crate) const LIB: &str = "example.com/lib";

/// `dashboards/`.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards")
}

/// A gateway before an upstream of its own.
pub(crate) struct World {
    pub(crate) upstream: Upstream,
    pub(crate) database: ChecksumDb,
    pub(crate) gateway: Gateway,
    folder: TempDir,
}

impl World {
    /// The gateway that is used: storage on disk, locks that are soon renewed and soon lost, answers
    /// that age within a second, a rate that only who is greedy exceeds.
    pub(crate) async fn used(locks: &RedisServer) -> Self {
        Self::start(&[
            ("ATHENS_SINGLE_FLIGHT_TYPE", "redis"),
            ("ATHENS_REDIS_ENDPOINT", &locks.address().to_string()),
            ("ATHENS_REDIS_PASSWORD", PASSWORD),
            ("ATHENS_REDIS_LOCK_MAX_RETRIES", "2"),
            ("DIPYLON_LOCK_LEASE", "2"),
            ("DIPYLON_LOCK_RENEWAL", "1"),
            ("DIPYLON_FRESH_FOR", "1"),
            ("DIPYLON_STALE_WHILE_REVALIDATE", "1"),
            ("DIPYLON_NEGATIVE_VERSION_TTL", "600"),
            ("DIPYLON_UPSTREAM_ATTEMPTS", "2"),
            ("DIPYLON_UPSTREAM_HEADER_TIMEOUT", "1"),
            ("ATHENS_INDEX_TYPE", "memory"),
            ("DIPYLON_TRUSTED_PROXIES", "127.0.0.1"),
            ("DIPYLON_RATE_LIMIT_REQUESTS_PER_SECOND", "100"),
            ("DIPYLON_RATE_LIMIT_BURST", "200"),
        ])
        .await
    }

    /// The gateway that is flooded: one miss at a time, few connections, an upstream that is silent.
    pub(crate) async fn flooded() -> Self {
        let modes = "downloadURL = \"\"\nmode = \"sync\"\n\
                     download \"example.com/background/*\" {\n  mode = \"async\"\n}\n";
        Self::start(&[
            ("ATHENS_PROTOCOL_WORKERS", "1"),
            ("DIPYLON_MISS_QUEUE_TIMEOUT", "1"),
            ("DIPYLON_MAX_CONNECTIONS", "8"),
            ("ATHENS_LOG_LEVEL", "error"),
            ("ATHENS_DOWNLOAD_MODE", &format!("custom:{}", STANDARD.encode(modes))),
        ])
        .await
    }

    async fn start(variables: &[(&str, &str)]) -> Self {
        let upstream = Upstream::start().await;
        let database = ChecksumDb::new(DATABASE, 1);
        upstream.attach(&database);
        upstream.add(FakeModule::new(LIB, "v1.0.0").filler(50_000));
        let folder = TempDir::with_prefix("dipylon-dashboards-").expect("a temporary folder");
        let root = folder.path().join("storage");
        std::fs::create_dir_all(root.join("example.com")).expect("a folder for the store");
        std::os::unix::fs::symlink("loop", root.join(LOOP)).expect("a link to itself");
        let filter = folder.path().join("filter");
        std::fs::write(&filter, format!("- {REFUSED}\n")).expect("a filter file");
        let mut builder = Gateway::builder(PROGRAM)
            .env("GOPROXY", &upstream.url())
            .env("GOSUMDB", database.verifier_key())
            .env("ATHENS_SUM_DBS", &format!("https://{DATABASE}"))
            .env("ATHENS_STORAGE_TYPE", "disk")
            .env("ATHENS_DISK_STORAGE_ROOT", &root.display().to_string())
            .env("DIPYLON_TIERED_DIRECTORY", &folder.path().join("near").display().to_string())
            .env("ATHENS_FILTER_FILE", &filter.display().to_string())
            .env("ATHENS_LOG_LEVEL", "info")
            .env("GO_BINARY_PATH", "/nonexistent/go");
        for (name, value) in variables {
            builder = builder.env(name, value);
        }
        Self { upstream, database, gateway: builder.start().await, folder }
    }

    /// Takes the near tier's directory away from under the gateway, or gives it back.
    pub(crate) fn take_near(&self, is_taken: bool) {
        let near = self.folder.path().join("near");
        let (there, away) = (near.join("dipylon-near"), near.join("away"));
        let (from, to) = if is_taken { (there, away) } else { (away, there) };
        std::fs::rename(from, to).expect("the near tier's directory");
    }

    /// Lays a version into the store by hand, as another replica would.
    pub(crate) fn lay(&self, module: &FakeModule) {
        let folder = self.folder.path().join("storage").join(module.path()).join(module.version());
        std::fs::create_dir_all(&folder).expect("a folder for the version");
        let info = format!("{}.info", module.version());
        std::fs::write(folder.join("go.mod"), module.go_mod_bytes()).expect("its go.mod");
        std::fs::write(folder.join("source.zip"), module.zip()).expect("its zip");
        std::fs::write(folder.join(info), module.info()).expect("its info");
    }
}
