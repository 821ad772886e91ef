//! Runs Go programs that use golang.org/x/mod: the rules this crate follows, as they are.

#![allow(dead_code, unreachable_pub, reason = "each test target uses its own part")]

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The version of golang.org/x/mod that answers.
const ORACLE_VERSION: &str = "v0.30.0";
/// Longest time a command may take, the build of the program included.
const MAX_RUN: Duration = Duration::from_secs(180);

/// Runs `program` with `arguments` in a scratch module.
///
/// # Panics
/// Where there is no go or no network: its callers are ignored tests that say so.
pub fn go_run(program: &str, arguments: &[&Path]) -> String {
    let scratch = tempfile::tempdir().unwrap();
    let go_mod =
        format!("module oracle\n\ngo 1.24.0\n\nrequire golang.org/x/mod {ORACLE_VERSION}\n");
    fs::write(scratch.path().join("go.mod"), go_mod).unwrap();
    fs::write(scratch.path().join("main.go"), program).unwrap();
    let module = format!("golang.org/x/mod@{ORACLE_VERSION}");
    go(scratch.path(), &["mod", "download", &module], &[])
        .unwrap_or_else(|why| panic!("golang.org/x/mod cannot be had: {why}"));
    go(scratch.path(), &["run", "."], arguments)
        .unwrap_or_else(|why| panic!("the oracle failed: {why}"))
}

/// Runs the go command and returns its standard output.
pub fn go(folder: &Path, arguments: &[&str], more: &[&Path]) -> Result<String, String> {
    let (out, err) = (folder.join("stdout"), folder.join("stderr"));
    let mut child = Command::new("go")
        .args(arguments)
        .args(more)
        .current_dir(folder)
        .env("GOFLAGS", "-mod=mod -buildvcs=false")
        .stdin(Stdio::null())
        .stdout(File::create(&out).unwrap())
        .stderr(File::create(&err).unwrap())
        .spawn()
        .map_err(|error| format!("no go command: {error}"))?;
    let begin = Instant::now();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if begin.elapsed() > MAX_RUN => {
                child.kill().unwrap();
                child.wait().unwrap();
                return Err(format!("go {arguments:?} took over {MAX_RUN:?}"));
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    if !status.success() {
        return Err(fs::read_to_string(err).unwrap());
    }
    Ok(fs::read_to_string(out).unwrap())
}
