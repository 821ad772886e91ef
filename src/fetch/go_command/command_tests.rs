//! One run of a child, with `/bin/sh` for the child.

use std::time::Duration;

use super::super::tests::{LONG, SOON, eventually, is_running};
use super::*;

async fn shell(script: &str, limit: Duration) -> Result<Output, RunError> {
    run(Run {
        program: "/bin/sh".as_ref(),
        arguments: &["-c", script],
        variables: &Variables::from([("PATH".into(), "/usr/bin:/bin".into())]),
        directory: "/".as_ref(),
        deadline: Instant::now() + limit,
        stop: &CancellationToken::new(),
        keep: Arc::new(()),
    })
    .await
}

#[tokio::test]
async fn output_and_status_are_told() {
    let output = shell("echo out; echo err >&2; exit 3", LONG).await.unwrap();
    assert_eq!(
        (output.status.code(), output.stdout, output.stderr),
        (Some(3), b"out\n".to_vec(), "err\n".into())
    );
}

#[tokio::test]
async fn nothing_of_our_environment_reaches_the_child() {
    let output = shell("env | cut -d= -f1 | sort | tr '\\n' ' '", LONG).await.unwrap();
    let names = String::from_utf8(output.stdout).unwrap();
    // The shell itself adds the other three.
    assert!(
        names.split_whitespace().all(|name| ["PATH", "PWD", "SHLVL", "_"].contains(&name)),
        "{names}"
    );
}

#[tokio::test]
async fn a_flood_of_messages_is_read_to_the_end_and_cut() {
    let output = shell("yes boom | head -c 3000000 >&2; echo done", LONG).await.unwrap();
    assert_eq!((output.stderr.len(), output.stdout), (MAX_STDERR_BYTES, b"done\n".to_vec()));
}

#[tokio::test]
async fn too_long_an_answer_is_an_error() {
    let script = format!("head -c {} /dev/zero", MAX_STDOUT_BYTES + 1);
    assert!(matches!(shell(&script, LONG).await, Err(RunError::TooLong)));
}

#[tokio::test]
async fn what_the_child_leaves_behind_does_not_hold_the_answer() {
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    let script = format!("sleep 1000 & echo $! > {}; echo done", pid.display());
    let output = shell(&script, LONG).await.unwrap();
    assert_eq!(output.stdout, b"done\n");
    eventually("the end of what was left", || !is_running(&pid)).await;
}

#[tokio::test]
async fn at_the_deadline_the_whole_group_ends_even_when_it_ignores_sigterm() {
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    let script = format!(
        "(trap '' TERM; echo $$ >/dev/null; sh -c 'echo $PPID' > {}; while :; do sleep 1; done) & wait",
        pid.display()
    );
    let begun = Instant::now();
    assert!(matches!(shell(&script, SOON).await, Err(RunError::Deadline)));
    assert!(begun.elapsed() < TERMINATION_GRACE, "the caller does not wait for the end");
    assert!(is_running(&pid), "it has ignored the polite signal");
    eventually("the end of the group", || !is_running(&pid)).await;
}
