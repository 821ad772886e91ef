//! Real servers as child processes: each in a folder of its own, on free ports of 127.0.0.1, and killed
//! by pid when it is dropped. Those that the run gives to all suites are in `given.rs`.

pub mod etcd;
pub mod given;
pub mod redis;
pub mod sentinel;

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::process::Process;

/// The longest that a server may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(20);
/// The pause between two looks at it.
const PROBE_PAUSE: Duration = Duration::from_millis(10);

/// A port that was free a moment ago.
pub(crate) fn free_address() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
    listener.local_addr().expect("a bound listener has an address")
}

/// A program by its name on `PATH`, or where this variable says.
fn program(variable: &str, name: &str) -> String {
    std::env::var(variable).ok().filter(|path| !path.is_empty()).unwrap_or_else(|| name.to_owned())
}

/// Runs a program in a folder that takes what it prints.
fn spawn(program: &str, args: &[String], folder: &Path) -> Process {
    let output = |name: &str| File::create(folder.join(name)).expect("a file for what it prints");
    let mut command = Command::new(program);
    command.args(args).current_dir(folder).stdin(Stdio::null());
    command.stdout(output("stdout")).stderr(output("stderr"));
    Process::spawn(&mut command).unwrap_or_else(|error| panic!("cannot run {program}: {error}"))
}

/// Waits until `is_up` says so.
///
/// # Panics
/// When the process ends or the time is over, with what it printed.
fn wait_until_up(process: &mut Process, folder: &Path, is_up: impl Fn() -> io::Result<bool>) {
    let began = Instant::now();
    while !is_up().unwrap_or(false) {
        let printed = |name| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        let said = || format!("{}{}", printed("stdout"), printed("stderr"));
        if let Some(status) = process.ended() {
            panic!("a server ended at its start ({status}):\n{}", said());
        }
        assert!(began.elapsed() < START_LIMIT, "a server is not up in time:\n{}", said());
        std::thread::sleep(PROBE_PAUSE);
    }
}
