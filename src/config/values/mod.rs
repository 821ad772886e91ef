//! The types of values: how each is read from TOML and from text, and how it is shown.

mod closed;
mod download_mode;
mod duration;
mod listen;
mod lists;
mod maps;
mod scalars;
mod text;

pub use closed::{
    CloudRuntime, IndexType, LogFormat, LogLevel, NetworkMode, OtlpProtocol, SingleFlightType,
    StatsExporter, StorageType, TraceExporter,
};
pub use download_mode::{DownloadMode, Mode};
pub use duration::GoDuration;
pub use listen::ListenAddress;
pub use lists::{Endpoints, EnvVars, IpNet, SumDb};
pub use maps::{Params, SecretMap};
pub use text::{PathPrefix, Secret, UrlText};

pub(super) use lists::Item;
pub(super) use scalars::MAX_SECONDS;
pub(super) use text::WebUrl;

use super::problem::quote;
use super::redact::{redact_text, redact_url};

/// A TOML value, detached from its source.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Raw {
    /// A string.
    Text(String),
    /// An integer that fits 64 bits.
    Whole(i64),
    /// A float.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// An array.
    List(Vec<Raw>),
    /// A table; the keys keep their letter case.
    Table(Vec<(String, Raw)>),
    /// What no key takes: a date, or an integer beyond 64 bits; the text is as written.
    Other(String),
}

impl Raw {
    /// What it is, for a message.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Whole(_) => "a whole number",
            Self::Float(_) => "a number with a fraction",
            Self::Bool(_) => "true or false",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(_) => "a date or a number beyond 64 bits",
        }
    }

    /// The text, if it is one.
    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Whether it is the empty text.
    pub(super) fn is_empty_text(&self) -> bool {
        self.as_text() == Some("")
    }

    /// The value as TOML, with credentials in URLs hidden.
    pub(super) fn literal(&self) -> String {
        match self {
            Self::Text(text) => quote(&redact_text(text)),
            Self::Whole(number) => number.to_string(),
            Self::Float(number) => format!("{number:?}"),
            Self::Bool(value) => value.to_string(),
            Self::List(items) => bracketed(items.iter().map(Self::literal)),
            Self::Table(_) => "{ … }".to_owned(),
            Self::Other(text) => text.clone(),
        }
    }
}

/// A TOML array of values that are literals already.
pub(super) fn bracketed(literals: impl Iterator<Item = String>) -> String {
    format!("[{}]", literals.collect::<Vec<_>>().join(", "))
}

/// Why a value was refused, before key and origin are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// The form is right, the value is out of bounds.
    pub(super) range: bool,
    /// What in particular is wrong; it never repeats a secret.
    pub(super) detail: Option<String>,
    /// What probably was meant.
    pub(super) hint: Option<String>,
}

impl Wrong {
    /// A value that cannot be read; that the accepted form differs says enough.
    pub(super) fn form() -> Self {
        Self { range: false, detail: None, hint: None }
    }

    /// A value that can be read and is out of bounds.
    pub(super) fn range() -> Self {
        Self { range: true, detail: None, hint: None }
    }

    /// Adds what in particular is wrong.
    pub(super) fn because(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds what probably was meant.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A TOML value of the wrong type.
    pub(super) fn type_of(raw: &Raw) -> Self {
        Self::form().because(format!("this is {}", raw.kind()))
    }

    /// A TOML value of the wrong type that would be right as, or instead of, a string.
    pub(super) fn quotes<T: Setting>(raw: &Raw) -> Self {
        let (text, hint) = match raw {
            Raw::Text(text) => (text.clone(), "write it without quotes"),
            Raw::Whole(_) | Raw::Bool(_) => (raw.literal(), "write it in quotes"),
            other => return Self::type_of(other),
        };
        let wrong = Self::type_of(raw);
        if T::from_text(&text).is_ok() { wrong.hint(hint) } else { wrong }
    }
}

/// A type that a key can have.
pub(crate) trait Setting: Clone {
    /// Values are hidden wherever they are shown.
    const SECRET: bool = false;

    /// The variable with `_FILE` appended may name a file that holds the value: true for what is,
    /// or may contain, a credential.
    const FROM_FILE: bool = false;

    /// What is accepted, as the end of a sentence: `is true or false`, `are a, b, c`.
    fn accepted() -> String;

    /// Reads an environment variable, or the content of a secret's file.
    fn from_text(text: &str) -> Result<Self, Wrong>;

    /// Reads a TOML value; what is not a number, a list and the like in TOML is a string there.
    fn from_toml(raw: &Raw) -> Result<Self, Wrong> {
        match raw {
            Raw::Text(text) => Self::from_text(text),
            other => Err(Wrong::quotes::<Self>(other)),
        }
    }

    /// The value as TOML, redacted.
    fn show(&self) -> String;

    /// A text that may have failed to be read, as it may be shown.
    fn show_text(text: &str) -> String {
        quote(&redact_url(text))
    }

    /// A TOML value that may have failed to be read, as it may be shown.
    fn show_toml(raw: &Raw) -> String {
        match raw {
            Raw::Text(text) => Self::show_text(text),
            other => other.literal(),
        }
    }

    /// What a value from the file becomes over the default. Athens decodes a table into the
    /// default's map, so the default's entries stay; everything else is replaced.
    fn over(self, _default: &Self) -> Self {
        self
    }

    /// Whether this counts as no value where a key must have one.
    fn is_empty(&self) -> bool {
        false
    }

    /// What to say about a text that is accepted and probably not what was meant.
    fn caution(_text: &str) -> Option<String> {
        None
    }
}

/// An optional value: the empty text is `None`.
impl<T: Setting> Setting for Option<T> {
    const SECRET: bool = T::SECRET;
    const FROM_FILE: bool = T::FROM_FILE;

    fn accepted() -> String {
        T::accepted()
    }

    fn from_text(text: &str) -> Result<Self, Wrong> {
        if text.is_empty() { Ok(None) } else { T::from_text(text).map(Some) }
    }

    fn from_toml(raw: &Raw) -> Result<Self, Wrong> {
        match raw {
            Raw::Text(text) if text.is_empty() => Ok(None),
            other => T::from_toml(other).map(Some),
        }
    }

    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "\"\"".to_owned(), T::show)
    }

    fn show_text(text: &str) -> String {
        T::show_text(text)
    }

    fn show_toml(raw: &Raw) -> String {
        T::show_toml(raw)
    }

    fn is_empty(&self) -> bool {
        self.as_ref().is_none_or(T::is_empty)
    }

    fn caution(text: &str) -> Option<String> {
        T::caution(text)
    }
}
