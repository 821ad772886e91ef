//! One at a time, over all processes of this machine: a lock on a file, which ends with its holder.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};

/// How often one that waits looks again.
const POLL: Duration = Duration::from_millis(200);

/// Holds `folder/.NAME.lock` until it is dropped; waits `limit` for another holder.
///
/// # Errors
/// One line: the file cannot be made, or another holder did not let go in time.
pub(super) fn alone(folder: &Path, name: &str, limit: Duration) -> Result<File, String> {
    let path = folder.join(format!(".{name}.lock"));
    let told = |error: std::io::Error| format!("{}: {error}", path.display());
    let file = File::create(&path).map_err(told)?;
    let began = Instant::now();
    let mut said = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(told(error)),
            Err(TryLockError::WouldBlock) => {}
        }
        if began.elapsed() >= limit {
            let secs = limit.as_secs();
            return Err(format!("{} has been held by another for {secs} s", path.display()));
        }
        if !said {
            eprintln!("waiting for another command that holds {}", path.display());
            said = true;
        }
        std::thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_waits_for_the_first_and_not_for_ever() {
        let folder = std::env::temp_dir().join(format!("dipylon-alone-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let first = alone(&folder, "x", Duration::ZERO).unwrap();
        let refused = alone(&folder, "x", Duration::ZERO).unwrap_err();
        assert!(refused.ends_with(".x.lock has been held by another for 0 s"), "{refused}");
        drop(first);
        assert!(alone(&folder, "x", Duration::ZERO).is_ok());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
