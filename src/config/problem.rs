//! What goes wrong with a configuration, where a value comes from, and how both are said.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

/// The longest value shown in a message, in characters; what is beyond is cut.
const MAX_SHOWN_CHARS: usize = 160;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The built-in default.
    Default,
    /// The configuration file.
    File {
        /// The file's path, as it was given or found.
        path: Arc<Path>,
        /// The line of the value, from 1.
        line: usize,
    },
    /// An environment variable.
    Environment {
        /// The variable's name.
        variable: String,
    },
    /// A file that a `NAME_FILE` environment variable points to.
    SecretFile {
        /// The variable's name, with its `_FILE`.
        variable: String,
        /// The file it names.
        path: PathBuf,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment { variable } => write!(f, "environment {variable}"),
            Self::SecretFile { variable, path } => {
                write!(f, "environment {variable}, file {}", path.display())
            }
        }
    }
}

/// One thing wrong with the configuration; its text is one line that names what is wrong, where,
/// and what to do. Secrets are hidden in it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// A value that cannot be read as what its key holds.
    #[error("{key} = {shown} (from {origin}): {reason}")]
    Form {
        /// The key's path in the file, such as `Storage.Disk.RootPath`.
        key: String,
        /// The value as given, redacted.
        shown: String,
        /// Where it was given.
        origin: Origin,
        /// What is accepted.
        reason: String,
    },
    /// A value of the right form that the key does not allow.
    #[error("{key} = {shown} (from {origin}): {reason}")]
    Range {
        /// The key's path in the file.
        key: String,
        /// The value as given, redacted.
        shown: String,
        /// Where it was given.
        origin: Origin,
        /// What is accepted.
        reason: String,
    },
    /// A key that must have a value and has none.
    #[error("{key} is empty (from {origin}): set {key} in the file, or {variable}{why}")]
    Missing {
        /// The key's path in the file.
        key: String,
        /// Where the emptiness comes from.
        origin: Origin,
        /// The environment variable that sets it.
        variable: String,
        /// What needs it, with its leading punctuation; empty when it is needed always.
        why: String,
    },
    /// Values that do not go together.
    #[error("{key} = {shown} (from {origin}): {reason}")]
    Conflict {
        /// The key whose value is at odds with another's.
        key: String,
        /// Its value, redacted.
        shown: String,
        /// Where it was given.
        origin: Origin,
        /// What it is at odds with, and what to do.
        reason: String,
    },
    /// The file is not TOML.
    #[error("{}:{line}:{column}: not valid TOML: {reason}", path.display())]
    Syntax {
        /// The configuration file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// What the parser says.
        reason: String,
    },
    /// A file cannot be used.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not, and what to do.
        reason: String,
    },
}

impl ConfigError {
    /// The key that is wrong; `None` when a whole file is.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Form { key, .. }
            | Self::Range { key, .. }
            | Self::Missing { key, .. }
            | Self::Conflict { key, .. } => Some(key),
            Self::Syntax { .. } | Self::File { .. } => None,
        }
    }
}

/// Everything wrong with a configuration, found in one go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub(super) Vec<ConfigError>);

impl ConfigErrors {
    /// The errors, never none: each key's own in the order of the keys, then those over several.
    pub fn errors(&self) -> &[ConfigError] {
        &self.0
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = self.0.as_slice() {
            return write!(f, "the configuration is wrong: {only}");
        }
        write!(f, "the configuration is wrong in {} places:", self.0.len())?;
        for error in &self.0 {
            write!(f, "\n  {error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Something to look at that does not stop the program; its text is one line, secrets hidden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning(pub(super) String);

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text as a TOML basic string: quoted, one line, whole.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Cuts a shown value to a length that keeps a message readable.
pub(super) fn shorten(shown: String) -> String {
    match shown.char_indices().nth(MAX_SHOWN_CHARS) {
        Some((cut, _)) => format!("{}…", &shown[..cut]),
        None => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_text_reads_back_as_itself() {
        for text in ["", "a b", "q\"uo\\te", "line\nbreak\ttab\r", "\u{1}\u{7f}", "späß"] {
            let document = format!("v = {}", quote(text));
            let table: toml::Table = document.parse().expect("valid TOML");
            assert_eq!(table["v"].as_str(), Some(text));
            assert!(!quote(text).contains('\n'));
        }
    }

    #[test]
    fn a_long_value_is_cut_between_characters() {
        let long = "ä".repeat(MAX_SHOWN_CHARS + 5);
        let shown = shorten(long);
        assert_eq!(shown.chars().count(), MAX_SHOWN_CHARS + 1);
        assert_eq!(shorten("short".to_owned()), "short");
    }
}
