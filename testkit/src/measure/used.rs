//! CPU time that a process has used.

use std::collections::BTreeMap;
use std::time::Duration;

/// What Linux tells programs in, whatever its own clock does, on every processor that we build for.
const TICK_MS: u64 = 10;

/// CPU time used by each thread of a process so far (Linux's `schedstat`): on a machine that has more to do,
/// the time on the wall would say more of the others than of us.
#[derive(Clone, Debug)]
pub struct Used(BTreeMap<String, u64>);

impl Used {
    /// Of a process.
    ///
    /// # Panics
    /// When it has ended.
    pub fn now(pid: u32) -> Self {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process is there");
        let of_task = |task: std::io::Result<std::fs::DirEntry>| {
            let task = task.ok()?;
            // A thread may end between the two looks.
            let stat = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            let nanos = stat.split(' ').next()?.parse().ok()?;
            Some((task.file_name().to_string_lossy().into_owned(), nanos))
        };
        Self(tasks.filter_map(of_task).collect())
    }

    /// Of this process. The kernel brings a thread's count up to date when it yields or waits.
    pub fn here() -> Self {
        std::thread::yield_now();
        Self::now(std::process::id())
    }

    /// From `before` until this.
    pub fn since(&self, before: &Self) -> Duration {
        let of = |(task, nanos): (&String, &u64)| {
            nanos.saturating_sub(before.0.get(task).copied().unwrap_or(0))
        };
        Duration::from_nanos(self.0.iter().map(of).sum())
    }
}

/// CPU time of a process since its start with that of its threads and children that have ended, to the kernel's tick
/// of 10 ms: for what takes long, and starts other programs.
///
/// # Panics
/// When it has ended.
pub fn in_all(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process is there");
    // The name, which may have spaces, stands in brackets.
    let (_, rest) = stat.rsplit_once(')').expect("a name in brackets");
    let ticks = rest.split_whitespace().skip(11).take(4);
    let ticks: u64 = ticks.map(|ticks| ticks.parse::<u64>().expect("a number of ticks")).sum();
    Duration::from_millis(ticks * TICK_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_see_what_this_process_uses() {
        let pid = std::process::id();
        let (before, before_in_all) = (Used::here(), in_all(pid));
        let began = std::time::Instant::now();
        while Used::here().since(&before) < Duration::from_millis(60) {
            assert!(began.elapsed() < Duration::from_secs(20), "nothing is counted");
        }
        assert!(in_all(pid) - before_in_all >= Duration::from_millis(30));
    }
}
