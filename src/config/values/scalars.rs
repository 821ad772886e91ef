//! Booleans, numbers, durations, plain texts and paths.

use std::path::PathBuf;
use std::time::Duration;

use super::super::gotext::{parse_bool, parse_int};
use super::super::problem::quote;
use super::super::redact::redact_text;
use super::{Raw, Setting, Wrong};

/// The longest duration a key takes, in seconds: one year. It keeps sums of durations far from
/// overflow, and nothing here waits longer on purpose.
pub(in crate::config) const MAX_SECONDS: u64 = 365 * 24 * 60 * 60;

impl Setting for bool {
    fn accepted() -> String {
        "are true and false".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, Wrong> {
        parse_bool(text).ok_or_else(Wrong::form)
    }

    fn from_toml(raw: &Raw) -> Result<Self, Wrong> {
        match raw {
            Raw::Bool(value) => Ok(*value),
            other => Err(Wrong::quotes::<Self>(other)),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// Whole numbers: the bounds are the type's unless a key narrows them.
macro_rules! whole_number {
    ($($type:ty),+) => { $(
        impl Setting for $type {
            fn accepted() -> String {
                // What is read has 64 bits and a sign.
                let most = i64::try_from(<$type>::MAX).unwrap_or(i64::MAX);
                format!("is a whole number from 0 to {most}")
            }

            fn from_text(text: &str) -> Result<Self, Wrong> {
                let number = parse_int(text).ok_or_else(Wrong::form)?;
                Self::try_from(number).map_err(|_| Wrong::range())
            }

            fn from_toml(raw: &Raw) -> Result<Self, Wrong> {
                match raw {
                    Raw::Whole(number) => Self::try_from(*number).map_err(|_| Wrong::range()),
                    other => Err(Wrong::quotes::<Self>(other)),
                }
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )+ };
}
whole_number!(u16, u32, u64);

impl Setting for f64 {
    fn accepted() -> String {
        "is a number".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, Wrong> {
        text.parse().map_err(|_| Wrong::form())
    }

    fn from_toml(raw: &Raw) -> Result<Self, Wrong> {
        match raw {
            Raw::Float(number) => Ok(*number),
            // TOML tells 1 from 1.0; a person does not, and neither does Athens here.
            Raw::Whole(number) => {
                i32::try_from(*number).map(Self::from).map_err(|_| Wrong::range())
            }
            other => Err(Wrong::type_of(other)),
        }
    }

    fn show(&self) -> String {
        format!("{self:?}")
    }
}

/// Whole seconds, zero included unless a key says otherwise.
impl Setting for Duration {
    fn accepted() -> String {
        format!("is a whole number of seconds from 0 to {MAX_SECONDS}")
    }

    fn from_text(text: &str) -> Result<Self, Wrong> {
        u64::from_text(text).and_then(seconds)
    }

    fn from_toml(raw: &Raw) -> Result<Self, Wrong> {
        u64::from_toml(raw).and_then(seconds)
    }

    fn show(&self) -> String {
        self.as_secs().to_string()
    }
}

fn seconds(count: u64) -> Result<Duration, Wrong> {
    if count > MAX_SECONDS { Err(Wrong::range()) } else { Ok(Duration::from_secs(count)) }
}

impl Setting for String {
    fn accepted() -> String {
        "is a text".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, Wrong> {
        Ok(text.to_owned())
    }

    fn show(&self) -> String {
        quote(&redact_text(self))
    }

    fn show_text(text: &str) -> String {
        quote(&redact_text(text))
    }

    fn is_empty(&self) -> bool {
        Self::is_empty(self)
    }
}

impl Setting for PathBuf {
    fn accepted() -> String {
        "is a path".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, Wrong> {
        if text.contains('\0') {
            return Err(Wrong::form().because("it holds a NUL character"));
        }
        Ok(Self::from(text))
    }

    fn show(&self) -> String {
        quote(&self.to_string_lossy())
    }

    fn show_text(text: &str) -> String {
        quote(text)
    }

    fn is_empty(&self) -> bool {
        self.as_os_str().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_out_of_bounds_is_told_from_no_number() {
        assert_eq!(u32::from_text("-1"), Err(Wrong::range()));
        assert_eq!(u16::from_text("65536"), Err(Wrong::range()));
        assert_eq!(u32::from_text("ten"), Err(Wrong::form()));
        assert_eq!(u32::from_text(""), Err(Wrong::form()));
        assert_eq!(u32::from_toml(&Raw::Whole(-3)), Err(Wrong::range()));
        assert!(u32::from_toml(&Raw::Text("3".to_owned())).is_err_and(|w| !w.range));
    }

    #[test]
    fn durations_are_whole_seconds_up_to_a_year() {
        assert_eq!(Duration::from_text("0x10"), Ok(Duration::from_secs(16)));
        assert_eq!(Duration::from_toml(&Raw::Whole(90)), Ok(Duration::from_secs(90)));
        assert_eq!(seconds(MAX_SECONDS + 1), Err(Wrong::range()));
        assert!(Duration::from_toml(&Raw::Float(1.5)).is_err());
    }

    #[test]
    fn a_whole_number_is_a_fraction_too() {
        assert_eq!(f64::from_toml(&Raw::Whole(1)), Ok(1.0));
        assert_eq!(f64::from_text("0.25"), Ok(0.25));
        assert_eq!(f64::from_text(""), Err(Wrong::form()));
    }
}
