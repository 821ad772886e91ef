//! The `list` answer: one version a line.
//!
//! What an upstream sends is filtered before it is passed on, because the `go` command believes it:
//! a pseudo-version costs it one more request per list, `v2.0.0` on a plain path and the short form
//! `v1.9` are picked and then fail.

use std::collections::HashSet;

use crate::path::ModulePath;
use crate::version::{MAX_VERSION_BYTES, Version};

#[cfg(test)]
mod tests;

/// Most versions kept of one list.
pub const MAX_LIST_VERSIONS: usize = 1_000_000;

/// Longest line looked at, in bytes: a version, a blank and a time. A longer one holds no version.
pub const MAX_LIST_LINE_BYTES: usize = 1024;

/// Largest list body in bytes.
pub const MAX_LIST_BYTES: usize = 64 << 20;

/// Why a body is no list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// A web page, most often a login form or an error page.
    #[error("list is a web page: want one version a line")]
    WebPage,
    /// More than [`MAX_LIST_BYTES`].
    #[error("list is over the limit of {MAX_LIST_BYTES} bytes")]
    TooLarge,
    /// More than [`MAX_LIST_VERSIONS`].
    #[error("list is over the limit of {MAX_LIST_VERSIONS} versions")]
    TooMany,
}

/// Filters a list as its bytes arrive, holding one line and the versions kept.
///
/// Kept are canonical versions that fit the module path, each once, in the order of the body.
/// Dropped without a word are pseudo-versions, short forms, foreign major versions and garbage, and
/// of each line everything after the first field (a time, as some upstreams add).
#[derive(Debug)]
pub struct ListFilter {
    module: ModulePath,
    line: Vec<u8>,
    line_too_long: bool,
    bytes: usize,
    begun: bool,
    seen: HashSet<Version>,
    versions: Vec<Version>,
}

impl ListFilter {
    /// A filter for the versions of `module`.
    pub fn new(module: &ModulePath) -> Self {
        Self {
            module: module.clone(),
            line: Vec::new(),
            line_too_long: false,
            bytes: 0,
            begun: false,
            seen: HashSet::new(),
            versions: Vec::new(),
        }
    }

    /// Takes the next bytes of the body, cut anywhere.
    ///
    /// # Errors
    /// Any [`ListError`]; the filter is of no use afterwards.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), ListError> {
        self.bytes = self.bytes.saturating_add(chunk.len());
        if self.bytes > MAX_LIST_BYTES {
            return Err(ListError::TooLarge);
        }
        self.check_begin(chunk)?;
        let mut rest = chunk;
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            self.extend_line(&rest[..end]);
            self.end_line()?;
            rest = &rest[end + 1..];
        }
        self.extend_line(rest);
        Ok(())
    }

    /// The versions kept; the last line needs no line end.
    ///
    /// # Errors
    /// [`ListError::TooMany`] when the last line is one version too many.
    pub fn finish(mut self) -> Result<Vec<Version>, ListError> {
        self.end_line()?;
        Ok(self.versions)
    }

    fn check_begin(&mut self, chunk: &[u8]) -> Result<(), ListError> {
        if self.begun {
            return Ok(());
        }
        match chunk.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'<') => Err(ListError::WebPage),
            first => {
                self.begun = first.is_some();
                Ok(())
            }
        }
    }

    fn extend_line(&mut self, bytes: &[u8]) {
        if self.line.len() + bytes.len() > MAX_LIST_LINE_BYTES {
            self.line_too_long = true;
        }
        if !self.line_too_long {
            self.line.extend_from_slice(bytes);
        }
    }

    fn end_line(&mut self) -> Result<(), ListError> {
        let too_long = std::mem::take(&mut self.line_too_long);
        let version = if too_long { None } else { listed_version(&self.module, &self.line) };
        self.line.clear();
        let Some(version) = version.filter(|version| !self.seen.contains(version)) else {
            return Ok(());
        };
        if self.versions.len() == MAX_LIST_VERSIONS {
            return Err(ListError::TooMany);
        }
        self.seen.insert(version.clone());
        self.versions.push(version);
        Ok(())
    }
}

/// The version of one line, when a list of this module may have it.
fn listed_version(module: &ModulePath, line: &[u8]) -> Option<Version> {
    let field = std::str::from_utf8(line).ok()?.split_whitespace().next()?;
    if field.len() > MAX_VERSION_BYTES {
        return None;
    }
    let version = Version::parse(field).ok()?;
    (!version.is_pseudo() && module.accepts(&version).is_ok()).then_some(version)
}

/// Filters a whole body at once; see [`ListFilter`].
///
/// # Errors
/// Any [`ListError`].
pub fn filter_list(module: &ModulePath, body: &[u8]) -> Result<Vec<Version>, ListError> {
    let mut filter = ListFilter::new(module);
    filter.push(body)?;
    filter.finish()
}

/// The version the `go` command calls latest: the highest release, else the highest pre-release.
pub fn latest_of(versions: &[Version]) -> Option<&Version> {
    versions.iter().max_by_key(|version| (!version.is_prerelease(), *version))
}

/// The body for a list: each version on a line of its own. Empty for an empty list.
pub fn render_list(versions: &[Version]) -> String {
    let bytes = versions.iter().map(|version| version.as_str().len() + 1).sum();
    let mut body = String::with_capacity(bytes);
    for version in versions {
        body.push_str(version.as_str());
        body.push('\n');
    }
    body
}
