//! One gateway with its upstream and its checksum database, and what tests ask of them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dipylon_testkit::checksum_db::ChecksumDb;
use dipylon_testkit::client::{Client, Response};
use dipylon_testkit::gateway::{Builder, Gateway};
use dipylon_testkit::metrics::Metrics;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::{Fault, Upstream};
use http::Method;
use serde_json::Value;
use tempfile::TempDir;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_dipylon");
/// The name of the checksum database.
pub(crate) const DATABASE: &str = "sum.test";
/// The module of most tests; its `!`-escaped form is the same.
pub(crate) const MODULE: &str = "example.com/lib/text";
/// Its version.
pub(crate) const VERSION: &str = "v1.2.3";

/// The longest that a test waits for something that must come to be.
const PATIENCE: Duration = Duration::from_secs(20);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(10);
/// What the `go` command shows of an error at most.
const SHOWN_BYTES_MAX: usize = 648;
/// The headers of every answer.
const HEADERS: [&str; 5] =
    ["x-request-id", "athens-request-id", "traceparent", "cache-status", "server-timing"];

/// How to start a [`World`].
pub(crate) struct Setup {
    variables: Vec<(String, String)>,
    files: Vec<(String, String)>,
}

impl Setup {
    /// A gateway whose store is on disk, where it can be looked at. There is no `go` command unless
    /// [`Setup::with_go`] is called.
    pub(crate) fn disk() -> Self {
        Self { variables: Vec::new(), files: Vec::new() }
            .env("ATHENS_STORAGE_TYPE", "disk")
            .env("ATHENS_DISK_STORAGE_ROOT", "{folder}/storage")
            .env("GOPROXY", "{upstream}")
            .env("GOSUMDB", "{database}")
            .env("ATHENS_SUM_DBS", &format!("https://{DATABASE}"))
            .env("ATHENS_LOG_LEVEL", "info")
            .env("ATHENS_LOG_FORMAT", "json")
            .env("GO_BINARY_PATH", "{folder}/there-is-no-go")
    }

    /// The store in memory, which is the default.
    pub(crate) fn memory() -> Self {
        Self::disk().env("ATHENS_STORAGE_TYPE", "memory")
    }

    /// Sets a variable; `{upstream}`, `{database}` (its verifier key) and `{folder}` are replaced.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Puts a file with this text into the folder.
    pub(crate) fn with_file(mut self, name: &str, text: &str) -> Self {
        self.files.push((name.to_owned(), text.to_owned()));
        self
    }

    /// The `go` command of PATH.
    pub(crate) fn with_go(self) -> Self {
        self.env("GO_BINARY_PATH", "go")
    }

    /// Starts it all.
    pub(crate) async fn start(self) -> World {
        let upstream = Upstream::start().await;
        let database = ChecksumDb::new(DATABASE, 1);
        upstream.attach(&database);
        self.start_with(upstream, database).await
    }

    /// Starts the gateway before an upstream and a database that are there already.
    pub(crate) async fn start_with(self, upstream: Upstream, database: ChecksumDb) -> World {
        let folder = TempDir::with_prefix("dipylon-test-").expect("a temporary folder");
        let storage = folder.path().join("storage");
        std::fs::create_dir(&storage).expect("a folder for the store");
        for (name, text) in &self.files {
            std::fs::write(folder.path().join(name), text).expect("a file of the test");
        }
        let values = [
            ("{upstream}", upstream.url()),
            ("{database}", database.verifier_key().to_owned()),
            ("{folder}", folder.path().display().to_string()),
        ];
        let fill = |text: &str| {
            values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
        };
        let variables: Vec<(String, String)> =
            self.variables.iter().map(|(name, value)| (name.clone(), fill(value))).collect();
        let gateway = launch(&variables).await;
        World { upstream, database, gateway, folder, variables, clean: true }
    }
}

async fn launch(variables: &[(String, String)]) -> Gateway {
    builder(variables).start().await
}

fn builder(variables: &[(String, String)]) -> Builder {
    let mut builder = Gateway::builder(PROGRAM);
    for (name, value) in variables {
        builder = builder.env(name, value);
    }
    if variables.iter().any(|(name, _)| name == "ATHENS_TLSCERT_FILE") {
        builder = builder.ready_by_connect();
    }
    builder
}

/// A running gateway and its surroundings.
pub(crate) struct World {
    pub(crate) upstream: Upstream,
    pub(crate) database: ChecksumDb,
    pub(crate) gateway: Gateway,
    folder: TempDir,
    variables: Vec<(String, String)>,
    clean: bool,
}

impl World {
    /// [`MODULE`] at [`VERSION`], added to the upstream.
    pub(crate) fn add_module(&self) -> FakeModule {
        self.add(FakeModule::new(MODULE, VERSION))
    }

    /// Adds a version to the upstream and hands it back.
    pub(crate) fn add(&self, module: FakeModule) -> FakeModule {
        self.upstream.add(module.clone());
        module
    }

    /// Ends the gateway in order and starts it again on the same store.
    pub(crate) async fn restart(&mut self) {
        let status = self.gateway.terminate().await;
        assert!(status.success(), "{status}: {}", self.gateway.stderr());
        self.assert_no_panic();
        self.gateway = launch(&self.variables).await;
    }

    /// Kills the gateway without a warning, as a crash would.
    pub(crate) async fn kill(&mut self) {
        self.gateway.kill();
        let ended = self.gateway.wait(PATIENCE).await;
        assert!(ended.is_some(), "it survives its kill");
    }

    /// Starts a gateway in place of one that was killed, on the same store.
    pub(crate) async fn start_again(&mut self) {
        self.gateway = launch(&self.variables).await;
    }

    /// Restarts with another value of a variable.
    pub(crate) async fn set(&mut self, name: &str, value: &str) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
        self.restart().await;
    }

    /// A second gateway with the same settings and store.
    pub(crate) async fn replica(&self) -> Gateway {
        launch(&self.variables).await
    }

    /// A second gateway with the same settings and store, which is expected not to start.
    pub(crate) async fn try_replica(&self) -> Result<Gateway, String> {
        builder(&self.variables).try_start().await
    }

    // === Requests ===

    pub(crate) fn client(&self) -> Client {
        self.gateway.client()
    }

    /// GET; every answer has the headers of every answer.
    pub(crate) async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path, &[]).await
    }

    pub(crate) async fn head(&self, path: &str) -> Response {
        self.request(Method::HEAD, path, &[]).await
    }

    pub(crate) async fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Response {
        let response = self.client().request(method, path, headers, Bytes::new()).await;
        assert_common_headers(&response);
        response
    }

    /// GET that must be a whole 200.
    pub(crate) async fn get_ok(&self, path: &str) -> Response {
        let response = self.get(path).await;
        assert_eq!((response.status.as_u16(), response.truncated), (200, false), "{path}");
        response
    }

    /// GET that must be refused with `status` and one line of text that has all of `words`.
    pub(crate) async fn get_refused(&self, path: &str, status: u16, words: &[&str]) -> Response {
        let response = self.get(path).await;
        assert_refusal(&response, status, words);
        response
    }

    // === Counts ===

    /// GETs of this path at the upstream.
    pub(crate) fn asked(&self, path: &str) -> usize {
        self.upstream.count(path)
    }

    /// Requests at the upstream that are about modules, not the checksum database.
    pub(crate) fn module_requests(&self) -> usize {
        let seen = self.upstream.requests();
        seen.iter().filter(|request| !request.path.starts_with("/sumdb/")).count()
    }

    pub(crate) async fn metrics(&self) -> Metrics {
        self.gateway.metrics().await
    }

    // === The store ===

    /// A file of the test's own folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The root of the store.
    pub(crate) fn root(&self) -> PathBuf {
        self.file("storage")
    }

    /// Whether all three files of a version stand under Athens's names.
    pub(crate) fn is_stored(&self, module: &str, version: &str) -> bool {
        let directory = self.root().join(module).join(version);
        let info = format!("{version}.info");
        ["go.mod", "source.zip", &info].iter().all(|name| directory.join(name).is_file())
    }

    /// Waits until a version is stored whole.
    pub(crate) async fn until_stored(&self, module: &str, version: &str) {
        let what = format!("{module}@{version} is stored");
        self.until(&what, || self.is_stored(module, version)).await;
    }

    /// Waits until `true_now`, or fails the test.
    pub(crate) async fn until(&self, what: &str, true_now: impl Fn() -> bool) {
        until(what, async || true_now()).await;
    }

    /// Waits until nothing is being fetched: no spool, no flight, no background fetch, and none that waits.
    pub(crate) async fn until_idle(&self) {
        until("nothing is under way", async || {
            let metrics = self.metrics().await;
            let gauges = [
                "dipylon_spool_bytes",
                "dipylon_single_flight_active",
                "dipylon_dispatch_background_queued",
                "dipylon_dispatch_background_active",
            ];
            gauges.iter().all(|name| metrics.metric(name).sum() == 0.0)
        })
        .await;
    }

    /// Files of the store under Athens's names, relative to the root.
    pub(crate) fn stored_files(&self) -> BTreeSet<String> {
        let mut files = files_below(&self.root());
        files.retain(|file| !file.starts_with(".dipylon/"));
        files
    }

    /// Files of ours about modules: early `.info` and `.mod`, quarantine records, spools.
    pub(crate) fn our_files(&self) -> BTreeSet<String> {
        let mut files = files_below(&self.root());
        files.retain(|file| {
            ["early", "quarantine", "staging"]
                .iter()
                .any(|folder| file.starts_with(&format!(".dipylon/{folder}/")))
        });
        files
    }

    // === The log ===

    /// The events of the log so far.
    pub(crate) fn events(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).ok();
        self.gateway.stdout().lines().filter_map(parse).collect()
    }

    /// Whether an event's message or error has these words.
    pub(crate) fn logged(&self, words: &str) -> bool {
        self.gateway.stdout().contains(words)
    }

    /// The test says itself how the gateway ends.
    pub(crate) fn may_end_badly(&mut self) {
        self.clean = false;
    }

    fn assert_no_panic(&self) {
        for printed in [self.gateway.stdout(), self.gateway.stderr()] {
            assert!(!printed.contains("panicked at"), "the gateway panicked:\n{printed}");
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // What the gateway said is what the reader of a failed test needs.
            let (out, err) = (self.gateway.stdout(), self.gateway.stderr());
            let tail =
                |text: &str| text.lines().rev().take(20).map(str::to_owned).collect::<Vec<_>>();
            for line in tail(&out).iter().rev().chain(tail(&err).iter().rev()) {
                eprintln!("gateway: {line}");
            }
        } else if self.clean {
            self.assert_no_panic();
        }
    }
}

/// Polls until `true_now`, or fails the test when [`PATIENCE`] is over.
pub(crate) async fn until(what: &str, true_now: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !true_now().await {
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// The path of one file, e.g. `path_of(MODULE, VERSION, "zip")`.
pub(crate) fn path_of(module: &str, version: &str, kind: &str) -> String {
    let escape = |text: &str| {
        let mut escaped = String::new();
        for character in text.chars() {
            if character.is_ascii_uppercase() {
                escaped.push('!');
            }
            escaped.push(character.to_ascii_lowercase());
        }
        escaped
    };
    format!("/{}/@v/{}.{kind}", escape(module), escape(version))
}

/// The path of one file of [`MODULE`] at [`VERSION`].
pub(crate) fn file(kind: &str) -> String {
    path_of(MODULE, VERSION, kind)
}

/// The five headers of every answer, and that both request ids are the same.
pub(crate) fn assert_common_headers(response: &Response) {
    for name in HEADERS {
        let value = response.header(name).unwrap_or_default();
        assert!(!value.is_empty(), "no {name} in an answer {}", response.status);
    }
    assert_eq!(response.header("x-request-id"), response.header("athens-request-id"));
}

/// An error as the `go` command shows it: plain text, one line, no control character, not too long.
pub(crate) fn assert_refusal(response: &Response, status: u16, words: &[&str]) {
    let text = response.text();
    assert_eq!(response.status.as_u16(), status, "{text}");
    assert_common_headers(response);
    assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"), "{text}");
    assert!(text.len() <= SHOWN_BYTES_MAX, "{} bytes: {text}", text.len());
    let line = text.strip_suffix('\n').unwrap_or_else(|| panic!("no end of the line: {text:?}"));
    assert!(!line.is_empty() && !line.chars().any(char::is_control), "not one line: {text:?}");
    assert!(line.matches("not found: ").count() <= 1, "said twice: {line:?}");
    for word in words {
        assert!(line.contains(word), "no {word:?} in {line:?}");
    }
}

/// The `detail` of `Cache-Status`: the outcome.
pub(crate) fn outcome(response: &Response) -> &str {
    let status = response.header("cache-status").unwrap_or_default();
    status.rsplit("detail=").next().unwrap_or_default()
}

/// Every file below `folder`, relative to it.
pub(crate) fn files_below(folder: &Path) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        // A folder may go while it is being looked at.
        for entry in std::fs::read_dir(&next).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            } else if let Ok(relative) = path.strip_prefix(folder) {
                files.insert(relative.display().to_string());
            }
        }
    }
    files
}

/// Content that a compressor may not shrink, in a module large enough to be streamed.
pub(crate) fn large(bytes: usize) -> FakeModule {
    FakeModule::new(MODULE, VERSION).filler(bytes)
}

/// The list of [`MODULE`].
pub(crate) fn list() -> String {
    format!("/{MODULE}/@v/list")
}

/// The newest version of [`MODULE`].
pub(crate) fn latest() -> String {
    format!("/{MODULE}/@latest")
}

/// An upstream in trouble that says so.
pub(crate) fn sick() -> Fault {
    Fault::Status(500, "text/plain; charset=utf-8", "the upstream is sick\n".into())
}

/// A world whose store has [`MODULE`] at [`VERSION`], and whose upstream's record is empty.
pub(crate) async fn stocked(setup: Setup) -> World {
    let world = setup.start().await;
    world.add_module();
    world.get_ok(&file("zip")).await;
    world.until_stored(MODULE, VERSION).await;
    world.until_idle().await;
    world.upstream.clear_requests();
    world
}
