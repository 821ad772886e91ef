//! How the latest requests about modules, and the latest background fetches, ended: a bounded memory of this process.
//! `access_log`, the background and `stash` write it, and `/-/explain` reads it.
//!
//! Hits have a ring of their own: they are most of what happens, and least of what anybody asks about.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use crate::telemetry::Outcome;
use crate::telemetry::trace::TraceId;

/// Events that are kept of what is no hit; the oldest goes first.
pub const EVENTS_KEPT_MAX: usize = 2048;

/// Events that are kept of hits. Few: memory that many requests go round in is in no cache when it is used again, and
/// under load all of them are of the last moment anyway.
pub const HITS_KEPT_MAX: usize = 256;

/// The longest name of a module or a version of which events are kept, in bytes.
pub const EVENT_NAME_BYTES_MAX: usize = 512;

/// What [`Event::what`] is where no client asked.
pub const BACKGROUND: &str = "background";

/// What [`Event::what`] is where a version has come into the store.
pub const STORED: &str = "stored";

/// How something about a module ended.
#[derive(Clone, Debug)]
pub struct Event {
    /// When it ended.
    pub at: SystemTime,
    /// The route of a request, [`BACKGROUND`], or [`STORED`].
    pub what: &'static str,
    /// Module path.
    pub module: Arc<str>,
    /// The version, where it was about one.
    pub version: Option<Arc<str>>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, where it failed; bounded, and without credentials, as the text of every error.
    pub error: Option<String>,
    /// Which upstream it came from, without credentials, where something was stored.
    pub upstream: Option<Arc<str>>,
    /// How long it took.
    pub duration: Duration,
    /// The trace it was in, where traces are recorded.
    pub trace: Option<TraceId>,
    /// The id of the request, or of the one that caused it.
    pub request_id: Arc<str>,
}

impl Event {
    fn is_about(&self, module: &str, version: Option<&str>) -> bool {
        let is_named = |version| self.version.as_deref() == Some(version);
        &*self.module == module && version.is_none_or(is_named)
    }

    fn is_hit(&self) -> bool {
        matches!(self.outcome, Outcome::HitMemory | Outcome::HitStorage)
    }

    fn is_short(&self) -> bool {
        let version = self.version.as_ref().map_or(0, |version| version.len());
        self.module.len().max(version) <= EVENT_NAME_BYTES_MAX
    }
}

#[derive(Debug, Default)]
struct Rings {
    hits: VecDeque<Event>,
    others: VecDeque<Event>,
}

/// The events; clones share them.
#[derive(Clone, Default)]
pub struct Events(Arc<Mutex<Rings>>);

impl Events {
    /// Keeps one, and lets the oldest of its ring go where that is full.
    pub fn note(&self, event: Event) {
        if !event.is_short() {
            return;
        }
        let mut rings = self.0.lock();
        let (ring, most) = match event.is_hit() {
            true => (&mut rings.hits, HITS_KEPT_MAX),
            false => (&mut rings.others, EVENTS_KEPT_MAX),
        };
        let oldest = if ring.len() == most { ring.pop_front() } else { None };
        ring.push_back(event);
        drop(rings);
        // Its texts are freed when nobody waits any more.
        drop(oldest);
    }

    /// The newest about a module, or one of its versions, the newest first.
    pub fn about(&self, module: &str, version: Option<&str>, most: usize) -> Vec<Event> {
        let rings = self.0.lock();
        let newest = |ring: &VecDeque<Event>| {
            let matching = ring.iter().rev().filter(|event| event.is_about(module, version));
            matching.take(most).cloned().collect::<Vec<_>>()
        };
        let (mut events, others) = (newest(&rings.hits), newest(&rings.others));
        drop(rings);
        events.extend(others);
        events.sort_by_key(|event| std::cmp::Reverse(event.at));
        events.truncate(most);
        events
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rings = self.0.lock();
        write!(f, "Events({} hits, {} others)", rings.hits.len(), rings.others.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: u64, version: &str, outcome: Outcome) -> Event {
        Event {
            at: SystemTime::UNIX_EPOCH + Duration::from_secs(number),
            what: "zip",
            module: "example.com/m".into(),
            version: Some(version.into()),
            outcome,
            error: None,
            upstream: None,
            duration: Duration::ZERO,
            trace: None,
            request_id: number.to_string().into(),
        }
    }

    fn ids(events: &[Event]) -> Vec<&str> {
        events.iter().map(|event| &*event.request_id).collect()
    }

    #[test]
    fn the_newest_that_match_come_first() {
        let events = Events::default();
        for (number, version) in [(1, "v1.0.0"), (2, "v1.0.1"), (3, "v1.0.0"), (4, "v1.0.1")] {
            let outcome = if number % 2 == 0 { Outcome::HitMemory } else { Outcome::MissLeader };
            events.note(event(number, version, outcome));
        }
        assert_eq!(ids(&events.about("example.com/m", None, 3)), ["4", "3", "2"]);
        assert_eq!(ids(&events.about("example.com/m", Some("v1.0.0"), 20)), ["3", "1"]);
        assert!(events.about("example.com/m/v2", None, 20).is_empty(), "another module");
    }

    #[test]
    fn the_memory_is_bounded_and_hits_push_out_nothing_but_hits() {
        let events = Events::default();
        events.note(event(0, "v1.0.0", Outcome::UpstreamError));
        for number in 1..=(HITS_KEPT_MAX as u64 + 100) {
            events.note(event(number, "v1.0.0", Outcome::HitStorage));
        }
        let all = events.about("example.com/m", None, usize::MAX);
        assert_eq!(all.len(), HITS_KEPT_MAX + 1);
        assert_eq!(ids(&all)[HITS_KEPT_MAX - 1], "101", "the oldest hits went");
        assert_eq!(ids(&all)[HITS_KEPT_MAX], "0", "the error stayed");
        let long = "v".repeat(EVENT_NAME_BYTES_MAX + 1);
        events.note(event(9_000_000, &long, Outcome::MissLeader));
        assert!(events.about("example.com/m", Some(&long), 20).is_empty(), "a name is bounded");
    }
}
