//! The journal's text: pure.
//!
//! The first line is [`HEADER`]. Each other is a sum over its rest, a blank, and a JSON object: of an entry
//! that was accepted, `{"module", "version", "accepted"}` with milliseconds since 1970; of one that has
//! ended, `{"module", "version", "ended": true}`.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dipylon_middleware::ports::QueueEntry;
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::query::VersionQuery;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// What a journal begins with; another number is another form.
pub(super) const HEADER: &str = "dipylon background queue 1\n";
/// Bytes of the digest that a line carries.
const SUM_BYTES: usize = 8;

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// An entry was accepted.
    Kept(QueueEntry),
    /// An entry has ended.
    Ended(ModulePath, VersionQuery),
}

impl Record {
    /// The line, its end included.
    pub(super) fn line(&self) -> String {
        let object = match self {
            Self::Kept(QueueEntry { module, version, accepted }) => {
                let since = accepted.duration_since(UNIX_EPOCH).unwrap_or_default();
                let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
                let (module, version) = (module.as_str(), version.as_str());
                json!({ "module": module, "version": version, "accepted": millis })
            }
            Self::Ended(module, version) => {
                json!({ "module": module.as_str(), "version": version.as_str(), "ended": true })
            }
        };
        let text = object.to_string();
        format!("{} {text}\n", sum(&text))
    }

    /// Reads a line without its end; nothing where it is damaged.
    fn parse(line: &[u8]) -> Option<Self> {
        let (given, text) = std::str::from_utf8(line).ok()?.split_once(' ')?;
        if sum(text) != given {
            return None;
        }
        let object: Value = serde_json::from_str(text).ok()?;
        let module = ModulePath::parse(object.get("module")?.as_str()?).ok()?;
        let version = VersionQuery::parse(object.get("version")?.as_str()?).ok()?;
        if object.get("ended").is_some() {
            return Some(Self::Ended(module, version));
        }
        let since = Duration::from_millis(object.get("accepted")?.as_u64()?);
        let accepted = UNIX_EPOCH.checked_add(since).unwrap_or_else(SystemTime::now);
        Some(Self::Kept(QueueEntry { module, version, accepted }))
    }
}

fn sum(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(SUM_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

/// Entries that have not ended, in the order in which they were accepted.
#[derive(Debug, Default)]
pub(super) struct Live {
    entries: BTreeMap<u64, QueueEntry>,
    places: HashMap<(ModulePath, VersionQuery), u64>,
    accepted: u64,
}

impl Live {
    /// After this record.
    pub(super) fn apply(&mut self, record: Record) {
        match record {
            Record::Kept(entry) => {
                let key = (entry.module.clone(), entry.version.clone());
                if self.places.contains_key(&key) {
                    return;
                }
                self.accepted += 1;
                self.places.insert(key, self.accepted);
                self.entries.insert(self.accepted, entry);
            }
            Record::Ended(module, version) => {
                if let Some(place) = self.places.remove(&(module, version)) {
                    self.entries.remove(&place);
                }
            }
        }
    }

    /// The entries.
    pub(super) fn entries(&self) -> impl Iterator<Item = &QueueEntry> {
        self.entries.values()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

/// What a journal says.
#[derive(Debug)]
pub(super) struct Read {
    /// Entries that have not ended.
    pub(super) live: Live,
    /// Lines that say nothing: the last one torn by a crash, or damaged.
    pub(super) damaged: Vec<Vec<u8>>,
}

/// Reads a journal; nothing where it is none. An empty one, or one torn within its first line, is what a
/// crash at the first start leaves.
pub(super) fn read(bytes: &[u8]) -> Option<Read> {
    let mut read = Read { live: Live::default(), damaged: Vec::new() };
    if HEADER.as_bytes().starts_with(bytes) {
        return Some(read);
    }
    let lines = bytes.strip_prefix(HEADER.as_bytes())?;
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        // A line without its end was not written whole, even where all that is there is right.
        let whole = line.strip_suffix(b"\n");
        match whole.and_then(Record::parse) {
            Some(record) => read.live.apply(record),
            None => read.damaged.push(whole.unwrap_or(line).to_vec()),
        }
    }
    Some(read)
}
