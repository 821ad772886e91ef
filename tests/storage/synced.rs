//! A save is on the disk before it returns: the order of the syncs, seen from outside.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dipylon_testkit::module::FakeModule;
use dipylon_testkit::storage_suite::Subject;

use super::open;

/// How the child learns where its store is.
const ROOT: &str = "DIPYLON_TEST_SYNCED_ROOT";
const CHILD: &str = "synced::child_that_saves_once";

fn module() -> FakeModule {
    FakeModule::new("example.com/synced", "v1.0.0")
}

/// Runs the child under strace and returns its calls.
fn calls_of_a_save(root: &Path, trace: &Path) -> Vec<String> {
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-s", "4096", "-e", "trace=fsync,rename,renameat,renameat2", "-o"]);
    command.arg(trace).arg(std::env::current_exe().unwrap());
    command.args([CHILD, "--exact", "--ignored"]).env(ROOT, root);
    let output = command.stdin(Stdio::null()).output().expect("strace runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(root.join("example.com/synced/v1.0.0").is_dir(), "the child never ran: {said}");
    fs::read_to_string(trace).expect("a trace").lines().map(str::to_owned).collect()
}

#[test]
#[ignore = "needs strace: run by cargo xtask test"]
fn everything_is_synced_and_in_order() {
    let root = tempfile::tempdir().unwrap();
    let trace = tempfile::NamedTempFile::new().unwrap();
    let calls = calls_of_a_save(root.path(), trace.path());
    let shown = root.path().to_str().unwrap();
    let at = |name: &str, ending: &str| {
        let found = calls.iter().position(|call| call.contains(name) && call.contains(ending));
        found.unwrap_or_else(|| panic!("no {name} of {ending} in {calls:#?}"))
    };
    let publish = at("rename", "/example.com/synced/v1.0.0\"");
    for file in ["/go.mod>", "/v1.0.0.info>", "/source.zip>"] {
        assert!(at("fsync", file) < publish, "{file} is synced before it is published");
    }
    let stage = calls.iter().position(|call| is_sync_of_stage(call)).expect("a staged directory");
    assert!(at("fsync", "/source.zip>") < stage && stage < publish, "then the names of the files");
    for directory in [format!("<{shown}>"), format!("<{shown}/example.com>")] {
        assert!(at("fsync", &directory) < publish, "{directory} has the name of a new directory");
    }
    let parent = format!("<{shown}/example.com/synced>");
    assert!(at("fsync", &parent) > publish, "the name of the version is synced at the end");
}

fn is_sync_of_stage(call: &str) -> bool {
    let name = call.split_once("/.dipylon/staging/save-").map(|(_, name)| name);
    call.contains("fsync") && name.is_some_and(|name| !name.contains('/'))
}

#[tokio::test]
#[ignore = "run by everything_is_synced_and_in_order"]
async fn child_that_saves_once() {
    let root = std::env::var_os(ROOT).expect("only its parent runs it and says where the store is");
    let subject = Subject::new(open(&PathBuf::from(root)).await);
    subject.save(&module()).await.unwrap();
}
