//! Module paths and file paths, and the `!` escaping of both path and version.
//!
//! Source followed: `golang.org/x/mod/module` (`CheckPath`, `CheckFilePath`, `SplitPathVersion`,
//! `CheckPathMajor`, `EscapePath`, `UnescapePath`).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::semver;
use crate::shown::shown;
use crate::version::{Version, VersionError};

mod check;
mod letters;
#[cfg(test)]
mod tests;

pub use check::PathReason;
use check::{Kind, check_element, check_elements};

/// Longest module path in decoded bytes. The longest paths in public use have under 200.
pub const MAX_MODULE_PATH_BYTES: usize = 1024;

/// Code hosts whose every module lies at least this many elements deep, so that a shorter path can
/// be refused without asking anybody. The `go` command asks for every prefix of an import path.
const FORGES: [(&str, usize); 7] = [
    ("github.com", 3),
    ("bitbucket.org", 3),
    ("gitlab.com", 3),
    ("codeberg.org", 3),
    ("git.sr.ht", 3),
    ("gitee.com", 3),
    ("gopkg.in", 2),
];

/// A decoded, valid module path such as `github.com/Azure/azure-sdk-for-go`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModulePath(Arc<str>);

/// A path that was refused: which one, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed {noun} path {}: {reason}", shown(.path))]
pub struct PathError {
    noun: &'static str,
    path: String,
    reason: PathReason,
}

impl PathError {
    fn new(noun: &'static str, path: &str, reason: PathReason) -> Self {
        // Only the head is ever shown, so a hostile path is not kept whole.
        let head =
            path.char_indices().nth(MAX_MODULE_PATH_BYTES).map_or(path.len(), |(end, _)| end);
        Self { noun, path: path[..head].to_owned(), reason }
    }

    /// What is wrong with the path.
    pub fn reason(&self) -> &PathReason {
        &self.reason
    }
}

impl ModulePath {
    /// Takes a decoded module path (`module.CheckPath`).
    ///
    /// # Errors
    /// A [`PathError`] that names the path and the reason.
    pub fn parse(decoded: &str) -> Result<Self, PathError> {
        match check_module_path(decoded) {
            Ok(()) => Ok(Self(decoded.into())),
            Err(reason) => Err(PathError::new("module", decoded, reason)),
        }
    }

    /// Takes a module path in its `!`-escaped form (`module.UnescapePath`).
    ///
    /// # Errors
    /// A [`PathError`]: not escaped, or not a valid path once it is decoded.
    pub fn from_escaped(escaped: &str) -> Result<Self, PathError> {
        Self::parse(&unescaped(escaped)?)
    }

    /// The decoded path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same text, shared: another reference and no copy.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// The form with each capital written as `!` and its lower case.
    pub fn escaped(&self) -> String {
        escape(&self.0)
    }

    /// Prefix and major version suffix: `("a.io/m", "/v2")`, `("gopkg.in/yaml", ".v2")`, or the
    /// whole path and nothing.
    pub fn split_major(&self) -> (&str, &str) {
        split_path_version(&self.0).unwrap_or((&self.0, ""))
    }

    /// Whether `version` may be a version of this module: [`check_path_major`], and no
    /// `+incompatible` where the path has a major version suffix.
    ///
    /// # Errors
    /// [`VersionError::Major`] or [`VersionError::Incompatible`].
    pub fn accepts(&self, version: &Version) -> Result<(), VersionError> {
        let (_, path_major) = self.split_major();
        check_path_major(version.as_str(), path_major)?;
        if !path_major.is_empty() && version.is_incompatible() {
            return Err(VersionError::Incompatible(version.to_string()));
        }
        Ok(())
    }

    /// Why no module can live at this path, or `None` when one may: a code host's path with too
    /// few elements. Such a path needs no upstream to be answered.
    pub fn impossible(&self) -> Option<&'static str> {
        let end = self.0.bytes().position(|byte| byte == b'/').unwrap_or(self.0.len());
        let host = &self.0[..end];
        let &(_, least) = FORGES.iter().find(|(forge, _)| *forge == host)?;
        (self.0.split('/').count() < least)
            .then_some("this code host has no modules so near its root")
    }
}

/// Whether a version fits a path's major version suffix (`module.CheckPathMajor`): `/v2` wants v2,
/// no suffix wants v0, v1 or `+incompatible`, and gopkg.in's `.v1` also takes `v0.0.0-` pseudo-versions,
/// which an old version of the `go` command made.
///
/// # Errors
/// [`VersionError::Major`].
pub fn check_path_major(version: &str, path_major: &str) -> Result<(), VersionError> {
    let suffix = if path_major.starts_with(".v") {
        path_major.strip_suffix("-unstable").unwrap_or(path_major)
    } else {
        path_major
    };
    if suffix == ".v1" && version.starts_with("v0.0.0-") {
        return Ok(());
    }
    let major = semver::major(version);
    let want = suffix.trim_start_matches(['/', '.']);
    let fits = match want {
        "" => matches!(major, "v0" | "v1") || semver::build(version) == "+incompatible",
        want => major == want,
    };
    if fits {
        return Ok(());
    }
    let want = if want.is_empty() { "v0 or v1" } else { want };
    Err(VersionError::Major { version: version.to_owned(), want: want.to_owned() })
}

/// Prefix and major version suffix of a path (`module.SplitPathVersion`); `None` when the suffix is
/// malformed, such as `/v1`, `/v02`, `/v1.2`, or a gopkg.in path without `.vN`.
pub fn split_path_version(path: &str) -> Option<(&str, &str)> {
    if path.starts_with("gopkg.in/") {
        return split_gopkg_in(path);
    }
    let stem = path.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let Some(prefix) = stem.strip_suffix("/v").filter(|_| stem.len() < path.len()) else {
        return Some((path, ""));
    };
    let (number, suffix) = (&path[stem.len()..], &path[prefix.len()..]);
    let malformed = number.contains('.') || number.starts_with('0') || number == "1";
    (!malformed).then_some((prefix, suffix))
}

/// The rule of gopkg.in: `.vN` for every N, optionally with `-unstable`.
fn split_gopkg_in(path: &str) -> Option<(&str, &str)> {
    let stable = path.strip_suffix("-unstable").unwrap_or(path);
    let prefix = stable.trim_end_matches(|c: char| c.is_ascii_digit()).strip_suffix(".v")?;
    let suffix = &path[prefix.len()..];
    let number = &suffix[".v".len()..];
    let malformed = number.is_empty() || (number.starts_with('0') && number != "0");
    (!malformed).then_some((prefix, suffix))
}

fn check_module_path(path: &str) -> Result<(), PathReason> {
    if path.len() > MAX_MODULE_PATH_BYTES {
        return Err(PathReason::TooLong(path.len()));
    }
    check_elements(path, Kind::Module)?;
    let end = path.bytes().position(|byte| byte == b'/').unwrap_or(path.len());
    let host = &path[..end];
    if !host.bytes().any(|byte| byte == b'.') {
        return Err(PathReason::NoHost);
    }
    let is_host = |c: char| matches!(c, '-' | '.' | '0'..='9' | 'a'..='z');
    if let Some(character) = host.chars().find(|&character| !is_host(character)) {
        return Err(PathReason::HostCharacter(character));
    }
    split_path_version(path).map(drop).ok_or(PathReason::MajorSuffix)
}

/// Checks a slash-separated file path as it may stand in a module zip (`module.CheckFilePath`).
///
/// # Errors
/// A [`PathError`] that names the path and the reason.
pub fn check_file_path(path: &str) -> Result<(), PathError> {
    check_elements(path, Kind::File).map_err(|reason| PathError::new("file", path, reason))
}

/// Checks one element of a file path.
pub(crate) fn check_file_element(element: &str) -> Result<(), PathReason> {
    check_element(element, Kind::File)
}

/// Writes each ASCII capital as `!` and its lower case, so that names differ on file systems that
/// ignore case. Total: text that is no valid path is escaped the same way.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 4);
    for character in text.chars() {
        if character.is_ascii_uppercase() {
            out.push('!');
        }
        out.push(character.to_ascii_lowercase());
    }
    out
}

/// Undoes [`escape`]. The result need not be a valid path.
///
/// # Errors
/// [`PathReason::NotEscaped`]: a raw capital, a `!` not followed by `a-z`, or non-ASCII text.
pub fn unescape(escaped: &str) -> Result<String, PathError> {
    unescaped(escaped).map(Cow::into_owned)
}

fn unescaped(escaped: &str) -> Result<Cow<'_, str>, PathError> {
    unescape_text(escaped)
        .ok_or_else(|| PathError::new("escaped module", escaped, PathReason::NotEscaped))
}

pub(crate) fn unescape_text(escaped: &str) -> Option<Cow<'_, str>> {
    // Most names have no capital, and are as they are escaped.
    if escaped.bytes().all(|byte| byte.is_ascii() && byte != b'!' && !byte.is_ascii_uppercase()) {
        return Some(Cow::Borrowed(escaped));
    }
    let mut out = String::with_capacity(escaped.len());
    let mut characters = escaped.chars();
    while let Some(character) = characters.next() {
        match character {
            '!' => {
                let lower = characters.next().filter(char::is_ascii_lowercase)?;
                out.push(lower.to_ascii_uppercase());
            }
            'A'..='Z' => return None,
            _ if !character.is_ascii() => return None,
            _ => out.push(character),
        }
    }
    Some(Cow::Owned(out))
}

impl AsRef<str> for ModulePath {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModulePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ModulePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ModulePath({})", self.0)
    }
}
