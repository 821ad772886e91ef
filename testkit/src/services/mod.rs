//! Real servers as child processes: each in a folder of its own, on free ports of 127.0.0.1, and killed
//! by pid when it is dropped. Those that the run gives to all suites are in `given.rs`.

pub mod etcd;
pub mod given;
pub mod line;
pub mod redis;
pub mod sentinel;

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::process::Process;

/// The longest that a server may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(20);
/// The pause between two looks at it.
const PROBE_PAUSE: Duration = Duration::from_millis(10);

/// Below the ports that systems hand out themselves, to clients and to who binds to port 0: between our look and the
/// bind of the program that we start nobody else is given one of these.
const PORTS: Range<u16> = 10_000..32_000;
/// How far apart processes begin, so that test programs which run at once seldom meet.
const PORTS_OF_A_PROCESS: u32 = 500;

/// A port that was free a moment ago, and that this process is told of once in a long while.
pub(crate) fn free_address() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(PORTS_OF_A_PROCESS);
    let ports = u32::from(PORTS.end - PORTS.start);
    for _ in PORTS {
        let next = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % ports;
        let port = PORTS.start + u16::try_from(next).expect("below the number of ports");
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            return listener.local_addr().expect("a bound listener has an address");
        }
    }
    panic!("loopback has no free port in {PORTS:?}");
}

/// What has to be free in memory, in bytes: a member of a cluster begins with 64 MB.
const ROOMY: u64 = 1 << 30;

/// A folder in memory where the machine has one: with a disk that is busy with other things, as that of a machine
/// that builds, a cluster would elect leaders, and a test see that and not what it is about.
fn folder_in_memory(prefix: &str) -> TempDir {
    let memory = Path::new("/dev/shm");
    let free = rustix::fs::statvfs(memory).map_or(0, |system| system.f_bavail * system.f_frsize);
    let in_memory = (free >= ROOMY).then(|| TempDir::with_prefix_in(prefix, memory).ok());
    in_memory.flatten().unwrap_or_else(|| TempDir::with_prefix(prefix).expect("a temporary folder"))
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
