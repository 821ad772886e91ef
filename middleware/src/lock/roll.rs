//! Who holds which lock, and who waits for which: for who looks on. As long as there are wishes, and work under locks.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::telemetry::trace::TraceId;

/// How it stands with a lock, for this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Work of this process has it.
    Held,
    /// A request of this process waits for it.
    Awaited,
}

impl Standing {
    /// Its name on the pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Awaited => "awaited",
        }
    }
}

/// A lock as who looks on sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// `MODULE@VERSION`.
    pub key: Arc<str>,
    /// How it stands with it.
    pub standing: Standing,
    /// For how long it has stood so.
    pub age: Duration,
    /// The id of the request that holds it, or waits.
    pub request_id: Arc<str>,
    /// The trace that has a lock which is awaited, where its owner says so.
    pub held_by: Option<TraceId>,
}

/// How many locks there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Those that this process has.
    pub held: usize,
    /// Those that it waits for.
    pub awaited: usize,
}

struct Row {
    key: Arc<str>,
    standing: Standing,
    since: Instant,
    request_id: Arc<str>,
    held_by: Option<TraceId>,
}

#[derive(Default)]
struct Rows {
    rows: HashMap<u64, Row>,
    entered: u64,
}

/// The roll; clones share it.
#[derive(Clone, Default)]
pub(super) struct Roll(Arc<Mutex<Rows>>);

/// A place on the roll. Dropped, it is free again.
pub(super) struct Entry {
    roll: Roll,
    number: u64,
}

impl Roll {
    /// From now on it stands so with this lock, for a request.
    pub(super) fn enter(&self, key: &Arc<str>, request_id: &Arc<str>, standing: Standing) -> Entry {
        let (key, request_id) = (Arc::clone(key), Arc::clone(request_id));
        let row = Row { key, standing, since: Instant::now(), request_id, held_by: None };
        let mut rows = self.0.lock();
        rows.entered += 1;
        let number = rows.entered;
        rows.rows.insert(number, row);
        drop(rows);
        Entry { roll: self.clone(), number }
    }

    /// The oldest locks that match, `most` of them at most.
    pub(super) fn listed(&self, most: usize, is_meant: impl Fn(&str) -> bool) -> Vec<Listed> {
        let rows = self.0.lock();
        let mut meant: Vec<_> = rows.rows.iter().filter(|(_, row)| is_meant(&row.key)).collect();
        meant.sort_by_key(|(number, _)| **number);
        let listed = meant.into_iter().take(most).map(|(_, row)| Listed {
            key: Arc::clone(&row.key),
            standing: row.standing,
            age: row.since.elapsed(),
            request_id: Arc::clone(&row.request_id),
            held_by: row.held_by,
        });
        listed.collect()
    }

    /// How many there are.
    pub(super) fn counts(&self) -> Counts {
        let rows = self.0.lock();
        let held = rows.rows.values().filter(|row| row.standing == Standing::Held).count();
        Counts { held, awaited: rows.rows.len() - held }
    }
}

impl Entry {
    /// The service says who has the lock.
    pub(super) fn held_by(&self, trace: TraceId) {
        if let Some(row) = self.roll.0.lock().rows.get_mut(&self.number) {
            row.held_by = Some(trace);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let row = self.roll.0.lock().rows.remove(&self.number);
        // Its texts are freed when nobody waits any more.
        drop(row);
    }
}
