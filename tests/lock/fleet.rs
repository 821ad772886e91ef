//! Three gateways on one store on disk, and one upstream that counts.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dipylon_testkit::client::Response;
use dipylon_testkit::gateway::Gateway;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::Upstream;
use futures::future::join_all;
use tempfile::TempDir;

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_dipylon");
/// How many gateways there are.
pub(crate) const REPLICAS: usize = 3;
/// The longest that a test waits for something that must come to be.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longer than a question about a lock lasts, and than the pause until it is asked again.
const GIVEN_BACK: Duration = Duration::from_millis(3_500);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// The gateways and what is around them.
pub(crate) struct Fleet {
    pub(crate) upstream: Upstream,
    pub(crate) gateways: Vec<Gateway>,
    /// Of the store, where that is a disk.
    _folder: TempDir,
}

impl Fleet {
    /// Starts all with these variables.
    pub(crate) async fn start(variables: &[(&str, &str)]) -> Self {
        Self::start_each([variables; REPLICAS]).await
    }

    /// Starts each with its own.
    pub(crate) async fn start_each(variables: [&[(&str, &str)]; REPLICAS]) -> Self {
        let upstream = Upstream::start().await;
        let folder = TempDir::with_prefix("dipylon-fleet-").expect("a temporary folder");
        let storage = folder.path().join("storage");
        std::fs::create_dir(&storage).expect("a folder for the store");
        let starting =
            variables.map(|variables| builder(&upstream.url(), &storage, variables).start());
        let gateways = join_all(starting).await;
        Self { upstream, gateways, _folder: folder }
    }

    /// Adds a version to the upstream.
    pub(crate) fn add(&self, module: FakeModule) -> FakeModule {
        self.upstream.add(module.clone());
        module
    }

    /// How often the upstream was asked for a zip.
    pub(crate) fn fetches(&self, module: &FakeModule) -> usize {
        self.upstream.count(&zip(module))
    }

    /// Asks every gateway for a zip, `clients` times each, all at once.
    pub(crate) async fn ask_all(&self, module: &FakeModule, clients: usize) -> Vec<Response> {
        let path = zip(module);
        let asking = self.gateways.iter().flat_map(|gateway| {
            let path = &path;
            (0..clients).map(move |_| async move { gateway.client().get(path).await })
        });
        join_all(asking).await
    }

    /// Whether the store has a version, as any of the gateways that live says.
    pub(crate) async fn is_stored(&self, module: &FakeModule) -> bool {
        for gateway in &self.gateways {
            let asked = gateway.client().try_request(http::Method::GET, "/catalog", &[], "").await;
            let Ok(answer) = asked else { continue };
            assert_eq!(answer.status, 200, "{}", answer.text());
            return answer.text().contains(module.path())
                && answer.text().contains(module.version());
        }
        panic!("no gateway answers")
    }

    /// The sum of a metric over all gateways.
    pub(crate) async fn sum(&self, metric: &str, labels: &[(&str, &str)]) -> f64 {
        let mut sum = 0.0;
        for gateway in &self.gateways {
            let metrics = gateway.metrics().await;
            let question = metrics.metric(metric);
            sum += labels.iter().fold(question, |q, (name, value)| q.label(name, value)).sum();
        }
        sum
    }

    /// No gateway asks the lock service for anything any more.
    pub(crate) async fn settled(&self) {
        let asked = async || self.sum("dipylon_lock_operations_total", &[]).await;
        let (began, mut before) = (Instant::now(), asked().await);
        loop {
            tokio::time::sleep(GIVEN_BACK).await;
            let now = asked().await;
            if now == before {
                return;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "in {PATIENCE:?} not yet: the last lock is given back"
            );
            before = now;
        }
    }

    /// Nothing is held or awaited in any gateway, within a moment.
    pub(crate) async fn assert_at_rest(&self) {
        for gauge in ["dipylon_lock_held", "dipylon_lock_waiting", "dipylon_single_flight_active"] {
            until(gauge, async || self.sum(gauge, &[]).await == 0.0).await;
        }
    }
}

fn builder(
    upstream: &str,
    storage: &Path,
    variables: &[(&str, &str)],
) -> dipylon_testkit::gateway::Builder {
    let storage = storage.display().to_string();
    let ours = [
        ("ATHENS_STORAGE_TYPE", "disk"),
        ("ATHENS_DISK_STORAGE_ROOT", storage.as_str()),
        ("GOPROXY", upstream),
        ("GOSUMDB", "off"),
        ("GO_BINARY_PATH", "there-is-no-go"),
        ("ATHENS_LOG_LEVEL", "info"),
        ("ATHENS_TRACE_EXPORTER", ""),
    ];
    let mut builder = Gateway::builder(PROGRAM);
    for (name, value) in ours.iter().chain(variables) {
        builder = builder.env(name, value);
    }
    builder
}

/// The path of a zip.
pub(crate) fn zip(module: &FakeModule) -> String {
    format!("/{}/@v/{}.zip", module.path(), module.version())
}

/// Every answer is the whole zip.
pub(crate) fn assert_whole(answers: &[Response], zip: &Bytes) {
    for answer in answers {
        assert_eq!((answer.status.as_u16(), answer.truncated), (200, false), "{}", answer.text());
        assert!(answer.body == zip, "{} bytes in place of {}", answer.body.len(), zip.len());
    }
}

/// Waits until it holds.
pub(crate) async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "in {PATIENCE:?} not yet: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}
