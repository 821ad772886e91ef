//! The real program with a script for `go`: what `direct` does to others, and what an end leaves.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dipylon_testkit::gateway::{Builder, Gateway};
use rustix::process::Signal;
use tempfile::TempDir;

/// What a step of a test may take.
const LIMIT: Duration = Duration::from_secs(20);

/// `dead.test` cannot be reached, `hang.test` never answers and ignores SIGTERM, others have v1.0.0.
const SCRIPT: &str = r#"#!/bin/sh
folder=$(dirname "$0")
case "$1" in
version) echo go version go1.26.8 linux/amd64; exit ;;
env) echo '{}'; exit ;;
esac
echo "$*" >> "$folder/calls"
case "$*" in
*dead.test*) echo "fatal: Could not resolve host: dead.test" >&2; exit 1 ;;
*hang.test*) trap '' TERM; echo $$ > "$folder/pid"; sleep 1000 & wait; wait ;;
*) echo '{"Path":"m","Version":"v1.0.0","Versions":["v1.0.0"],"Time":"2024-01-01T00:00:00Z"}' ;;
esac
"#;

struct World {
    folder: TempDir,
}

impl World {
    fn new() -> Self {
        let folder = TempDir::with_prefix("dipylon-test-").unwrap();
        fs::write(folder.path().join("go"), SCRIPT).unwrap();
        fs::set_permissions(folder.path().join("go"), fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["temp", "spools"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn gateway(&self) -> Builder {
        let text = |name| self.path(name).to_str().unwrap().to_owned();
        Gateway::builder(env!("CARGO_BIN_EXE_dipylon"))
            .env("GO_BINARY_PATH", &text("go"))
            .env("ATHENS_GOGET_DIR", &text("temp"))
            .env("DIPYLON_SPOOL_DIR", &text("spools"))
            .env("GOPROXY", "direct")
            .env("GOSUMDB", "off")
            .env("ATHENS_SHUTDOWN_TIMEOUT", "1")
    }

    fn calls(&self, about: &str) -> usize {
        let calls = fs::read_to_string(self.path("calls")).unwrap_or_default();
        calls.lines().filter(|line| line.contains(about)).count()
    }

    /// Names in the directory of temporary trees, caches aside.
    fn trees(&self) -> Vec<String> {
        names(&self.path("temp"))
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < LIMIT, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_dead_host_neither_refuses_the_modules_of_others_nor_runs_go_again() {
    let world = World::new();
    let gateway = world.gateway().start().await;
    for number in 0..12 {
        let failed = gateway.get(&format!("/dead.test/m{number}/@v/list")).await;
        assert_eq!(failed.status, 502, "{}", failed.text());
        assert!(failed.text().contains("Could not resolve host"), "{}", failed.text());
    }
    assert_eq!(world.calls("dead.test/m3@"), 1, "one run for one question");
    let alive = gateway.get("/alive.test/m/@v/list").await;
    assert_eq!((alive.status.as_u16(), alive.text()), (200, "v1.0.0\n"));
}

#[tokio::test]
async fn an_overrun_drain_kills_the_go_command_and_removes_its_tree() {
    let world = World::new();
    let mut gateway = world.gateway().start().await;
    let client = gateway.client();
    let asking =
        tokio::spawn(async move { client.get_streaming("/hang.test/m/@v/list").await.is_ok() });
    until("the start of go", || world.path("pid").exists()).await;
    let pid = fs::read_to_string(world.path("pid")).unwrap();
    gateway.signal(Signal::TERM);
    let status = gateway.wait(LIMIT).await.expect("it ends");
    assert_eq!(status.code(), Some(1), "{}", gateway.stderr());
    assert!(gateway.stderr().contains("ShutdownTimeout"), "{}", gateway.stderr());
    assert!(!Path::new(&format!("/proc/{}", pid.trim())).exists(), "go is gone");
    let fetches = world.trees().into_iter().flat_map(|tree| names(&world.path("temp").join(tree)));
    let left: Vec<String> = fetches.filter(|name| name.starts_with("fetch-")).collect();
    assert!(left.is_empty(), "{left:?}");
    asking.await.unwrap();
}

#[tokio::test]
async fn what_a_killed_process_left_is_swept_by_the_next() {
    let world = World::new();
    let mut gateway = world.gateway().start().await;
    assert_eq!(names(&world.path("spools")).len(), 1);
    let left = world.path("spools").join(&names(&world.path("spools"))[0]);
    assert_eq!(fs::metadata(&left).unwrap().mode() & 0o777, 0o700);
    gateway.kill();
    assert!(gateway.wait(LIMIT).await.is_some());
    assert!(left.exists());
    let mut next = world.gateway().start().await;
    assert!(!left.exists());
    assert_eq!((names(&world.path("spools")).len(), world.trees().len()), (1, 1));
    assert!(next.terminate().await.success());
    assert_eq!(names(&world.path("spools")), [""; 0]);
}

#[tokio::test]
async fn the_cache_of_go_is_private_and_below_the_home_directory() {
    let world = World::new();
    let gateway = world.gateway().start().await;
    let cache = gateway.folder().join(".cache/dipylon/go");
    assert_eq!(fs::metadata(&cache).unwrap().mode() & 0o777, 0o700);
    drop(gateway);

    let gateway = world.gateway().env("HOME", "/dev/null/nowhere").start().await;
    let user = rustix::process::geteuid().as_raw();
    let cache = world.path("temp").join(format!("dipylon-go-cache-{user}"));
    assert_eq!(fs::metadata(&cache).unwrap().mode() & 0o777, 0o700);
    drop(gateway);

    fs::set_permissions(&cache, fs::Permissions::from_mode(0o777)).unwrap();
    let refused = world.gateway().env("HOME", "/dev/null/nowhere").try_start().await.unwrap_err();
    assert!(refused.contains("other users can write to it"), "{refused}");
}
