//! The configuration file: found, read, and taken apart into keys with their lines.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::key::Catalogue;
use super::problem::{ConfigError, ConfigErrors, Origin, shorten};
use super::values::Raw;

/// The largest configuration file, in bytes.
const MAX_CONFIG_BYTES: u64 = 1024 * 1024;

/// The name looked for in the working directory when no file is named.
const DEFAULT_NAME: &str = "athens.toml";

/// The file to read: the one that was named, else `athens.toml` in the working directory if it
/// exists, else none.
pub(super) fn find(named: Option<PathBuf>, cwd: &Path) -> Option<PathBuf> {
    match named.filter(|path| !path.as_os_str().is_empty()) {
        Some(path) => Some(path),
        None => Some(cwd.join(DEFAULT_NAME)).filter(|path| path.exists()),
    }
}

/// One value of the file.
#[derive(Debug)]
pub(super) struct Entry {
    /// The key as the file writes it.
    pub(super) written: String,
    pub(super) value: Raw,
    /// From 1.
    pub(super) line: usize,
}

/// A file taken apart. Keys are in small letters: as in Athens, letter case does not matter.
#[derive(Debug)]
pub(super) struct ConfigFile {
    pub(super) path: Arc<Path>,
    entries: BTreeMap<String, Entry>,
    /// Keys nobody declared: as written, with the line.
    pub(super) unknown: Vec<(String, usize)>,
}

impl ConfigFile {
    /// Reads and parses a file.
    pub(super) fn read(path: &Path, catalogue: &Catalogue) -> Result<Self, ConfigErrors> {
        let text = read_text(path, MAX_CONFIG_BYTES)
            .map_err(|reason| ConfigError::File { path: path.to_owned(), reason })?;
        Self::parse(path, &text, catalogue)
    }

    /// Parses the text of a file; the path is only for messages.
    pub(super) fn parse(
        path: &Path,
        text: &str,
        catalogue: &Catalogue,
    ) -> Result<Self, ConfigErrors> {
        let document = DeTable::parse(text).map_err(|why| syntax(path, text, &why))?;
        let mut walk = Walk {
            file: Self { path: path.into(), entries: BTreeMap::new(), unknown: Vec::new() },
            lines: LineIndex::new(text),
            keys: lower(catalogue.keys().flat_map(|k| k.aliases.iter().chain([&k.path]))),
            tables: lower(catalogue.tables.iter().map(|t| &t.path)),
            errors: Vec::new(),
        };
        walk.table("", document.get_ref());
        if !walk.errors.is_empty() {
            return Err(ConfigErrors(walk.errors));
        }
        walk.file.unknown.sort_by_key(|(_, line)| *line);
        Ok(walk.file)
    }

    /// The value of a key, whatever its letter case.
    pub(super) fn get(&self, path: &str) -> Option<&Entry> {
        self.entries.get(&path.to_ascii_lowercase())
    }

    /// The origin of an entry of this file.
    pub(super) fn origin(&self, entry: &Entry) -> Origin {
        Origin::File { path: Arc::clone(&self.path), line: entry.line }
    }
}

/// Reads a whole file that must be UTF-8 and no longer than `max_bytes`; the error is what is
/// wrong and what to do, without the path.
pub(super) fn read_text(path: &Path, max_bytes: u64) -> Result<String, String> {
    let unreadable = |why: std::io::Error| format!("cannot be read: {why}; name a readable file");
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(max_bytes + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > max_bytes {
        return Err(format!("is longer than {max_bytes} bytes; name a shorter file"));
    }
    String::from_utf8(bytes).map_err(|why| {
        let at = why.utf8_error().valid_up_to();
        format!("is not UTF-8 text from byte {at} on; save it as UTF-8")
    })
}

fn lower<'a>(paths: impl Iterator<Item = &'a String>) -> BTreeSet<String> {
    paths.map(|path| path.to_ascii_lowercase()).collect()
}

fn syntax(path: &Path, text: &str, why: &toml::de::Error) -> ConfigError {
    let (line, column) = LineIndex::new(text).position(text, why.span().map_or(0, |s| s.start));
    // The parser's message may have several lines; a person gets one.
    let reason = why.message().split_whitespace().collect::<Vec<_>>().join(" ");
    ConfigError::Syntax { path: path.to_owned(), line, column, reason }
}

/// Where the lines of a text begin.
struct LineIndex(Vec<usize>);

impl LineIndex {
    fn new(text: &str) -> Self {
        let starts = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i + 1);
        Self(std::iter::once(0).chain(starts).collect())
    }

    /// The line of a byte, from 1.
    fn line(&self, byte: usize) -> usize {
        self.0.partition_point(|start| *start <= byte)
    }

    /// The line and the column in characters of a byte, both from 1.
    fn position(&self, text: &str, byte: usize) -> (usize, usize) {
        let line = self.line(byte);
        let start = self.0[line - 1];
        let column = text.get(start..byte).map_or(1, |before| before.chars().count() + 1);
        (line, column)
    }
}

/// The walk over the document. Its depth is the parser's, which is bounded.
struct Walk {
    file: ConfigFile,
    lines: LineIndex,
    keys: BTreeSet<String>,
    tables: BTreeSet<String>,
    errors: Vec<ConfigError>,
}

impl Walk {
    fn table(&mut self, above: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let written = match above {
                "" => key.get_ref().to_string(),
                above => format!("{above}.{}", key.get_ref()),
            };
            self.value(written, self.lines.line(key.span().start), value);
        }
    }

    fn value(&mut self, written: String, line: usize, value: &Spanned<DeValue<'_>>) {
        let folded = written.to_ascii_lowercase();
        if self.keys.contains(&folded) {
            self.entry(folded, Entry { written, value: detach(value.get_ref()), line });
        } else if let DeValue::Table(inner) = value.get_ref() {
            self.table(&written, inner);
        } else if self.tables.contains(&folded) {
            let raw = detach(value.get_ref());
            self.errors.push(ConfigError::Form {
                shown: shorten(raw.literal()),
                origin: Origin::File { path: Arc::clone(&self.file.path), line },
                reason: format!("this is {}; accepted is a table: [{written}]", raw.kind()),
                key: written,
            });
        } else {
            self.file.unknown.push((written, line));
        }
    }

    /// Keeps a value. The same key in two spellings has no order in TOML, so it is an error.
    fn entry(&mut self, folded: String, entry: Entry) {
        let Some(first) = self.file.entries.get(&folded) else {
            self.file.entries.insert(folded, entry);
            return;
        };
        let (line, other) = (first.line.max(entry.line), first.line.min(entry.line));
        self.errors.push(ConfigError::File {
            path: self.file.path.to_path_buf(),
            reason: format!(
                "{} is given twice, in lines {other} and {line} (letter case does not matter): \
                 keep one",
                entry.written
            ),
        });
    }
}

/// Copies a value out of the document.
fn detach(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Raw::Other(number.to_string()), Raw::Whole),
        DeValue::Float(number) => number
            .as_str()
            .parse()
            .map_or_else(|_| Raw::Other(number.as_str().to_owned()), Raw::Float),
        DeValue::Boolean(value) => Raw::Bool(*value),
        DeValue::Datetime(moment) => Raw::Other(moment.to_string()),
        DeValue::Array(items) => Raw::List(items.iter().map(|i| detach(i.get_ref())).collect()),
        DeValue::Table(table) => Raw::Table(
            table.iter().map(|(k, v)| (k.get_ref().to_string(), detach(v.get_ref()))).collect(),
        ),
    }
}
