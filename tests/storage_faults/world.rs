//! A gateway between an upstream and a store that it reaches by a line.

use std::time::{Duration, Instant};

use dipylon_testkit::client::Response;
use dipylon_testkit::gateway::Gateway;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::Upstream;

use crate::backend::Backend;
use crate::line::Line;

/// The module of every test.
pub(crate) const MODULE: &str = "example.com/private/lib";
/// The longest that a test waits for something that must come to be.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest that an answer may take while the store is in trouble.
const ANSWER_LIMIT: Duration = Duration::from_secs(120);
/// A gateway waits for its store at its start, but not for ever.
const START_LIMIT: Duration = Duration::from_secs(60);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// All of it.
pub(crate) struct World {
    pub(crate) backend: Backend,
    pub(crate) line: Line,
    pub(crate) upstream: Upstream,
    pub(crate) gateway: Gateway,
}

impl World {
    /// Starts all; the line is as `line` leaves it.
    pub(crate) async fn start(backend: Backend, line: impl FnOnce(&Line)) -> Self {
        let upstream = Upstream::start().await;
        let wire = Line::to(&backend.server);
        line(&wire);
        let gateway = launch(&backend, &wire.address, &upstream.url(), &[]).await;
        Self { backend, line: wire, upstream, gateway }
    }

    /// Starts all, with this version in the store.
    pub(crate) async fn holding(backend: Backend, module: &FakeModule) -> Self {
        let world = Self::start(backend, |_| {}).await;
        world.upstream.add(module.clone());
        world.until_stored(module).await;
        world
    }

    /// Ends the gateway and starts it anew with these variables too.
    pub(crate) async fn restart(&mut self, variables: &[(&str, &str)]) {
        assert!(self.gateway.terminate().await.success(), "{}", self.log());
        let (address, upstream) = (&self.line.address, self.upstream.url());
        self.gateway = launch(&self.backend, address, &upstream, variables).await;
    }

    /// All that the gateway has said.
    pub(crate) fn log(&self) -> String {
        self.gateway.stdout() + &self.gateway.stderr()
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.gateway.client().limit(ANSWER_LIMIT).get(path).await
    }

    /// A file of a version, which must come whole and right; how it came about.
    pub(crate) async fn file(&self, module: &FakeModule, suffix: &str) -> String {
        let path = path_of(module, suffix);
        let answer = self.get(&path).await;
        let said = || format!("{path}: {}\n{}", answer.text(), self.log());
        assert_eq!((answer.status.as_u16(), answer.truncated), (200, false), "{}", said());
        assert!(answer.body == bytes_of(module, suffix), "{path}: a wrong byte");
        outcome(&answer)
    }

    /// All files of a version, asked for at once, each of which must come about like this.
    pub(crate) async fn files(&self, module: &FakeModule, outcomes: &[&str]) {
        let (info, go_mod, zip) = tokio::join!(
            self.file(module, "info"),
            self.file(module, "mod"),
            self.file(module, "zip")
        );
        for outcome in [info, go_mod, zip] {
            assert!(outcomes.contains(&&*outcome), "{outcome}: {}", self.log());
        }
    }

    /// Asks until the store itself has it; every answer on the way is right.
    pub(crate) async fn until_stored(&self, module: &FakeModule) {
        let began = Instant::now();
        while self.file(module, "zip").await != "hit_storage" {
            assert!(began.elapsed() < PATIENCE, "never stored: {}", self.log());
            tokio::time::sleep(PAUSE).await;
        }
        self.files(module, &["hit_storage"]).await;
    }

    /// Waits until the gateway says that it is ready.
    pub(crate) async fn until_ready(&self) {
        let began = Instant::now();
        loop {
            let answer = self.get("/readyz").await;
            if answer.status == 200 {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{}", answer.text());
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until a metric's samples come to this.
    pub(crate) async fn until_metric(&self, name: &str, value: f64) {
        let began = Instant::now();
        while self.gateway.metrics().await.metric(name).sum() != value {
            assert!(began.elapsed() < PATIENCE, "{name} never was {value}");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// `/readyz` names backend, operation and cause, and so does the log.
    pub(crate) async fn assert_not_ready(&self) {
        let answer = self.get("/readyz").await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        let ready: serde_json::Value = serde_json::from_str(answer.text()).expect("JSON");
        let text = ready["parts"]["storage"].as_str().expect("a reason").to_owned();
        self.assert_named(&text);
        assert!(self.log().contains(&text), "not in the log: {text}");
    }

    /// A text names backend, operation and cause, in one line.
    pub(crate) fn assert_named(&self, text: &str) {
        let begin = format!("{} storage cannot ", self.backend.kind);
        let rest = text.strip_prefix(&begin).unwrap_or_else(|| panic!("no {begin:?}: {text}"));
        let (operation, cause) =
            rest.split_once(": ").unwrap_or_else(|| panic!("no cause: {text}"));
        assert!(!operation.is_empty() && cause.trim().len() > 8, "{text}");
        assert!(!text.trim_end().contains('\n'), "{text}");
    }
}

async fn launch(
    backend: &Backend,
    address: &str,
    upstream: &str,
    more: &[(&str, &str)],
) -> Gateway {
    let mut builder = Gateway::builder(env!("CARGO_BIN_EXE_dipylon"))
        .env("GOPROXY", upstream)
        .env("GOSUMDB", "off")
        .env("GO_BINARY_PATH", "no-go-command")
        .env("DIPYLON_HOT_CACHE_BYTES", "0")
        .env("ATHENS_LOG_LEVEL", "info")
        .start_limit(START_LIMIT);
    for (name, value) in backend.settings(address) {
        builder = builder.env(name, &value);
    }
    for (name, value) in more {
        builder = builder.env(name, value);
    }
    builder.start().await
}

pub(crate) fn path_of(module: &FakeModule, suffix: &str) -> String {
    format!("/{}/@v/{}.{suffix}", module.path(), module.version())
}

pub(crate) fn bytes_of(module: &FakeModule, suffix: &str) -> bytes::Bytes {
    match suffix {
        "info" => module.info().into(),
        "mod" => module.go_mod_bytes(),
        _ => module.zip(),
    }
}

/// The outcome that `Cache-Status` tells.
pub(crate) fn outcome(answer: &Response) -> String {
    let status = answer.header("cache-status").unwrap_or_default();
    status.rsplit_once("detail=").map_or("", |(_, outcome)| outcome).to_owned()
}
