//! Child processes in a group of their own, always ended by pid.

use std::io;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// How often a child is asked whether it has ended.
pub(crate) const POLL: Duration = Duration::from_millis(5);

/// A child that is killed, with its own children, when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

impl Process {
    pub(crate) fn spawn(command: &mut Command) -> io::Result<Self> {
        use std::os::unix::process::CommandExt;
        let child = command.process_group(0).spawn()?;
        Ok(Self { child })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn rustix_pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The exit status, if it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child of ours can be waited for")
    }

    /// Sends a signal to the child alone; a child that has ended already needs none.
    pub(crate) fn signal(&mut self, signal: Signal) {
        if self.ended().is_none() {
            let _ = kill_process(self.rustix_pid(), signal);
        }
    }

    /// Kills the child and all that it has started.
    pub(crate) fn kill(&mut self) {
        // The group is asked to go even when its leader has ended; it may be gone as well.
        let _ = kill_process_group(self.rustix_pid(), Signal::KILL);
        let _ = self.child.wait();
    }

    /// Waits, blocking the thread: `None` when `limit` passes first.
    pub(crate) fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            if began.elapsed() >= limit {
                return None;
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
