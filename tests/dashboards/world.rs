//! Two gateways: one that is used and meets every fault, one that is flooded and redirects to MinIO.

use std::path::{Path, PathBuf};

use dipylon_testkit::checksum_db::ChecksumDb;
use dipylon_testkit::gateway::Gateway;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::services::given::{KeyedServer, fresh_name};
use dipylon_testkit::services::redis::{PASSWORD, RedisServer};
use dipylon_testkit::upstream::Upstream;
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

use crate::store::Store;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_dipylon");
const DATABASE: &str = "sum.test";
/// A module that the filter file refuses.
pub(crate) const REFUSED: &str = "example.com/refused";
/// The module that is stored from the start.
pub(crate) const LIB: &str = "example.com/lib";

/// The download-mode file.
const MODES: &str = "downloadURL = \"\"\nmode = \"sync\"\n\
    download \"example.com/background/*\" {\n  mode = \"async\"\n}\n";

/// `dashboards/`.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards")
}

/// Waits until no other test of this program has gateways under load: two at once would be late for each other.
pub(crate) async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    ALONE.lock().await
}

/// A gateway before an upstream of its own.
pub(crate) struct World {
    pub(crate) upstream: Upstream,
    pub(crate) database: ChecksumDb,
    pub(crate) gateway: Gateway,
    folder: TempDir,
}

impl World {
    /// The gateway that is used: storage behind a server, locks that are soon renewed and soon lost, answers
    /// that age within a second, a rate that only who is greedy exceeds, a collector of traces.
    pub(crate) async fn used(locks: &RedisServer, store: &Store, traces: &str) -> Self {
        Self::start(&[
            ("ATHENS_TRACE_EXPORTER", "otlp"),
            ("ATHENS_TRACE_EXPORTER_URL", traces),
            ("DIPYLON_OTLP_PROTOCOL", "grpc"),
            ("ATHENS_STORAGE_TYPE", "external"),
            ("ATHENS_EXTERNAL_STORAGE_URL", &store.url()),
            ("ATHENS_DOWNLOAD_MODE", "file:{folder}/mode.hcl"),
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

    /// The gateway that is flooded: one miss at a time, few connections, an upstream that is silent, a
    /// collector of traces that is not there. Its store is MinIO, to which it redirects for every zip.
    pub(crate) async fn flooded() -> Self {
        let store = KeyedServer::of("DIPYLON_TEST_MINIO").as_minio(&fresh_name());
        let mut variables: Vec<(&str, &str)> =
            store.iter().map(|(name, value)| (*name, value.as_str())).collect();
        variables.extend([
            ("DIPYLON_TIERED_DIRECTORY", ""),
            ("DIPYLON_PRESIGNED_MIN_BYTES", "1"),
            ("ATHENS_PROTOCOL_WORKERS", "1"),
            ("DIPYLON_MISS_QUEUE_TIMEOUT", "1"),
            ("DIPYLON_MAX_CONNECTIONS", "8"),
            ("DIPYLON_HEDGE_AFTER", "300ms"),
            ("ATHENS_LOG_LEVEL", "error"),
            ("ATHENS_TRACE_EXPORTER", "otlp"),
            ("ATHENS_TRACE_EXPORTER_URL", "http://127.0.0.1:1"),
            ("ATHENS_DOWNLOAD_MODE", "file:{folder}/mode.hcl"),
        ]);
        Self::start(&variables).await
    }

    /// One with a store and a near tier on disks of its own, and these settings beside or in place of the others.
    pub(crate) async fn start(variables: &[(&str, &str)]) -> Self {
        Self::start_by(Path::new(PROGRAM), variables).await
    }

    /// The same of a program that becomes the gateway.
    pub(crate) async fn start_by(program: &Path, variables: &[(&str, &str)]) -> Self {
        let upstream = Upstream::start().await;
        let database = ChecksumDb::new(DATABASE, 1);
        upstream.attach(&database);
        upstream.add(FakeModule::new(LIB, "v1.0.0").filler(50_000));
        let folder = TempDir::with_prefix("dipylon-dashboards-").expect("a temporary folder");
        let root = folder.path().join("storage");
        std::fs::create_dir_all(&root).expect("a folder for the store");
        let filter = folder.path().join("filter");
        std::fs::write(&filter, format!("- {REFUSED}\n")).expect("a filter file");
        let mut builder = Gateway::builder(program)
            .env("GOPROXY", &upstream.url())
            .env("GOSUMDB", database.verifier_key())
            .env("ATHENS_SUM_DBS", &format!("https://{DATABASE}"))
            .env("ATHENS_STORAGE_TYPE", "disk")
            .env("ATHENS_DISK_STORAGE_ROOT", &root.display().to_string())
            .env("DIPYLON_TIERED_DIRECTORY", &folder.path().join("near").display().to_string())
            .env("ATHENS_FILTER_FILE", &filter.display().to_string())
            .env("ATHENS_LOG_LEVEL", "info")
            .env("GO_BINARY_PATH", "/nonexistent/go");
        std::fs::write(folder.path().join("mode.hcl"), MODES).expect("a download-mode file");
        for (name, value) in variables {
            let folder = folder.path().display().to_string();
            builder = builder.env(name, &value.replace("{folder}", &folder));
        }
        Self { upstream, database, gateway: builder.start().await, folder }
    }

    /// The folder of its store (`storage`) and of its near tier (`near`).
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Spoils the download-mode file, or mends it: the gateway that is flooded follows it.
    pub(crate) fn spoil_modes(&self, is_spoiled: bool) {
        let text = if is_spoiled { "mode = 5\n" } else { MODES };
        std::fs::write(self.folder.path().join("mode.hcl"), text).expect("the download-mode file");
    }

    /// Takes the near tier's directory away from under the gateway, or gives it back.
    pub(crate) fn take_near(&self, is_taken: bool) {
        let near = self.folder.path().join("near");
        let (there, away) = (near.join("dipylon-near"), near.join("away"));
        let (from, to) = if is_taken { (there, away) } else { (away, there) };
        std::fs::rename(from, to).expect("the near tier's directory");
    }
}
