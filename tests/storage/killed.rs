//! A process that is killed in the middle of its saves leaves a store without half versions.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use dipylon_middleware::ports::SaveResult;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::storage_suite::Subject;

use super::{Bench, open};

/// How the child learns where its store is.
const ROOT: &str = "DIPYLON_TEST_KILLED_ROOT";
const CHILD: &str = "killed::child_that_saves_until_it_is_killed";
/// Time the child gets after its first save: each run is killed a little later than the last.
const LIFE_STEP: Duration = Duration::from_millis(5);
/// Longest wait for the child's first save.
const FIRST_SAVE_MAX: Duration = Duration::from_secs(30);
const KILLS: u32 = 12;
/// Versions that the child saves over and over.
const VERSIONS: usize = 400;

fn module(number: usize) -> FakeModule {
    FakeModule::new("example.com/killed", &format!("v1.0.{number}")).filler(300_000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_leaves_no_half_version() {
    let mut bench = Bench::new().await;
    let mut stored = 0;
    for kill in 1..=KILLS {
        run_and_kill(bench.root.path(), stored, LIFE_STEP * kill);
        // A new process finds only what is on the disk.
        bench.subject = Subject::new(open(bench.root.path()).await);
        let listed = bench.list("example.com/killed").await.len();
        let whole = whole_versions(&bench).await;
        assert_eq!(listed, whole, "whatever is listed is whole");
        assert!(whole > stored, "nothing that was stored is lost");
        stored = whole;
    }
    let next = module(stored);
    assert!(bench.is_absent(&next).await);
    assert_eq!(bench.subject.save(&next).await.unwrap(), SaveResult::Created);
    assert!(bench.is_stored(&next).await);
}

/// How many versions are whole, byte for byte; the others must be absent.
async fn whole_versions(bench: &Bench) -> usize {
    let mut whole = 0;
    for number in 0..VERSIONS {
        if bench.is_absent(&module(number)).await {
            // The child saves in order, one after the other.
            return whole;
        }
        assert!(bench.is_stored(&module(number)).await, "v1.0.{number} is half there");
        whole += 1;
    }
    whole
}

fn run_and_kill(root: &Path, stored: usize, life: Duration) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([CHILD, "--exact", "--ignored"])
        .env(ROOT, root)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    let first = root.join(module(stored).path()).join(module(stored).version());
    while !first.exists() {
        assert!(begin.elapsed() < FIRST_SAVE_MAX, "the child saves nothing");
        thread::sleep(Duration::from_millis(1));
    }
    thread::sleep(life);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
#[ignore = "run by a_killed_process_leaves_no_half_version"]
async fn child_that_saves_until_it_is_killed() {
    let root = std::env::var_os(ROOT).expect("only its parent runs it and says where the store is");
    let subject = Subject::new(open(&PathBuf::from(root)).await);
    for number in 0..VERSIONS {
        subject.save(&module(number)).await.unwrap();
    }
}
