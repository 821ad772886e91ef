//! Which background stash is next: a pure machine that is told the time.

use std::collections::hash_map::Entry as Slot;
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use dipylon_protocol::path::ModulePath;
use dipylon_protocol::query::VersionQuery;

use crate::error::ErrorKind;

/// How often a background stash is tried, the first time included.
pub const ATTEMPTS_MAX: u32 = 8;
/// How many turns it has, those included in which no upstream was asked: those of about a day.
pub const TURNS_MAX: u32 = 150;
/// The pause before the second attempt; each further one is twice as long.
pub const PAUSE_MIN: Duration = Duration::from_secs(5);
/// The longest pause between two attempts, also where upstream asks for a longer one.
pub const PAUSE_MAX: Duration = Duration::from_secs(600);
/// A pause is longer by up to this part of itself, so that what failed together does not come back together.
pub const SPREAD_PART: u32 = 4;
/// Refusals are logged once in so long, and so is what policy forbids.
pub const REFUSALS_LOGGED_EVERY: Duration = Duration::from_secs(10);

/// What a background stash is for: a version, whichever of its files was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) module: ModulePath,
    pub(super) version: VersionQuery,
}

/// What came of an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// It waits for its turn.
    Accepted,
    /// It waits or runs already.
    Duplicate,
    /// There is no room.
    Full,
}

/// How it stands with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It waits for its turn.
    Waiting,
    /// It has failed and waits for its next attempt.
    Paused,
    /// It runs.
    Running,
}

impl Standing {
    /// Its name on the pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Paused => "paused",
        }
    }
}

/// An entry as an operator sees it.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Module path.
    pub module: ModulePath,
    /// Version or query, as asked.
    pub version: VersionQuery,
    /// How it stands with it.
    pub standing: Standing,
    /// How long ago it was accepted.
    pub age: Duration,
    /// Attempts begun by this process.
    pub attempts: u32,
}

/// The queue at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Entries that wait, pauses included.
    pub queued: usize,
    /// Entries that run.
    pub running: usize,
    /// Entries that policy forbids to fetch: they are only on disk, until it allows them.
    pub held: usize,
    /// How long ago the oldest entry was accepted.
    pub oldest: Option<Duration>,
    /// The first entries: those that run, then the others by their turns.
    pub entries: Vec<Listed>,
}

/// An entry whose turn has come.
#[derive(Debug)]
pub(super) struct Taken<J> {
    pub(super) key: Key,
    pub(super) job: J,
    /// Attempts begun, this one included.
    pub(super) attempt: u32,
    /// Turns it has had, this one included: also those in which nobody was asked.
    pub(super) turn: u32,
    /// How long it has been there.
    pub(super) age: Duration,
}

/// When an entry is due, and in which order those come that are due at the same time.
type Turn = (Duration, u64);

#[derive(Debug)]
struct Entry<J> {
    job: J,
    since: Duration,
    attempts: u32,
    /// Turns in which nobody was asked.
    unasked: u32,
    /// Whether the store has it.
    is_kept: bool,
    place: Place,
}

/// What is known of an entry that policy forbids.
#[derive(Clone, Copy, Debug)]
struct Held {
    since: Duration,
    /// Which of those that were accepted at the same time comes first.
    place: u64,
    is_kept: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It has its place and may not run yet.
    Unreleased,
    Waiting(Turn),
    Running,
}

/// Entries by version, each once, and their turns. `J` is what an entry needs to run.
#[derive(Debug)]
pub(super) struct Queue<J> {
    entries: HashMap<Key, Entry<J>>,
    turns: BTreeMap<Turn, Key>,
    running: usize,
    entries_max: usize,
    workers_max: usize,
    turns_given: u64,
    /// What policy forbids and the store keeps: no more than the store has.
    held: HashMap<Key, Held>,
    refusals: NowAndThen,
    forbidden: NowAndThen,
}

impl<J: Clone> Queue<J> {
    /// Room for `entries_max` that wait or run, `workers_max` of them at a time.
    pub(super) fn new(entries_max: usize, workers_max: usize) -> Self {
        Self {
            entries: HashMap::new(),
            turns: BTreeMap::new(),
            running: 0,
            entries_max,
            workers_max,
            turns_given: 0,
            held: HashMap::new(),
            refusals: NowAndThen::default(),
            forbidden: NowAndThen::default(),
        }
    }

    /// Gives a new entry a place, unless it has one or there is none: those that are in it come first. It
    /// does not run before it is released.
    pub(super) fn offer(&mut self, key: Key, job: J, now: Duration) -> Offer {
        if self.entries.len() >= self.entries_max && !self.entries.contains_key(&key) {
            return Offer::Full;
        }
        self.insert(key, job, now)
    }

    /// Takes in an entry that was accepted at `since`, by a process that has ended. It was promised, so there
    /// is room for it; whoever calls bounds how many there are.
    pub(super) fn recover(&mut self, key: &Key, job: J, since: Duration, now: Duration) -> Offer {
        let offer = self.insert(key.clone(), job, since);
        if offer == Offer::Accepted {
            self.kept(key);
            self.release(key, now);
        }
        offer
    }

    /// The store has an entry.
    pub(super) fn kept(&mut self, key: &Key) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.is_kept = true;
        }
        if let Some(held) = self.held.get_mut(key) {
            held.is_kept = true;
        }
    }

    /// Whether the store has an entry.
    pub(super) fn is_kept(&self, key: &Key) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.is_kept)
    }

    /// Entries that wait or run, and that the store has.
    pub(super) fn kept_count(&self) -> usize {
        self.entries.values().filter(|entry| entry.is_kept).count()
    }

    /// Entries that the store does not have, what is held included, and since when they are there.
    pub(super) fn unkept(&self) -> Vec<(Key, Duration)> {
        let entries = self.entries.iter().map(|(key, entry)| (key, entry.is_kept, entry.since));
        let held = self.held.iter().map(|(key, held)| (key, held.is_kept, held.since));
        let unkept = entries.chain(held).filter(|(_, is_kept, _)| !is_kept);
        unkept.map(|(key, _, since)| (key.clone(), since)).collect()
    }

    fn insert(&mut self, key: Key, job: J, since: Duration) -> Offer {
        self.held.remove(&key);
        match self.entries.entry(key) {
            Slot::Occupied(_) => Offer::Duplicate,
            Slot::Vacant(free) => {
                free.insert(Entry {
                    job,
                    since,
                    attempts: 0,
                    unasked: 0,
                    is_kept: false,
                    place: Place::Unreleased,
                });
                Offer::Accepted
            }
        }
    }

    /// An entry that was held waits for its turn from now on.
    pub(super) fn release(&mut self, key: &Key, now: Duration) {
        self.wait(key, now);
    }

    /// An entry that ran is to run again, at `due`.
    pub(super) fn again(&mut self, key: &Key, due: Duration) {
        self.wait(key, due);
    }

    /// As `again`, and the attempt does not count: nobody was asked.
    pub(super) fn again_unasked(&mut self, key: &Key, due: Duration) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.attempts = entry.attempts.saturating_sub(1);
            entry.unasked = entry.unasked.saturating_add(1);
        }
        self.wait(key, due);
    }

    /// An entry that policy forbids leaves the queue until policy allows it. Where as many are put by as the queue has
    /// places it stays as it is, which is `false`.
    pub(super) fn hold(&mut self, key: &Key) -> bool {
        let Some(Entry { since, is_kept, .. }) = self.entries.get(key) else { return true };
        let (since, is_kept) = (*since, *is_kept);
        let has_room = self.held.len() < self.entries_max;
        if has_room {
            self.end(key);
            self.put_by(key.clone(), since, is_kept);
        }
        has_room
    }

    /// The same of one that was accepted at `since`, by a process that has ended.
    pub(super) fn hold_recovered(&mut self, key: Key, since: Duration) {
        self.put_by(key, since, true);
    }

    fn put_by(&mut self, key: Key, since: Duration, is_kept: bool) {
        self.turns_given += 1;
        let place = self.turns_given;
        self.held.insert(key, Held { since, place, is_kept });
    }

    /// What is held, in the order in which it was accepted.
    pub(super) fn held(&self) -> Vec<Key> {
        let mut held: Vec<(&Key, &Held)> = self.held.iter().collect();
        held.sort_by_key(|(_, held)| (held.since, held.place));
        held.into_iter().map(|(key, _)| key.clone()).collect()
    }

    /// What was held waits for its turn again, as old as it is; `false` where it is held no more. It was
    /// promised, so there is room for it.
    pub(super) fn take_back(&mut self, key: &Key, job: J, now: Duration) -> bool {
        let Some(held) = self.held.remove(key) else { return false };
        if self.insert(key.clone(), job, held.since) != Offer::Accepted {
            return false;
        }
        if held.is_kept {
            self.kept(key);
        }
        self.release(key, now);
        true
    }

    fn wait(&mut self, key: &Key, due: Duration) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        match entry.place {
            Place::Waiting(_) => return,
            Place::Running => self.running -= 1,
            Place::Unreleased => {}
        }
        self.turns_given += 1;
        let turn = (due, self.turns_given);
        entry.place = Place::Waiting(turn);
        self.turns.insert(turn, key.clone());
    }

    /// The next entry that is due, where fewer than `workers_max` run; of those alone that the store does not
    /// have, where the others are left to the next process. It runs from now on.
    pub(super) fn take(&mut self, now: Duration, only_unkept: bool) -> Option<Taken<J>> {
        if self.running >= self.workers_max {
            return None;
        }
        let mut due = self.turns.range(..=(now, u64::MAX));
        let (turn, _) = due.find(|(_, key)| !(only_unkept && self.is_kept(key)))?;
        let turn = *turn;
        let key = self.turns.remove(&turn)?;
        let entry = self.entries.get_mut(&key)?;
        entry.place = Place::Running;
        entry.attempts += 1;
        self.running += 1;
        let turn = entry.attempts.saturating_add(entry.unasked);
        let age = now.saturating_sub(entry.since);
        Some(Taken { job: entry.job.clone(), attempt: entry.attempts, turn, age, key })
    }

    /// An entry has ended, well or for good.
    pub(super) fn end(&mut self, key: &Key) {
        match self.entries.remove(key).map(|entry| entry.place) {
            Some(Place::Running) => self.running -= 1,
            Some(Place::Waiting(turn)) => drop(self.turns.remove(&turn)),
            Some(Place::Unreleased) | None => {}
        }
    }

    /// Entries that wait, pauses included.
    pub(super) fn queued(&self) -> usize {
        self.entries.len() - self.running
    }

    /// Entries that run.
    pub(super) fn running(&self) -> usize {
        self.running
    }

    /// A refusal: how many there were since the last that was logged, where this one is to be.
    pub(super) fn refused(&mut self, now: Duration) -> Option<u64> {
        self.refusals.note(now)
    }

    /// An entry that policy forbids, as `refused`.
    pub(super) fn forbidden(&mut self, now: Duration) -> Option<u64> {
        self.forbidden.note(now)
    }

    /// The entries of a module, or of one of its versions, `most` of them at most, each with how many come before it.
    pub(super) fn about(
        &self,
        module: &ModulePath,
        version: Option<&VersionQuery>,
        most: usize,
        now: Duration,
    ) -> Vec<(Listed, Option<usize>)> {
        let is_meant = |key: &Key| {
            key.module == *module && version.is_none_or(|version| key.version == *version)
        };
        let meant = self.entries.iter().filter(|(key, _)| is_meant(key)).take(most);
        let told = meant.map(|(key, entry)| {
            let before = match entry.place {
                Place::Waiting(turn) => Some(self.turns.range(..turn).count()),
                Place::Running | Place::Unreleased => None,
            };
            (Self::listed(key, entry, now), before)
        });
        told.collect()
    }

    fn listed(key: &Key, entry: &Entry<J>, now: Duration) -> Listed {
        Listed {
            module: key.module.clone(),
            version: key.version.clone(),
            standing: match entry.place {
                Place::Running => Standing::Running,
                Place::Waiting((due, _)) if due > now => Standing::Paused,
                Place::Waiting(_) | Place::Unreleased => Standing::Waiting,
            },
            age: now.saturating_sub(entry.since),
            attempts: entry.attempts,
        }
    }

    /// What an operator sees, with `entries_max` entries at most.
    pub(super) fn snapshot(&self, entries_max: usize, now: Duration) -> Snapshot {
        let running = self.entries.iter().filter(|(_, entry)| entry.place == Place::Running);
        let waiting = self.turns.values().filter_map(|key| self.entries.get_key_value(key));
        let listed = |(key, entry): (&Key, &Entry<J>)| Self::listed(key, entry, now);
        let since = self.entries.values().map(|entry| entry.since).min();
        Snapshot {
            queued: self.queued(),
            running: self.running(),
            held: self.held.len(),
            oldest: since.map(|since| now.saturating_sub(since)),
            entries: running.chain(waiting).take(entries_max).map(listed).collect(),
        }
    }
}

/// What happens often, since it was logged last.
#[derive(Debug, Default)]
struct NowAndThen {
    logged: Option<Duration>,
    since: u64,
}

impl NowAndThen {
    fn note(&mut self, now: Duration) -> Option<u64> {
        self.since += 1;
        if self.logged.is_some_and(|logged| now < logged + REFUSALS_LOGGED_EVERY) {
            return None;
        }
        self.logged = Some(now);
        Some(std::mem::take(&mut self.since))
    }
}

/// The pause after so many turns; what upstream asks for, where that is longer.
pub(super) fn pause(turns: u32, asked: Option<Duration>) -> Duration {
    let doubled = 2_u32.saturating_pow(turns.saturating_sub(1));
    PAUSE_MIN.saturating_mul(doubled).max(asked.unwrap_or_default()).min(PAUSE_MAX)
}

/// A pause made longer, by another part of itself for each entry and turn, and always the same for one.
pub(super) fn spread(pause: Duration, key: &Key, turn: u32) -> Duration {
    const STEPS: u32 = 1 << 10;
    let mut hasher = DefaultHasher::new();
    (key, turn).hash(&mut hasher);
    let step = (hasher.finish() % u64::from(STEPS)) as u32;
    pause + pause / SPREAD_PART * step / STEPS
}

/// Whether an upstream had its say before a stash failed so; else it was no attempt. The store and our own limits
/// say nothing of a version.
pub(super) fn was_asked(kind: ErrorKind) -> bool {
    use ErrorKind::{
        NoUpstream, Overloaded, PolicyChanged, Storage, StorageBusy, StorageUnavailable,
        UpstreamPaced, UpstreamPaused, UpstreamUnavailable,
    };
    let of_upstream = matches!(kind, UpstreamUnavailable | UpstreamPaused | UpstreamPaced);
    let of_store = matches!(kind, Storage | StorageBusy | StorageUnavailable);
    let of_ours = of_store || matches!(kind, NoUpstream | Overloaded | PolicyChanged);
    !of_upstream && !of_ours
}

/// Whether a stash that failed so may succeed later: nobody waits for it, so all that might pass is worth
/// a further attempt.
pub(super) fn may_pass(kind: ErrorKind) -> bool {
    use ErrorKind::{
        AdminRefused, AsyncAccepted, BadContent, BadRequest, ChecksumMismatch, ChecksumUnavailable,
        DeadlineExceeded, DeniedByFilter, DeniedByValidator, ImpossiblePath, Internal, InvalidPath,
        MethodNotAllowed, NoUpstream, NotFound, NotFoundForNow, NotStored, Overloaded,
        PolicyChanged, PrivateChecksum, RateLimited, Storage, StorageBusy, StorageUnavailable,
        Unauthorized, Unsupported, UpstreamFailed, UpstreamPaced, UpstreamPaused, UpstreamRefused,
        UpstreamRejected, UpstreamThrottled, UpstreamTimeout, UpstreamUnavailable, ValidatorFailed,
    };
    match kind {
        // A mistake of our own may be one of the moment, and what was accepted is not given up for it.
        BadContent | ChecksumUnavailable | DeadlineExceeded | Internal | NoUpstream
        | NotFoundForNow | Overloaded | PolicyChanged | RateLimited | Storage | StorageBusy
        | StorageUnavailable | UpstreamFailed | UpstreamPaced | UpstreamPaused
        | UpstreamThrottled | UpstreamTimeout | UpstreamUnavailable | ValidatorFailed => true,
        AdminRefused | AsyncAccepted | BadRequest | ChecksumMismatch | DeniedByFilter
        | DeniedByValidator | ImpossiblePath | InvalidPath | MethodNotAllowed | NotFound
        | NotStored | PrivateChecksum | Unauthorized | Unsupported | UpstreamRefused
        | UpstreamRejected => false,
    }
}
