//! A gateway between an upstream and a store, which it reaches by a line or has on its own disk.

use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use dipylon_testkit::client::Response;
use dipylon_testkit::gateway::{Builder, Gateway};
use dipylon_testkit::module::FakeModule;
pub(crate) use dipylon_testkit::storage_program::{file_bytes as bytes_of, file_path as path_of};
use dipylon_testkit::upstream::Upstream;

use crate::backend::{Backend, Settings};
use dipylon_testkit::services::line::Line;

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

/// A gateway between an upstream and a store.
pub(crate) struct Site {
    kind: &'static str,
    settings: Settings,
    pub(crate) upstream: Upstream,
    pub(crate) gateway: Gateway,
}

/// The same over a store that is reached by a line.
pub(crate) struct World {
    /// What keeps the server running, where it is one for this test alone.
    _backend: Backend,
    pub(crate) line: Line,
    site: Site,
}

impl World {
    /// Starts all; the line is as `line` leaves it.
    pub(crate) async fn start(backend: Backend, line: impl FnOnce(&Line)) -> Self {
        let wire = Line::to(&backend.server);
        line(&wire);
        let site = Site::start(backend.kind, backend.settings(&wire.address)).await;
        Self { _backend: backend, line: wire, site }
    }

    /// Starts all, with this version in the store.
    pub(crate) async fn holding(backend: Backend, module: &FakeModule) -> Self {
        let world = Self::start(backend, |_| {}).await;
        world.fill(module).await;
        world
    }
}

impl Deref for World {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

impl DerefMut for World {
    fn deref_mut(&mut self) -> &mut Site {
        &mut self.site
    }
}

impl Site {
    /// Starts the program with the settings of a store of this kind.
    pub(crate) async fn start(kind: &'static str, settings: Settings) -> Self {
        Self::start_by(env!("CARGO_BIN_EXE_dipylon"), kind, settings).await
    }

    /// The same by a program that becomes it.
    pub(crate) async fn start_by(program: &str, kind: &'static str, settings: Settings) -> Self {
        let upstream = Upstream::start().await;
        let gateway = builder(program, &settings, &upstream.url()).start().await;
        Self { kind, settings, upstream, gateway }
    }

    /// Ends the gateway and starts it anew with these variables too.
    pub(crate) async fn restart(&mut self, variables: &[(&str, &str)]) {
        assert!(self.gateway.terminate().await.success(), "{}", self.log());
        let program = env!("CARGO_BIN_EXE_dipylon");
        let mut builder = builder(program, &self.settings, &self.upstream.url());
        for (name, value) in variables {
            builder = builder.env(name, value);
        }
        self.gateway = builder.start().await;
    }

    /// Brings a version into the store.
    pub(crate) async fn fill(&self, module: &FakeModule) {
        self.upstream.add(module.clone());
        self.until_stored(module).await;
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
        let began = Instant::now();
        loop {
            let answer = self.get("/readyz").await;
            assert_eq!(answer.status, 503, "{}", answer.text());
            let ready: serde_json::Value = serde_json::from_str(answer.text()).expect("JSON");
            let text = ready["parts"]["storage"].as_str().expect("a reason").to_owned();
            self.assert_named(&text);
            if self.log().contains(&text) {
                return;
            }
            // Asked very often a moment ago, it is not logged each time.
            assert!(began.elapsed() < PATIENCE, "not in the log: {text}");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// A text names backend, operation and cause, in one line.
    pub(crate) fn assert_named(&self, text: &str) {
        let begin = format!("{} storage cannot ", self.kind);
        let rest = text.strip_prefix(&begin).unwrap_or_else(|| panic!("no {begin:?}: {text}"));
        let (operation, cause) =
            rest.split_once(": ").unwrap_or_else(|| panic!("no cause: {text}"));
        assert!(!operation.is_empty() && cause.trim().len() > 8, "{text}");
        assert!(!text.trim_end().contains('\n'), "{text}");
    }
}

/// The program with these settings, and nothing of this machine's.
pub(crate) fn builder(program: &str, settings: &Settings, upstream: &str) -> Builder {
    let builder = Gateway::builder(program)
        .env("GOPROXY", upstream)
        .env("GOSUMDB", "off")
        .env("GO_BINARY_PATH", "no-go-command")
        .env("DIPYLON_HOT_CACHE_BYTES", "0")
        .env("ATHENS_LOG_LEVEL", "info")
        .start_limit(START_LIMIT);
    settings.iter().fold(builder, |builder, (name, value)| builder.env(name, value))
}

/// The outcome that `Cache-Status` tells.
pub(crate) fn outcome(answer: &Response) -> String {
    let status = answer.header("cache-status").unwrap_or_default();
    status.rsplit_once("detail=").map_or("", |(_, outcome)| outcome).to_owned()
}
