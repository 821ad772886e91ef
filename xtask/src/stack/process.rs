//! Processes by pid and time of start, so that a pid that was given away again is never touched.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::services::Start;

/// How often a process is asked whether it has ended.
const POLL: Duration = Duration::from_millis(20);
/// Time that a killed process has to be gone.
const KILLED_LIMIT: Duration = Duration::from_secs(5);

/// A process of this boot of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) pid: u32,
    /// Clock ticks from boot to its start.
    pub(super) start: u64,
}

impl Identity {
    /// The process that has this pid now; `None` where there is none, or only its exit status is left.
    pub(super) fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        started(&stat).map(|start| Self { pid, start })
    }

    /// Whether this very process still runs.
    pub(super) fn runs(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Resident memory in KiB, of a process that runs.
    pub(super) fn resident_kib(self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.split_whitespace().next()?.parse().ok()
    }

    pub(super) fn signal(self, name: &str) {
        if !self.runs() {
            return;
        }
        // One that ends in between needs no signal, so what `kill` says does not matter: whether the
        // process is gone is looked at afterwards.
        let command = format!("kill -{name} {}", self.pid);
        let _ = Command::new("sh").args(["-c", &command]).stderr(Stdio::null()).status();
    }
}

/// The time of start in `/proc/PID/stat`, field 22; `None` for a zombie. The second field is the
/// program's name in brackets, which may itself hold brackets and spaces.
fn started(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    // The state is field 3, and the next of the iterator is field 4.
    fields.nth(22 - 4)?.parse().ok()
}

/// Names this boot: no process outlives it, whatever pid and time of start say.
pub(super) fn boot() -> Result<String, String> {
    let path = "/proc/sys/kernel/random/boot_id";
    let id = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    Ok(id.trim().to_owned())
}

/// Starts a process that outlives us, in a group of its own, its words in the file `log`.
///
/// # Errors
/// One line: it cannot be started, or ended at once.
pub(super) fn spawn(start: &Start, folder: &Path, log: &Path) -> Result<Identity, String> {
    use std::os::unix::process::CommandExt;
    let told = |error: std::io::Error| format!("{}: {error}", log.display());
    // One that is started again goes on in the log that it has begun.
    let out = File::options().create(true).append(true).open(log).map_err(told)?;
    let mut command = Command::new(&start.program);
    command.args(&start.args).envs(start.env.iter().map(|(name, value)| (name, value)));
    command.current_dir(folder).process_group(0).stdin(Stdio::null());
    command.stdout(out.try_clone().map_err(told)?).stderr(out);
    let child = command
        .spawn()
        .map_err(|error| format!("{} cannot be started: {error}", start.program.display()))?;
    Identity::of(child.id()).ok_or_else(|| format!("{} ended at once", start.name))
}

/// Asks all to end, waits `grace`, kills the rest. Says which ones even that did not end.
pub(super) fn stop(processes: &[Identity], grace: Duration) -> Vec<Identity> {
    for process in processes {
        process.signal("TERM");
    }
    let left = until_gone(processes, grace);
    for process in &left {
        process.signal("KILL");
    }
    until_gone(&left, KILLED_LIMIT)
}

/// Those that still run after `limit`.
pub(super) fn until_gone(processes: &[Identity], limit: Duration) -> Vec<Identity> {
    let began = Instant::now();
    loop {
        let left: Vec<Identity> =
            processes.iter().copied().filter(|process| process.runs()).collect();
        if left.is_empty() || began.elapsed() >= limit {
            return left;
        }
        std::thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(script: &str) -> Identity {
        let start = Start {
            name: "sleeper".to_owned(),
            port: 0,
            program: "sh".into(),
            args: vec!["-c".to_owned(), script.to_owned()],
            env: Vec::new(),
        };
        spawn(&start, Path::new("/"), Path::new("/dev/null")).unwrap()
    }

    #[test]
    fn the_time_of_start_is_read_whatever_the_program_is_called() {
        let after = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21";
        assert_eq!(started(&format!("7 (a) {after}")), Some(4711));
        assert_eq!(started(&format!("7 (a) b) (c) {after}")), Some(4711));
        assert_eq!(started(&format!("7 (a) Z{}", &after[1..])), None);
        assert_eq!(started("7 (a) S 1"), None);
    }

    #[test]
    fn a_process_ends_when_asked() {
        let process = sleeper("exec sleep 60");
        assert!(process.runs());
        assert!(process.resident_kib().is_some());
        assert_eq!(stop(&[process], Duration::from_secs(5)), []);
        assert!(!process.runs());
    }

    #[test]
    fn a_process_that_will_not_end_is_killed() {
        let process = sleeper("trap '' TERM; while :; do sleep 0.05; done");
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(stop(&[process], Duration::from_millis(200)), []);
        assert!(!process.runs());
    }

    #[test]
    fn a_pid_that_another_process_has_now_is_left_alone() {
        let process = sleeper("exec sleep 60");
        let earlier = Identity { start: process.start - 1, ..process };
        assert!(!earlier.runs());
        assert_eq!(stop(&[earlier], Duration::ZERO), []);
        assert!(process.runs());
        assert_eq!(stop(&[process], Duration::from_secs(5)), []);
    }
}
