//! A gateway before a fake upstream with a checksum database.

use std::time::{Duration, Instant};

use bytes::Bytes;
use dipylon_testkit::checksum_db::ChecksumDb;
use dipylon_testkit::client::Response;
use dipylon_testkit::gateway::Gateway;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::Upstream;
use http::Method;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_dipylon");
/// The name of the checksum database.
const DATABASE: &str = "sum.test";
/// The module of most tests.
pub(crate) const MODULE: &str = "example.com/lib";
/// Its version.
pub(crate) const VERSION: &str = "v1.0.0";

/// The longest that a test waits for something that must come to be.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// A running gateway and its surroundings.
pub(crate) struct World {
    pub(crate) upstream: Upstream,
    pub(crate) gateway: Gateway,
}

impl World {
    /// With these variables too, which win over ours; `{upstream}` is `ADDRESS:PORT` of the upstream.
    pub(crate) async fn start(variables: &[(&str, &str)]) -> Self {
        let upstream = Upstream::start().await;
        let database = ChecksumDb::new(DATABASE, 1);
        upstream.attach(&database);
        upstream.add(FakeModule::new(MODULE, VERSION).filler(20_000));
        let mut builder = Gateway::builder(PROGRAM)
            .env("GOPROXY", &upstream.url())
            .env("GOSUMDB", database.verifier_key())
            .env("ATHENS_SUM_DBS", &format!("https://{DATABASE}"))
            .env("ATHENS_LOG_LEVEL", "info")
            .env("GO_BINARY_PATH", "/nonexistent/go");
        for (name, value) in variables {
            let value = value.replace("{upstream}", &upstream.address().to_string());
            builder = builder.env(name, &value);
        }
        Self { upstream, gateway: builder.start().await }
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.gateway.get(path).await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        self.gateway.client().request(Method::GET, path, headers, Bytes::new()).await
    }

    /// Ends the gateway in order; everything it had to say is then said.
    pub(crate) async fn end(&mut self) {
        let status = self.gateway.terminate().await;
        assert!(status.success(), "{status}: {}", self.gateway.stderr());
        let stderr = self.gateway.stderr();
        assert!(!stderr.contains("panicked at"), "the gateway panicked:\n{stderr}");
    }
}

/// The path of a file of [`MODULE`].
pub(crate) fn file(version: &str, kind: &str) -> String {
    format!("/{MODULE}/@v/{version}.{kind}")
}

/// Polls until `true_now`, or fails the test.
pub(crate) async fn until(what: &str, true_now: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !true_now().await {
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}
