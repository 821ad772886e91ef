//! A duration as Go writes it, where whole seconds are too coarse.

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::super::go_duration;
use super::super::problem::quote;
use super::{Setting, Wrong};

/// How long, as Go writes it: `300ms`, `1.5s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct GoDuration(Duration);

impl GoDuration {
    /// No time at all.
    pub const ZERO: Self = Self(Duration::ZERO);
    /// One second.
    pub const SECOND: Self = Self(Duration::from_secs(1));

    /// The duration; nothing where it is none.
    pub fn if_any(self) -> Option<Duration> {
        (!self.0.is_zero()).then_some(self.0)
    }

    fn text(self) -> String {
        let (seconds, nanos) = (self.0.as_secs(), self.0.subsec_nanos());
        match nanos {
            0 => format!("{seconds}s"),
            _ if nanos % 1_000_000 == 0 => format!("{}ms", self.0.as_millis()),
            _ => format!("{}ns", self.0.as_nanos()),
        }
    }
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text())
    }
}

impl Setting for GoDuration {
    fn accepted() -> String {
        "is a duration such as \"300ms\", \"1.5s\" or \"0s\", a year at most".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, Wrong> {
        go_duration::parse(text).map(Self).ok_or_else(Wrong::form)
    }

    fn show(&self) -> String {
        quote(&self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Raw;
    use super::*;

    #[test]
    fn a_duration_is_shown_as_it_can_be_read() {
        for (text, shown) in [
            ("0", "0s"),
            ("300ms", "300ms"),
            ("1.5s", "1500ms"),
            ("1m30s", "90s"),
            ("1us", "1000ns"),
        ] {
            let read = GoDuration::from_text(text).expect("a duration");
            assert_eq!(read.show(), format!("\"{shown}\""), "{text}");
            assert_eq!(GoDuration::from_text(shown), Ok(read), "{text}");
        }
    }

    #[test]
    fn a_number_without_a_unit_is_none() {
        assert_eq!(GoDuration::from_text("300"), Err(Wrong::form()));
        assert!(GoDuration::from_toml(&Raw::Whole(1)).is_err());
        assert_eq!(GoDuration::from_text("0s").map(GoDuration::if_any), Ok(None));
    }
}
