//! A module version in canonical form.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use crate::shown::shown;
use crate::{path, pseudo, semver};

/// Longest version or query, in decoded bytes: the file name limit of common file systems.
pub const MAX_VERSION_BYTES: usize = 255;

/// A canonical version: `v1.2.3`, `v1.2.3-pre`, a pseudo-version, or any of these with
/// `+incompatible`. Other build metadata makes a version non-canonical.
///
/// The order is that of [`semver::compare`], ties broken by the text, so it agrees with `Eq`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Version(Arc<str>);

/// Why a text is no version, no query, or not one for the module path at hand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// The text is not `vMAJOR.MINOR.PATCH` with its optional parts.
    #[error("version {} is not a semantic version: want one like v1.2.3", shown(.0))]
    NotSemver(String),
    /// The text is a semantic version in a form that names no single version.
    #[error("version {} is not canonical: want {canonical}", shown(.version))]
    NotCanonical {
        /// The text as given.
        version: String,
        /// The version it stands for.
        canonical: String,
    },
    /// The text is longer than [`MAX_VERSION_BYTES`].
    #[error("version of {0} bytes is too long: the limit is {MAX_VERSION_BYTES}")]
    TooLong(usize),
    /// The escaped form has a raw capital, a stray `!` or a non-ASCII character.
    #[error("escaped version {} is malformed: a capital is written `!` and its lower case", shown(.0))]
    Escape(String),
    /// The text cannot be a version query.
    #[error("version query {} is refused: {reason}", shown(.query))]
    Query {
        /// The text as given.
        query: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The major version is not the one the module path asks for.
    #[error("version {} does not fit the module path: should be {want}", shown(.version))]
    Major {
        /// The version as given.
        version: String,
        /// The major version or versions that fit, such as `v2` or `v0 or v1`.
        want: String,
    },
    /// `+incompatible` with a module path that has a major version suffix.
    #[error(
        "version {} does not fit the module path: +incompatible is for paths without a major \
         version suffix",
        shown(.0)
    )]
    Incompatible(String),
    /// The text looks like a pseudo-version with a base that cannot be.
    #[error("pseudo-version {} is malformed: {reason}", shown(.version))]
    Pseudo {
        /// The text as given.
        version: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl Version {
    /// Takes a canonical version in plain form.
    ///
    /// # Errors
    /// [`VersionError::TooLong`], [`VersionError::NotSemver`] or [`VersionError::NotCanonical`].
    pub fn parse(version: &str) -> Result<Self, VersionError> {
        if version.len() > MAX_VERSION_BYTES {
            return Err(VersionError::TooLong(version.len()));
        }
        if semver::is_canonical(version) {
            return Ok(Self(version.into()));
        }
        match semver::canonical_version(version) {
            None => Err(VersionError::NotSemver(version.to_owned())),
            Some(canonical) => {
                Err(VersionError::NotCanonical { version: version.to_owned(), canonical })
            }
        }
    }

    /// Takes a canonical version in its `!`-escaped form.
    ///
    /// # Errors
    /// [`VersionError::Escape`], or those of [`Version::parse`].
    pub fn from_escaped(escaped: &str) -> Result<Self, VersionError> {
        Self::parse(&unescape(escaped)?)
    }

    /// The plain form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same text, shared: another reference and no copy.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// The form with each capital written as `!` and its lower case.
    pub fn escaped(&self) -> String {
        path::escape(&self.0)
    }

    /// The major version with its `v`, such as `v2`.
    pub fn major(&self) -> &str {
        semver::major(&self.0)
    }

    /// Whether there is a pre-release part; true for every pseudo-version.
    pub fn is_prerelease(&self) -> bool {
        !semver::prerelease(&self.0).is_empty()
    }

    /// Whether this is a pseudo-version, made from a commit's time and hash.
    pub fn is_pseudo(&self) -> bool {
        pseudo::is_pseudo(&self.0)
    }

    /// Whether the version ends in `+incompatible`.
    pub fn is_incompatible(&self) -> bool {
        semver::build(&self.0) == "+incompatible"
    }
}

/// Undoes the `!` escaping of a version or query.
pub(crate) fn unescape(escaped: &str) -> Result<Cow<'_, str>, VersionError> {
    path::unescape_text(escaped).ok_or_else(|| VersionError::Escape(escaped.to_owned()))
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        semver::compare(&self.0, &other.0).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl AsRef<str> for Version {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_form_names_the_version_it_stands_for() {
        assert_eq!(
            Version::parse("v1.9").unwrap_err().to_string(),
            "version \"v1.9\" is not canonical: want v1.9.0"
        );
    }

    #[test]
    fn build_metadata_other_than_incompatible_is_refused() {
        assert!(Version::parse("v1.0.0+meta").is_err());
        assert!(Version::parse("v2.0.0+incompatible").unwrap().is_incompatible());
    }

    #[test]
    fn capitals_are_escaped_both_ways() {
        let version = Version::from_escaped("v1.0.0-!r!c1").unwrap();
        assert_eq!(version.as_str(), "v1.0.0-RC1");
        assert_eq!(version.escaped(), "v1.0.0-!r!c1");
        assert!(Version::from_escaped("v1.0.0-RC1").is_err());
    }

    #[test]
    fn a_version_of_256_bytes_is_too_long() {
        let text = format!("v1.0.0-{}", "a".repeat(MAX_VERSION_BYTES - 7));
        assert!(Version::parse(&text).is_ok());
        assert_eq!(Version::parse(&format!("{text}a")), Err(VersionError::TooLong(256)));
    }

    #[test]
    fn the_order_tells_apart_what_precedence_does_not() {
        let plain = Version::parse("v2.0.0").unwrap();
        let incompatible = Version::parse("v2.0.0+incompatible").unwrap();
        assert!(plain < incompatible && plain != incompatible);
    }
}
