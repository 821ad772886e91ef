//! Where these tests take place: repositories, a home, a gateway's configuration, questions to it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dipylon::fetch::go_command::{DEFAULT_CLONE_CACHE_LIMIT_BYTES, GoCommand, GoCommandConfig};
use dipylon_middleware::error::Error;
use dipylon_middleware::ports::{Fetched, Fetcher as _, Payload};
use dipylon_middleware::request::{FetchAsk, FetchRequest, RequestContext};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::query::VersionQuery;
use dipylon_protocol::version::Version;
use dipylon_testkit::git::{GitHome, GitRepo};
use futures::TryStreamExt as _;
use tokio::time::Instant;

pub(crate) const WIDGET: &str = "github.com/acme/widget";
pub(crate) const LONG: Duration = Duration::from_secs(60);
/// Git needs no more for a change of one line.
pub(crate) const SMALL_PACK_BYTES: u64 = 256 << 10;
pub(crate) const LARGE_FILE_BYTES: usize = 2 << 20;

/// A home with repositories, and what the gateway would configure.
pub(crate) struct Site {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) home: GitHome,
    pub(crate) config: GoCommandConfig,
}

impl Site {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = GitHome::new();
        let path = std::env::var("PATH").unwrap();
        let inherited = [("PATH", path.as_str()), ("HOME", home.path().to_str().unwrap())];
        let config = GoCommandConfig {
            binary: "go".into(),
            child_env: vec![("GOTOOLCHAIN".to_owned(), "auto".to_owned())],
            inherited: inherited.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            temp_parent: folder.path().join("temp"),
            cache_dir: folder.path().join("cache"),
            fetch_timeout: LONG,
            list_timeout: LONG,
            clone_cache_limit_bytes: DEFAULT_CLONE_CACHE_LIMIT_BYTES,
        };
        Self { folder, home, config }
    }

    /// A repository that is fetched as `https://MODULE`.
    pub(crate) fn repository(&self, module: &str) -> GitRepo {
        let repo = GitRepo::create(self.folder.path().join("repositories").join(module));
        self.home.map(&format!("https://{module}"), &repo);
        repo
    }

    /// The repository of most tests: v1.0.0 with a large file, v1.1.0 with one line more.
    pub(crate) fn widget(&self) -> GitRepo {
        let repo = self.repository(WIDGET);
        let large = incompressible(LARGE_FILE_BYTES);
        repo.commit(&[
            ("go.mod", "module github.com/acme/widget\n\ngo 1.20\n"),
            ("widget.go", "package widget\n"),
            ("large.txt", &large),
        ]);
        repo.tag("v1.0.0");
        repo.commit(&[("widget.go", "package widget\n\n// More.\n")]);
        repo.tag("v1.1.0");
        repo
    }

    pub(crate) fn go(&self) -> Arc<GoCommand> {
        Arc::new(GoCommand::new(self.config.clone()).unwrap())
    }

    /// A new gateway after the old one has let go of its cache, as the end of a process does.
    pub(crate) async fn restarted(&self, old: Arc<GoCommand>) -> Arc<GoCommand> {
        drop(old);
        let lock = self.config.cache_dir.join("slot-0/lock");
        eventually("the end of background work", || {
            fs::File::open(&lock).unwrap().try_lock().is_ok()
        })
        .await;
        self.go()
    }

    pub(crate) fn clones(&self) -> PathBuf {
        self.config.cache_dir.join("slot-0/vcs")
    }

    /// The trees of fetches that are there now.
    pub(crate) fn trees(&self) -> usize {
        let mut count = 0;
        for process in fs::read_dir(&self.config.temp_parent).unwrap() {
            let names = fs::read_dir(process.unwrap().path()).unwrap();
            count += names
                .filter(|entry| {
                    let name = entry.as_ref().unwrap().file_name();
                    name.to_string_lossy().starts_with("fetch-")
                })
                .count();
        }
        count
    }
}

/// Text that deflate cannot make much smaller: a linear congruence, in letters.
pub(crate) fn incompressible(bytes: usize) -> String {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'!' + u8::try_from((state >> 33) % 94).unwrap())
    };
    (0..bytes).map(|_| next()).collect()
}

pub(crate) fn request(module: &str, ask: FetchAsk) -> FetchRequest {
    let context = RequestContext::detached(Instant::now() + LONG);
    FetchRequest::new(context, ModulePath::parse(module).unwrap(), ask)
}

pub(crate) fn zip_of(version: &str) -> FetchAsk {
    FetchAsk::Zip(Version::parse(version).unwrap())
}

pub(crate) fn info_of(query: &str) -> FetchAsk {
    FetchAsk::Info(VersionQuery::parse(query).unwrap())
}

/// A fetched version with its zip read.
pub(crate) struct Whole {
    pub(crate) version: Version,
    pub(crate) info: Bytes,
    pub(crate) go_mod: Bytes,
    pub(crate) zip: Vec<u8>,
}

pub(crate) async fn whole(fetched: Fetched) -> Whole {
    let Payload::Version { version, info, go_mod, zip } = fetched.payload else {
        panic!("not a whole version");
    };
    let bytes: Vec<Bytes> = zip.stream.try_collect().await.unwrap();
    let bytes = bytes.concat();
    assert_eq!(zip.length, Some(bytes.len() as u64));
    Whole { version, info, go_mod, zip: bytes }
}

pub(crate) async fn fetch(go: &GoCommand, module: &str, ask: FetchAsk) -> Whole {
    whole(go.fetch(request(module, ask)).await.unwrap()).await
}

pub(crate) async fn text(go: &GoCommand, module: &str, ask: FetchAsk) -> String {
    match go.fetch(request(module, ask)).await.unwrap().payload {
        Payload::Bytes(bytes) => String::from_utf8(bytes.into()).unwrap(),
        _ => panic!("not bytes"),
    }
}

pub(crate) async fn refusal(go: &GoCommand, module: &str, ask: FetchAsk) -> Error {
    let error = go.fetch(request(module, ask)).await.map(drop).unwrap_err();
    let text = error.message();
    assert!(
        !text.contains("dipylon-go-") && !text.contains("/vcs/") && !text.contains('\n'),
        "{text}"
    );
    println!("{:?}: {text}", error.kind());
    error
}

pub(crate) async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(15);
    while !done() {
        assert!(Instant::now() < until, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn bytes_below(folder: &Path) -> u64 {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(data) = entry.metadata() else { continue };
        bytes += if data.is_dir() { bytes_below(&entry.path()) } else { data.len() };
    }
    bytes
}
