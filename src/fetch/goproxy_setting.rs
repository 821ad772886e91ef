//! The grammar of GOPROXY: a list of upstreams and what to do when one of them fails.
//!
//! Source followed: the `go` command's `modfetch.proxyList`.

use std::fmt;
use std::path::{Path, PathBuf};

use dipylon_middleware::redact::redact_url;

use super::base_url::{BadBaseUrl, BaseUrl, percent_decode};

/// Most entries of a list.
pub const MAX_ENTRIES: usize = 32;

/// What stands behind an entry: which failures let the next entry answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Separator {
    /// `,` or the end of the list: only "does not exist" (404, 410).
    NotFound,
    /// `|`: any failure.
    AnyFailure,
}

/// One place to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A module proxy.
    Proxy(BaseUrl),
    /// `file:///…`: a tree of files in the layout of a module cache's `cache/download`.
    Tree(PathBuf),
    /// `direct`: the module's own repository, through the `go` command.
    Direct,
    /// `off`: nothing beyond this may be asked.
    Off,
}

/// An entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What to ask.
    pub kind: EntryKind,
    /// When to go on to the next entry.
    pub separator: Separator,
}

/// Prints as it was written, without credentials.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            EntryKind::Proxy(base) => base.fmt(f),
            EntryKind::Tree(root) => write!(f, "file://{}", root.display()),
            EntryKind::Direct => f.write_str("direct"),
            EntryKind::Off => f.write_str("off"),
        }
    }
}

/// A GOPROXY list; `direct` and `off` can only be its last entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GoProxyList {
    entries: Vec<Entry>,
}

/// Why a GOPROXY list is refused; names the entry, without credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GoProxyError {
    /// An entry is no URL and no keyword.
    #[error(
        "GOPROXY entry {entry:?} is refused: {reason}; accepted are https://HOST[/PATH], http://…, \
         file:///PATH, direct and off"
    )]
    BadEntry {
        /// The entry without credentials.
        entry: String,
        /// What is wrong.
        reason: String,
    },
    /// More than [`MAX_ENTRIES`].
    #[error("GOPROXY has more than {MAX_ENTRIES} entries")]
    TooMany,
}

impl GoProxyList {
    /// Reads a list. Empty entries are skipped; whatever follows `direct` or `off` is ignored, as in
    /// the `go` command. A list without any entry is empty and means "no upstream".
    ///
    /// # Errors
    /// [`GoProxyError`] for the first entry that is refused.
    pub fn parse(text: &str) -> Result<Self, GoProxyError> {
        let mut entries = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest.find([',', '|']).unwrap_or(rest.len());
            let (word, tail) = rest.split_at(end);
            let separator = match tail.chars().next() {
                Some('|') => Separator::AnyFailure,
                _ => Separator::NotFound,
            };
            rest = tail.get(1..).unwrap_or_default();
            let word = word.trim();
            if word.is_empty() {
                continue;
            }
            if entries.len() == MAX_ENTRIES {
                return Err(GoProxyError::TooMany);
            }
            let kind = parse_entry(word)?;
            let is_last = matches!(kind, EntryKind::Direct | EntryKind::Off);
            // Behind `direct` and `off` nothing comes, whatever is written there.
            let separator = if is_last { Separator::NotFound } else { separator };
            entries.push(Entry { kind, separator });
            if is_last {
                break;
            }
        }
        Ok(Self { entries })
    }

    /// The entries in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether there is nothing to ask: not even `off` was said.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether `direct` is all there is, so that nothing works without the `go` command.
    pub fn is_only_direct(&self) -> bool {
        matches!(self.entries.as_slice(), [Entry { kind: EntryKind::Direct, .. }])
    }

    /// Whether the one entry is a local tree: the case in which the `go` command trusts a toolchain
    /// without the checksum database.
    pub fn is_only_tree(&self) -> bool {
        matches!(self.entries.as_slice(), [Entry { kind: EntryKind::Tree(_), .. }])
    }
}

impl fmt::Display for GoProxyList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, entry) in self.entries.iter().enumerate() {
            entry.fmt(f)?;
            if index + 1 < self.entries.len() {
                f.write_str(match entry.separator {
                    Separator::NotFound => ",",
                    Separator::AnyFailure => "|",
                })?;
            }
        }
        Ok(())
    }
}

fn parse_entry(word: &str) -> Result<EntryKind, GoProxyError> {
    match word {
        "direct" => return Ok(EntryKind::Direct),
        "off" => return Ok(EntryKind::Off),
        _ => {}
    }
    let bad = |reason: &dyn fmt::Display| GoProxyError::BadEntry {
        entry: redacted(word),
        reason: reason.to_string(),
    };
    if let Some(path) = word.strip_prefix("file://") {
        let path = tree_path(path).ok_or_else(|| bad(&"want an absolute path, file:///PATH"))?;
        return Ok(EntryKind::Tree(path));
    }
    // A single word is reserved for keywords; what looks like a host without a scheme is one.
    let bare_host =
        word.contains(['.', ':', '/']) && !word.contains(":/") && !word.starts_with('/');
    let parsed =
        if bare_host { BaseUrl::parse(&format!("https://{word}")) } else { BaseUrl::parse(word) };
    parsed.map(EntryKind::Proxy).map_err(|error: BadBaseUrl| bad(&error))
}

/// An entry without credentials, whether it has a scheme or not.
fn redacted(word: &str) -> String {
    redact_url(word).into_owned()
}

fn tree_path(path: &str) -> Option<PathBuf> {
    if !path.starts_with('/') || path.contains(['?', '#']) {
        return None;
    }
    let path = String::from_utf8(percent_decode(path)?).ok()?;
    let is_plain = !path.contains('\0');
    is_plain.then(|| Path::new(&path).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        GoProxyList::parse(text).unwrap().to_string()
    }

    #[test]
    fn separators_stay_with_the_entry_before_them() {
        let list = GoProxyList::parse("https://a.test|https://b.test,direct").unwrap();
        let separators: Vec<Separator> =
            list.entries().iter().map(|entry| entry.separator).collect();
        use Separator::{AnyFailure, NotFound};
        assert_eq!(separators, [AnyFailure, NotFound, NotFound]);
    }

    #[test]
    fn lists_are_read_as_the_go_command_reads_them() {
        let table = [
            ("", ""),
            (" , |", ""),
            ("off", "off"),
            ("off,https://a.test", "off"),
            ("direct|https://a.test", "direct"),
            ("a.test", "https://a.test"),
            ("a.test:3000/go", "https://a.test:3000/go"),
            (" a.test , direct ", "https://a.test,direct"),
            ("http://a.test/|direct", "http://a.test|direct"),
            ("file:///a/b%20c", "file:///a/b c"),
            ("https://u:p@a.test,direct", "https://a.test,direct"),
        ];
        for (text, want) in table {
            assert_eq!(shown(text), want, "{text:?}");
        }
    }

    #[test]
    fn a_refused_entry_is_named_without_its_credentials() {
        let error = GoProxyList::parse("https://a.test,ftp://user:pw@b.test").unwrap_err();
        let text = error.to_string();
        assert!(text.contains("\"ftp://***@b.test\""), "{text}");
        assert!(!text.contains("pw"), "{text}");
        let error = GoProxyList::parse("user:pw@b c.test").unwrap_err().to_string();
        assert!(error.contains("\"***@b c.test\""), "{error}");
    }

    #[test]
    fn keywords_that_do_not_exist_are_refused() {
        for text in ["noproxy", "none", "/srv/mirror", "file://host/x", "file://x", "https://?"] {
            assert!(GoProxyList::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_number_of_entries_is_bounded() {
        let text = "a.test,".repeat(MAX_ENTRIES + 1);
        assert_eq!(GoProxyList::parse(&text).unwrap_err(), GoProxyError::TooMany);
    }
}
