//! The `.info` file and the `@latest` answer: a version and its commit time as JSON.
//!
//! Source followed: the `go` command's `modfetch` (`proxyRepo.Stat`) and `encoding/json`, which
//! takes keys in any case, ignores unknown ones, and lets the last of several equal keys win.

use std::fmt;

use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use crate::path::ModulePath;
use crate::query::VersionQuery;
use crate::shown::shown;
use crate::version::{Version, VersionError};

mod rfc3339;
#[cfg(test)]
mod tests;

pub use rfc3339::is_rfc3339;

/// Largest `.info` body in bytes; real ones have a few hundred.
pub const MAX_INFO_BYTES: usize = 1 << 20;

/// The day of Go's zero time, in whatever zone and with whatever fraction it was written.
const ZERO_DAY: &str = "0001-01-01T";

/// What an `.info` body says. Other keys (`Origin`, `Name`, …) stay in the body alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// The canonical version.
    pub version: Version,
    /// The commit time as RFC 3339 text; `None` when absent or Go's zero time, which both mean that
    /// the age is unknown.
    pub time: Option<String>,
}

/// Why a body is no usable `.info`, or not the one that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InfoError {
    /// More than [`MAX_INFO_BYTES`].
    #[error("info of {0} bytes is over the limit of {MAX_INFO_BYTES}")]
    TooLarge(usize),
    /// No bytes besides white space.
    #[error("info is empty: want a JSON object")]
    Empty,
    /// A web page, most often a login form or an error page.
    #[error("info is a web page: want a JSON object")]
    WebPage,
    /// Not JSON, cut short, or a value of the wrong type.
    #[error("info is not the JSON object wanted: {0}")]
    Malformed(String),
    /// No `Version` key, or an empty one.
    #[error("info names no version")]
    NoVersion,
    /// The version is not canonical.
    #[error("info names an unusable version: {0}")]
    Version(VersionError),
    /// The time is not RFC 3339 text, which the `go` command would refuse.
    #[error("info has the malformed time {}", shown(.0))]
    Time(String),
    /// Another version than the canonical one that was asked for.
    #[error("info is for version {got} instead of the requested {asked}")]
    Mismatch {
        /// The version asked for.
        asked: Version,
        /// The version named.
        got: Version,
    },
    /// A version that cannot belong to the module.
    #[error("info for module {module} names a foreign version: {error}")]
    Foreign {
        /// The module asked about.
        module: ModulePath,
        /// Why the version does not fit.
        error: VersionError,
    },
}

impl Info {
    /// Reads a body as the `go` command would.
    ///
    /// # Errors
    /// Any [`InfoError`] but [`InfoError::Mismatch`] and [`InfoError::Foreign`].
    pub fn parse(body: &[u8]) -> Result<Self, InfoError> {
        if body.len() > MAX_INFO_BYTES {
            return Err(InfoError::TooLarge(body.len()));
        }
        match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
            None => return Err(InfoError::Empty),
            Some(b'<') => return Err(InfoError::WebPage),
            Some(_) => {}
        }
        let fields = read_fields(body).map_err(|error| {
            // The message may repeat text of the body.
            InfoError::Malformed(shown(&error.to_string()).trim_matches('"').to_owned())
        })?;
        let version = fields.version.filter(|text| !text.is_empty()).ok_or(InfoError::NoVersion)?;
        let version = Version::parse(&version).map_err(InfoError::Version)?;
        if let Some(time) = fields.time.as_deref().filter(|time| !is_rfc3339(time)) {
            return Err(InfoError::Time(time.to_owned()));
        }
        Ok(Self { version, time: fields.time.filter(|time| !time.starts_with(ZERO_DAY)) })
    }

    /// Whether this answers what was asked: a canonical version must be echoed exactly, and the
    /// version a query resolves to must fit the module.
    ///
    /// # Errors
    /// [`InfoError::Mismatch`] or [`InfoError::Foreign`].
    pub fn check(&self, asked: &VersionQuery, module: &ModulePath) -> Result<(), InfoError> {
        if let Some(asked) = asked.canonical().filter(|asked| **asked != self.version) {
            return Err(InfoError::Mismatch { asked: asked.clone(), got: self.version.clone() });
        }
        module
            .accepts(&self.version)
            .map_err(|error| InfoError::Foreign { module: module.clone(), error })
    }

    /// The body for a version, without `Time` when it is unknown.
    pub fn render(version: &Version, time: Option<&str>) -> Vec<u8> {
        // A JSON string escapes whatever the text has; a version has nothing to escape.
        let version = Value::from(version.as_str());
        match time {
            Some(time) => format!("{{\"Version\":{version},\"Time\":{}}}", Value::from(time)),
            None => format!("{{\"Version\":{version}}}"),
        }
        .into_bytes()
    }
}

#[derive(Default)]
struct Fields {
    version: Option<String>,
    time: Option<String>,
}

fn read_fields(body: &[u8]) -> Result<Fields, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let fields = reader.deserialize_map(FieldsVisitor)?;
    reader.end()?;
    Ok(fields)
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with Version and Time")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = Fields::default();
        while let Some(key) = map.next_key::<String>()? {
            if folds_to(&key, "version") {
                // `null` changes nothing in Go, so an earlier value stays.
                fields.version = map.next_value::<Option<String>>()?.or(fields.version);
            } else if folds_to(&key, "time") {
                fields.time = map.next_value::<Option<String>>()?.or(fields.time);
            } else if folds_to(&key, "origin") {
                let origin = map.next_value::<Value>()?;
                if !origin.is_object() && !origin.is_null() {
                    return Err(de::Error::custom("Origin is not an object"));
                }
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(fields)
    }
}

/// Whether Go's JSON takes `key` for the field `name`. It folds case as Unicode does, where the long
/// s and the Kelvin sign are an `s` and a `k`: a reader that did not know could be told one version
/// while the `go` command reads another.
fn folds_to(key: &str, name: &str) -> bool {
    key.chars()
        .map(|character| match character {
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            other => other.to_ascii_lowercase(),
        })
        .eq(name.chars())
}
