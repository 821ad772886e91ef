//! Steps: a named command, its seconds, and the sum of what its tests said.

use std::fmt;
use std::io::{BufRead, BufReader, PipeReader};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::disk::warn_if_full;

/// Lines read but not yet printed.
const MAX_WAITING_LINES: usize = 1024;
/// Once its command has ended, a step whose pipe says nothing for so long is over.
const SILENCE_AFTER_END: Duration = Duration::from_secs(2);

/// Counts over all runs of the tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
    /// Of the skipped, those for which the machine lacks something: `ci` takes them for failures.
    pub(crate) missing: usize,
}

impl Tally {
    /// `count` more that were skipped because something is missing.
    pub(crate) fn missing(self, count: usize) -> Self {
        Self { skipped: self.skipped + count, missing: self.missing + count, ..self }
    }
}

impl std::ops::Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
            missing: self.missing + other.missing,
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// What a step's command printed and how it ended.
pub(crate) struct Ended {
    pub(crate) good: bool,
    pub(crate) lines: Vec<String>,
}

/// Prints a banner, runs `work`, prints how long it took.
pub(crate) fn step<T>(name: &str, work: impl FnOnce() -> T) -> T {
    println!("\n==> {name}");
    let began = Instant::now();
    let result = work();
    let took = began.elapsed();
    println!("<== {name}: {:.1} s", took.as_secs_f64());
    warn_if_full();
    TIMES.lock().unwrap_or_else(PoisonError::into_inner).push((name.to_owned(), took));
    result
}

/// What each step of this run took.
static TIMES: Mutex<Vec<(String, Duration)>> = Mutex::new(Vec::new());

/// What `ci` may take on a machine with two cores and nothing left over.
const TIMES_MAX: Duration = Duration::from_secs(60 * 60);

/// Prints what each step took, in their order, and all of them together.
pub(crate) fn print_times() {
    let times = TIMES.lock().unwrap_or_else(PoisonError::into_inner);
    println!("\n   seconds  step");
    for (name, took) in times.iter() {
        println!("{:10.1}  {name}", took.as_secs_f64());
    }
    let all: Duration = times.iter().map(|(_, took)| *took).sum();
    println!("{:10.1}  in all", all.as_secs_f64());
    if all > TIMES_MAX {
        println!(
            "that is more than the {} minutes that a cold run may take",
            TIMES_MAX.as_secs() / 60
        );
    }
}

/// Runs `program` in `dir`, copying what it prints to our standard output while keeping the lines.
///
/// Standard output and error share one pipe: cargo names the test binary on one and the binary
/// prints its results on the other, and only the common order tells which belongs to which.
pub(crate) fn run(dir: &Path, program: &str, args: &[&str]) -> Ended {
    run_with(dir, program, args, &[])
}

/// [`run`] with more variables in the program's environment.
pub(crate) fn run_with(
    dir: &Path,
    program: &str,
    args: &[&str],
    env: &[(String, String)],
) -> Ended {
    match stream(dir, program, args, env) {
        Ok(ended) => ended,
        Err(error) => {
            println!("{program} {}: {error}", args.join(" "));
            Ended { good: false, lines: Vec::new() }
        }
    }
}

fn stream(
    dir: &Path,
    program: &str,
    args: &[&str],
    env: &[(String, String)],
) -> std::io::Result<Ended> {
    let (reader, writer) = std::io::pipe()?;
    let mut command = Command::new(program);
    command.args(args).current_dir(dir).stdin(std::process::Stdio::null());
    for (name, _) in std::env::vars_os() {
        if is_of_this_package(&name.to_string_lossy()) {
            command.env_remove(name);
        }
    }
    command.envs(env.iter().map(|(name, value)| (name, value)));
    command.stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn()?;
    // The command holds the last copies of the writing end; without this the reading never ends.
    drop(command);
    let (sender, receiver) = mpsc::sync_channel(MAX_WAITING_LINES);
    std::thread::spawn(move || send_lines(reader, &sender));
    let mut lines = Vec::new();
    loop {
        match receiver.recv_timeout(SILENCE_AFTER_END) {
            Ok(line) => {
                println!("{line}");
                lines.push(line);
            }
            // A process that a test left behind holds the pipe open: the step ends without it.
            Err(RecvTimeoutError::Timeout) if child.try_wait()?.is_none() => {}
            Err(_) => break,
        }
    }
    Ok(Ended { good: child.wait()?.success(), lines })
}

/// What cargo told us about our own package. Some build scripts ask to be run again when these change,
/// and everything above them is built anew: `cargo test` and `cargo xtask test` shall find the same.
fn is_of_this_package(variable: &str) -> bool {
    ["CARGO_MANIFEST_", "CARGO_PKG_"].iter().any(|begin| variable.starts_with(begin))
}

fn send_lines(reader: PipeReader, sender: &SyncSender<String>) {
    for line in BufReader::new(reader).split(b'\n').map_while(Result::ok) {
        if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
            return;
        }
    }
}

/// Runs a small command quietly: its standard output, or `None` when it cannot run or fails.
pub(crate) fn ask(dir: &Path, program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).current_dir(dir).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The cargo that runs us, so that a chosen toolchain stays chosen.
pub(crate) fn cargo() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}
