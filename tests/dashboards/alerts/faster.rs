//! The rules for a faster time: every duration divided by one number, and nothing else changed.

use std::fmt::Write as _;

/// The units of Prometheus's durations, in milliseconds.
const UNITS: [(char, u64); 4] = [('s', 1_000), ('m', 60_000), ('h', 3_600_000), ('d', 86_400_000)];
/// What stands before a duration: a range, an offset, and the time that an alert waits before it fires.
const BEFORE: [&str; 3] = ["[", "offset ", "for: "];

/// `text` with each duration divided by `by`.
///
/// A range, an offset and a `for` are durations. A threshold is none: it is a share, a rate for each second or a
/// number of seconds, and stays. Nor is a name that speaks of one, such as `ratio_rate5m`.
pub(super) fn faster(text: &str, by: u64) -> String {
    let mut divided = String::new();
    for line in text.lines() {
        divided.push_str(&if is_for_people(line) { line.to_owned() } else { divide(line, by) });
        divided.push('\n');
    }
    divided
}

/// A comment, or what an alert says.
fn is_for_people(line: &str) -> bool {
    let line = line.trim_start();
    ["#", "summary:", "description:", "runbook:"].iter().any(|begin| line.starts_with(begin))
}

fn divide(line: &str, by: u64) -> String {
    let mut divided = String::new();
    let mut rest = line;
    while let Some((at, before)) =
        BEFORE.iter().filter_map(|word| Some((rest.find(word)?, word))).min()
    {
        let (head, tail) = rest.split_at(at + before.len());
        divided.push_str(head);
        rest = tail;
        if let Some((millis, length)) = duration(tail) {
            let _ = write!(divided, "{}ms", (millis / by).max(1));
            rest = &tail[length..];
        }
    }
    divided + rest
}

/// The duration with which `text` begins, in milliseconds, and how long it is written.
fn duration(text: &str) -> Option<(u64, usize)> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let unit = text[digits..].chars().next()?;
    let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit)?;
    Some((number * millis, digits + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::folder;

    #[test]
    fn ranges_offsets_and_waits_are_divided_and_nothing_else_is() {
        let text = "- record: a:ratio_rate5m # 5m\n  expr: rate(x[5m]) > 14.4 * 0.001 unless x offset 1h\n\
                    \x20 for: 2m\n  description: for: 5m of [5m]\n# [1d]\n";
        let want = "- record: a:ratio_rate5m # 5m\n  expr: rate(x[2500ms]) > 14.4 * 0.001 unless x offset 30000ms\n\
                    \x20 for: 1000ms\n  description: for: 5m of [5m]\n# [1d]\n";
        assert_eq!(faster(text, 120), want);
    }

    #[test]
    fn no_duration_of_the_rule_files_is_forgotten() {
        for name in ["recording.yml", "alerts.yml"] {
            let path = folder().join("rules").join(name);
            let text = std::fs::read_to_string(path).expect("a file of rules");
            let divided = faster(&text, 120);
            assert_ne!(divided, text, "{name} has durations");
            for line in divided.lines().filter(|line| !is_for_people(line)) {
                let words = line.split(|c: char| !c.is_ascii_alphanumeric() && !"_:.".contains(c));
                let left = words
                    .filter(|word| duration(word).is_some_and(|(_, length)| length == word.len()));
                assert_eq!(left.collect::<Vec<_>>(), Vec::<&str>::new(), "{name}: {line}");
            }
        }
    }
}
