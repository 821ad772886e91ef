//! Durations as Go writes them: `90s`, `1h30m`, `1.5h`, `300ms`.
//!
//! Source followed: Go's `time.ParseDuration`. Negative ones make no sense here and are refused.

use std::time::Duration;

/// The longest duration that is taken: one year, as for the keys of the configuration.
pub(crate) const DURATION_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// What is said of a text that is none.
pub(crate) const WANTED: &str =
    "want a duration such as \"90s\", \"1h30m\" or \"0s\", a year at most";

/// Each unit in nanoseconds.
const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000), // The micro sign,
    ("μs", 1_000), // and the Greek letter: Go takes both.
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Digits that are read before, and behind, the point of a number: more would be beyond any limit, or
/// beyond a nanosecond.
const DIGITS_MAX: usize = 18;

/// Reads a duration; `None` where it is none, or longer than [`DURATION_MAX`].
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut nanos: u128 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (whole, behind) = digits(rest);
        let (fraction, behind) = match behind.strip_prefix('.') {
            Some(behind) => digits(behind),
            None => ("", behind),
        };
        let end = behind.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, after) = behind.split_at(end);
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let no_number = whole.is_empty() && fraction.is_empty();
        if no_number || whole.len() > DIGITS_MAX || fraction.len() > DIGITS_MAX {
            return None;
        }
        nanos += number(whole)? * unit + number(fraction)? * unit / 10_u128.pow(length(fraction));
        rest = after;
    }
    let duration = Duration::from_nanos(u64::try_from(nanos).ok()?);
    (duration <= DURATION_MAX).then_some(duration)
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

fn number(digits: &str) -> Option<u128> {
    if digits.is_empty() { Some(0) } else { digits.parse().ok() }
}

/// Of at most [`DIGITS_MAX`] digits.
fn length(digits: &str) -> u32 {
    u32::try_from(digits.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, millis) in [
            ("0", 0),
            ("0s", 0),
            ("90s", 90_000),
            ("+5s", 5_000),
            ("1h30m", 5_400_000),
            ("1.5h", 5_400_000),
            (".5s", 500),
            ("1.s", 1_000),
            ("300ms", 300),
            ("1m0.5s", 60_500),
            ("1s2s", 3_000),
            ("2000us", 2),
            ("2000µs", 2),
            ("2000μs", 2),
            ("1000000ns", 1),
            ("8760h", 365 * 24 * 3_600_000),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "90",
            "s",
            ".s",
            "-5s",
            "5 s",
            "5S",
            "1d",
            "1h30",
            "5s ",
            "1e3s",
            "8761h",
            "++5s",
            "99999999999999999999s",
            "1.0000000000000000000s",
            "0x5s",
            "5sm",
            "١s",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
