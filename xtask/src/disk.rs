//! Room on the disk. Without it everything fails, and what fails first names something else: a store that takes no
//! writes, a database that has gone.

use std::path::Path;
use std::process::Command;

/// Below this much, whatever fails may fail for want of room.
const LITTLE_MIB: u64 = 2_048;

/// Says so where there is little room left for what is built, or for what tests write. Silent where the machine
/// has no `df` that can tell.
pub(crate) fn warn_if_full() {
    for place in [Path::new(env!("CARGO_MANIFEST_DIR")), &std::env::temp_dir()] {
        let Some(left) = mib_left(place) else { continue };
        if left < LITTLE_MIB {
            println!(
                "DISK: {left} MiB are left at {}: what fails may fail of that",
                place.display()
            );
        }
    }
}

/// What is free where `place` lies, in MiB.
fn mib_left(place: &Path) -> Option<u64> {
    // One line for a file system, however long its name; sizes in KiB.
    let said = Command::new("df").arg("-Pk").arg(place).output().ok()?;
    let text = String::from_utf8(said.stdout).ok()?;
    available(&text).map(|kib| kib / 1_024)
}

/// The fourth field of the second line.
fn available(text: &str) -> Option<u64> {
    text.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_read_from_the_second_line() {
        let text = "Filesystem 1024-blocks Used Available Capacity Mounted on\n\
                    /dev/vda 263174212 26214400 70254592 28% /\n";
        assert_eq!(available(text), Some(70_254_592));
        assert_eq!(available("df: /nowhere: No such file or directory\n"), None);
    }

    #[test]
    fn this_machine_has_some_room() {
        assert!(mib_left(Path::new(env!("CARGO_MANIFEST_DIR"))).is_some_and(|left| left > 0));
    }
}
