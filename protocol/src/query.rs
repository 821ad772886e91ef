//! What may stand where a version is asked for: a version, or a query that resolves to one.

use std::fmt;
use std::sync::Arc;

use crate::path;
use crate::version::{MAX_VERSION_BYTES, Version, VersionError, unescape};

/// Longest query in decoded bytes.
pub const MAX_QUERY_BYTES: usize = MAX_VERSION_BYTES;

/// Words the `go` command resolves itself; as a file name they would only ever mean a branch by
/// accident.
const RESERVED_WORDS: [&str; 3] = ["latest", "upgrade", "patch"];

/// A branch, a tag that is no canonical version, a commit prefix, or a short form such as `v1.2`.
/// What it resolves to may change with time.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Query(Arc<str>);

/// A version asked for by name.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum VersionQuery {
    /// A canonical version: its files never change.
    Version(Version),
    /// A query: its answer is mutable.
    Query(Query),
}

impl Query {
    /// The plain form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl VersionQuery {
    /// Takes a version or query in plain form. Allowed is what `module.EscapeVersion` allows, less
    /// a leading `-` (it would be read as a flag) and the words `latest`, `upgrade` and `patch`.
    ///
    /// # Errors
    /// [`VersionError::Query`] with the reason, or [`VersionError::TooLong`].
    pub fn parse(text: &str) -> Result<Self, VersionError> {
        if let Ok(version) = Version::parse(text) {
            return Ok(Self::Version(version));
        }
        if text.len() > MAX_QUERY_BYTES {
            return Err(VersionError::TooLong(text.len()));
        }
        let refused = |reason: String| Err(VersionError::Query { query: text.to_owned(), reason });
        if text.starts_with('-') {
            return refused("it begins with a dash".to_owned());
        }
        if RESERVED_WORDS.contains(&text) {
            return refused("the go command resolves this word itself, ask @latest".to_owned());
        }
        if let Err(reason) = path::check_file_element(text) {
            return refused(reason.to_string());
        }
        if let Some(character) = text.chars().find(|&c| c == '!' || !c.is_ascii()) {
            return refused(format!("invalid character {character:?}"));
        }
        Ok(Self::Query(Query(text.into())))
    }

    /// Takes a version or query in its `!`-escaped form.
    ///
    /// # Errors
    /// [`VersionError::Escape`], or those of [`VersionQuery::parse`].
    pub fn from_escaped(escaped: &str) -> Result<Self, VersionError> {
        Self::parse(&unescape(escaped)?)
    }

    /// The plain form, shared: another reference and no copy.
    pub fn shared(&self) -> Arc<str> {
        match self {
            Self::Version(version) => version.shared(),
            Self::Query(query) => Arc::clone(&query.0),
        }
    }

    /// The plain form.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Version(version) => version.as_str(),
            Self::Query(query) => query.as_str(),
        }
    }

    /// The form with each capital written as `!` and its lower case.
    pub fn escaped(&self) -> String {
        path::escape(self.as_str())
    }

    /// The version, when it is one.
    pub fn canonical(&self) -> Option<&Version> {
        match self {
            Self::Version(version) => Some(version),
            Self::Query(_) => None,
        }
    }
}

impl From<Version> for VersionQuery {
    fn from(version: Version) -> Self {
        Self::Version(version)
    }
}

impl fmt::Display for VersionQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Query({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_commits_and_short_forms_are_queries() {
        for text in ["master", "fb15b899a751", "v1", "v1.2", "v1.0.0+meta", "release-1.0", "V1"] {
            let query = VersionQuery::parse(text).unwrap();
            assert!(query.canonical().is_none(), "{text}");
            assert_eq!(query.as_str(), text);
        }
    }

    #[test]
    fn a_canonical_version_is_a_version() {
        assert!(VersionQuery::parse("v1.0.0-rc1").unwrap().canonical().is_some());
    }

    #[test]
    fn reserved_words_flags_and_paths_are_refused() {
        for text in
            ["latest", "upgrade", "patch", "-x", "", ".", "..", "a/b", "a\\b", "a!b", "ä", "a:b"]
        {
            assert!(VersionQuery::parse(text).is_err(), "{text}");
        }
    }
}
