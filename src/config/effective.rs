//! The configuration in force: each value with where it comes from, secrets hidden.

use std::fmt;

use serde::{Serialize, Serializer};

use super::problem::Origin;

/// Values longer than this many characters do not push the origins of the others to the right.
const MAX_ALIGNED_CHARS: usize = 48;

/// One key with its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EffectiveEntry {
    /// The key's path, such as `Storage.Disk.RootPath`.
    pub key: String,
    /// The value as TOML, secrets hidden.
    pub value: String,
    /// Where it comes from.
    #[serde(serialize_with = "as_text")]
    pub origin: Origin,
}

fn as_text<S: Serializer>(origin: &Origin, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(origin)
}

/// Every key with its value and origin, in the order of declaration.
///
/// `Display` gives a table of three columns; [`Effective::to_toml`] a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Effective(Vec<EffectiveEntry>);

impl Effective {
    pub(super) fn push(&mut self, entry: EffectiveEntry) {
        self.0.push(entry);
    }

    /// The entries.
    pub fn entries(&self) -> &[EffectiveEntry] {
        &self.0
    }

    /// Only what is not a built-in default.
    pub fn changed(&self) -> Self {
        let given = self.0.iter().filter(|entry| entry.origin != Origin::Default);
        Self(given.cloned().collect())
    }

    /// A configuration file that says the same, with each value's origin in a comment. A hidden
    /// secret reads `***`, so with secrets it has to be completed before it can be used.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        let mut open = String::new();
        for entry in &self.0 {
            let (table, name) = entry.key.rsplit_once('.').unwrap_or(("", &entry.key));
            if table != open {
                table.clone_into(&mut open);
                text.push_str(&format!("\n[{table}]\n"));
            }
            let assignment = format!("{name} = {}", entry.value);
            text.push_str(&format!("{assignment:MAX_ALIGNED_CHARS$} # {}\n", entry.origin));
        }
        text
    }
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |of: fn(&EffectiveEntry) -> &str| {
            let widths = self.0.iter().map(|entry| of(entry).chars().count());
            widths.filter(|chars| *chars <= MAX_ALIGNED_CHARS).max().unwrap_or(0)
        };
        let (key, value) = (width(|e| &e.key), width(|e| &e.value));
        for entry in &self.0 {
            writeln!(f, "{:key$}  {:value$}  {}", entry.key, entry.value, entry.origin)?;
        }
        Ok(())
    }
}
