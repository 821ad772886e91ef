//! A gateway between the real `go` and the fakes.

use std::path::{Path, PathBuf};

use dipylon_testkit::checksum_db::ChecksumDb;
use dipylon_testkit::gateway::Gateway;
use dipylon_testkit::go::{Go, Output};
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::Upstream;
use serde_json::Value;
use tempfile::TempDir;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_dipylon");
/// The name of the checksum database.
pub(crate) const DATABASE: &str = "sum.test";

/// The fakes, the gateway before them, and a folder for the test's files.
pub(crate) struct World {
    pub(crate) upstream: Upstream,
    pub(crate) database: ChecksumDb,
    pub(crate) gateway: Gateway,
    folder: TempDir,
}

impl World {
    /// A gateway that keeps its store on disk and checks against the database.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With these variables too; `{upstream}` and `{folder}` are replaced, and they win over ours.
    pub(crate) async fn start_with(variables: &[(&str, &str)]) -> Self {
        let upstream = Upstream::start().await;
        let database = ChecksumDb::new(DATABASE, 1);
        upstream.attach(&database);
        let folder = TempDir::with_prefix("dipylon-go-client-").expect("a temporary folder");
        std::fs::create_dir(folder.path().join("store")).expect("a folder for the store");
        let gateway = launch(&upstream, &database, folder.path(), variables).await;
        Self { upstream, database, gateway, folder }
    }

    /// Ends the gateway in order and starts another on the same store.
    pub(crate) async fn restart_with(&mut self, variables: &[(&str, &str)]) {
        let status = self.gateway.terminate().await;
        assert!(status.success(), "{status}: {}", self.gateway.stderr());
        let folder = self.folder.path();
        self.gateway = launch(&self.upstream, &self.database, folder, variables).await;
    }

    /// Adds a version to the upstream and hands it back.
    pub(crate) fn add(&self, module: FakeModule) -> FakeModule {
        self.upstream.add(module.clone());
        module
    }

    /// A `go` with empty caches, which has the gateway as GOPROXY and the database as GOSUMDB.
    pub(crate) fn go(&self) -> Go {
        Go::new().goproxy(&self.gateway.url()).gosumdb(self.database.verifier_key())
    }

    /// A folder of the test's own.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(&path).expect("a folder");
        path
    }

    /// A project: a folder with these files.
    pub(crate) fn project(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let folder = self.folder(name);
        for (file, text) in files {
            std::fs::write(folder.join(file), text).expect("a file of the project");
        }
        folder
    }

    /// Requests at the upstream that are about modules, not about the checksum database.
    pub(crate) fn module_requests(&self) -> usize {
        let seen = self.upstream.requests();
        seen.iter().filter(|request| !request.path.starts_with("/sumdb/")).count()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let printed = [self.gateway.stdout(), self.gateway.stderr()];
        if std::thread::panicking() {
            // What the gateway said is what the reader of a failed test needs.
            printed
                .iter()
                .flat_map(|text| text.lines())
                .for_each(|line| eprintln!("gateway: {line}"));
            return;
        }
        for text in printed {
            assert!(!text.contains("panicked at"), "the gateway panicked:\n{text}");
        }
    }
}

async fn launch(
    upstream: &Upstream,
    database: &ChecksumDb,
    folder: &Path,
    variables: &[(&str, &str)],
) -> Gateway {
    let fill = |text: &str| {
        let folder = folder.display().to_string();
        text.replace("{upstream}", &upstream.url()).replace("{folder}", &folder)
    };
    let mut builder = Gateway::builder(PROGRAM)
        .env("ATHENS_STORAGE_TYPE", "disk")
        .env("ATHENS_DISK_STORAGE_ROOT", &fill("{folder}/store"))
        .env("GOPROXY", &upstream.url())
        .env("GOSUMDB", database.verifier_key())
        .env("ATHENS_SUM_DBS", &format!("https://{DATABASE}"))
        .env("ATHENS_LOG_LEVEL", "info");
    for (name, value) in variables {
        builder = builder.env(name, &fill(value));
    }
    builder.start().await
}

/// A field of what `go mod download -json` printed, e.g. `Sum`; empty where it is absent.
pub(crate) fn field<'a>(object: &'a Value, name: &str) -> &'a str {
    object[name].as_str().unwrap_or_default()
}

/// Asserts that `got` is `module`, with the hashes that its bytes have.
pub(crate) fn assert_same(got: &Value, module: &FakeModule) {
    let want = [module.path(), module.version(), &module.h1(), &module.go_mod_h1()];
    let got_fields = ["Path", "Version", "Sum", "GoModSum"].map(|name| field(got, name));
    assert_eq!(got_fields, want, "{got}");
}

/// Asserts that a run failed and that its output has all these words.
pub(crate) fn assert_failed(output: &Output, words: &[&str]) {
    assert!(!output.status.success(), "go was expected to fail; it printed:\n{}", output.stdout);
    for word in words {
        assert!(output.stderr.contains(word), "no {word:?} in:\n{}", output.stderr);
    }
}
