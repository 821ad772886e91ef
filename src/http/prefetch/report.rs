//! What came of a request: counts, and for each line that was not taken whole the reasons.

use std::collections::BTreeMap;

use dipylon_protocol::query::VersionQuery;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Line, MODULES_MAX, PATIENCE, VERSIONS_MAX};

/// Why something is not in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    /// The line names no version of a module.
    Malformed,
    /// Policy forbids to fetch it.
    Policy,
    /// It is remembered that it cannot be had.
    Remembered,
    /// Which versions there are could not be found out.
    List,
    /// Whether it is stored could not be found out.
    Storage,
    /// The queue's directory did not say that it has it.
    QueueDirectory,
    /// The queue has no room.
    QueueFull,
    /// One request may bring no more versions.
    Versions,
    /// One request may ask for the versions of no more modules.
    Modules,
    /// The request's time is over.
    Time,
}

/// What came of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Accepted { is_on_disk: bool },
    Stored,
    Queued,
    Refused(Reason, String),
}

/// What is said of a line, for one reason.
#[derive(Debug)]
struct Note {
    asked: String,
    /// Versions that it is about; a line of which none is known counts as one.
    versions: usize,
    /// The first of them.
    such_as: Option<String>,
    why: String,
}

/// What came of all of it.
#[derive(Debug)]
pub(in crate::http) struct Report {
    versions_max: usize,
    pub(in crate::http) accepted: usize,
    on_disk: usize,
    pub(in crate::http) stored: usize,
    pub(in crate::http) queued: usize,
    pub(in crate::http) refused: usize,
    pub(in crate::http) left_out: usize,
    is_queue_full: bool,
    notes: BTreeMap<(usize, Reason), Note>,
}

impl Reason {
    fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Policy => "policy",
            Self::Remembered => "remembered",
            Self::List => "list",
            Self::Storage => "storage",
            Self::QueueDirectory => "queue_directory",
            Self::QueueFull => "queue_full",
            Self::Versions => "versions_limit",
            Self::Modules => "modules_limit",
            Self::Time => "time",
        }
    }

    /// What is said of all that stays out of the queue for this reason.
    pub(super) fn says(self) -> String {
        match self {
            Self::QueueFull => {
                "the queue is full (Dipylon.QueueMaxEntries): send this again when /-/queue has room".to_owned()
            }
            Self::Versions => format!(
                "one request takes {VERSIONS_MAX} versions into the queue: send this again for the next, \
                 what is queued or stored does not count"
            ),
            Self::Modules => format!(
                "one request asks for the versions of {MODULES_MAX} modules: send this line again"
            ),
            Self::Time => format!("the request took {} s: send this line again", PATIENCE.as_secs()),
            other => other.name().to_owned(),
        }
    }
}

impl Report {
    /// Of a request that may bring so many versions into the queue.
    pub(super) fn new(versions_max: usize) -> Self {
        Self {
            versions_max,
            accepted: 0,
            on_disk: 0,
            stored: 0,
            queued: 0,
            refused: 0,
            left_out: 0,
            is_queue_full: false,
            notes: BTreeMap::new(),
        }
    }

    /// Versions that may still be taken.
    pub(super) fn room(&self) -> usize {
        self.versions_max.saturating_sub(self.accepted)
    }

    /// Why nothing more is taken, if so.
    pub(super) fn stop(&self, deadline: Instant) -> Option<Reason> {
        if self.is_queue_full {
            return Some(Reason::QueueFull);
        }
        if self.room() == 0 {
            return Some(Reason::Versions);
        }
        (Instant::now() >= deadline).then_some(Reason::Time)
    }

    /// What came of one version of a line.
    pub(super) fn note(&mut self, line: &Line, version: &VersionQuery, fate: Fate) {
        match fate {
            Fate::Accepted { is_on_disk } => {
                self.accepted += 1;
                self.on_disk += usize::from(is_on_disk);
            }
            Fate::Stored => self.stored += 1,
            Fate::Queued => self.queued += 1,
            Fate::Refused(reason, why) => {
                self.is_queue_full |= reason == Reason::QueueFull;
                self.refused += 1;
                self.say(line, reason, Some(version), || why);
            }
        }
    }

    /// A whole line is refused.
    pub(super) fn refuse(&mut self, line: &Line, reason: Reason, why: &str) {
        self.refused += 1;
        self.say(line, reason, None, || why.to_owned());
    }

    /// A version of a line, or the whole line, is not even offered to the queue.
    pub(super) fn leave_out(&mut self, line: &Line, reason: Reason) {
        self.left_out += 1;
        self.say(line, reason, None, || reason.says());
    }

    fn say(
        &mut self,
        line: &Line,
        reason: Reason,
        version: Option<&VersionQuery>,
        why: impl FnOnce() -> String,
    ) {
        let note = self.notes.entry((line.number, reason)).or_insert_with(|| Note {
            asked: line.asked.clone(),
            versions: 0,
            such_as: version.map(ToString::to_string),
            why: why(),
        });
        note.versions += 1;
    }

    /// As the answer has it.
    pub(in crate::http) fn json(&self) -> Value {
        let note = |((line, reason), note): (&(usize, Reason), &Note)| {
            json!({
                "line": line,
                "asked": note.asked,
                "reason": reason.name(),
                "versions": note.versions,
                "such_as": note.such_as,
                "why": note.why,
            })
        };
        json!({
            "accepted": self.accepted,
            "on_disk": self.on_disk,
            "stored": self.stored,
            "queued": self.queued,
            "refused": self.refused,
            "left_out": self.left_out,
            "reasons": self.notes.iter().map(note).collect::<Vec<_>>(),
        })
    }
}
