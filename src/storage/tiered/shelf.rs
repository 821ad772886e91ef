//! Which copies stay: a pure machine, without a clock and without a disk.
//!
//! S3-FIFO. A new copy is *young*. The young take about a tenth of the room; whichever of them is read
//! again before its turn comes is *settled*, the others go, and their keys are remembered for a while: one
//! that comes back is settled at once. The settled go round: each reading, up to three, spares a copy once.
//! So a crawler that reads everything once drives out the young alone, and a hit costs one look-up.

use std::collections::{HashMap, HashSet, VecDeque};

/// What a copy is found by: the beginning of a hash over kind, module path and version.
pub(super) type Key = [u8; 20];

/// A file takes whole blocks of the disk.
const BLOCK_BYTES: u64 = 4096;
/// No copy takes more than the limit divided by this.
pub(super) const LARGEST_SHARE: u64 = 2;
/// The young take the limit divided by this, once there is no room.
const YOUNG_SHARE: u64 = 10;
/// Readings that are counted.
const MAX_USES: u8 = 3;
/// Keys that are remembered of copies that went young.
const MAX_GONE: usize = 65_536;
/// Stale places in a queue that are tolerated before it is tidied.
const MAX_STALE: usize = 1_024;

/// A copy and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Copied {
    pub(super) key: Key,
    pub(super) length: u64,
}

/// What an attempt to make room came to. The victims go in any case.
#[derive(Debug, Default)]
pub(super) struct Room {
    pub(super) victims: Vec<Copied>,
    pub(super) is_granted: bool,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    length: u64,
    /// Tells this copy from an earlier one of the same key that still stands in a queue.
    turn: u32,
    uses: u8,
    is_settled: bool,
}

/// The bookkeeping of a directory of copies.
#[derive(Debug)]
pub(super) struct Shelf {
    bytes_max: u64,
    files_max: usize,
    /// Of copies, of those on their way in, and of files that would not go.
    bytes: u64,
    young_bytes: u64,
    arriving: usize,
    entries: HashMap<Key, Entry>,
    young: VecDeque<(Key, u32)>,
    settled: VecDeque<(Key, u32)>,
    gone: HashSet<Key>,
    gone_order: VecDeque<Key>,
    turn: u32,
}

/// What a file of this length takes on the disk.
pub(super) fn cost(length: u64) -> u64 {
    length.max(1).next_multiple_of(BLOCK_BYTES)
}

impl Shelf {
    /// Copies of at most `bytes_max` bytes and `files_max` files together, those on their way in included.
    pub(super) fn new(bytes_max: u64, files_max: usize) -> Self {
        Self {
            bytes_max,
            files_max,
            bytes: 0,
            young_bytes: 0,
            arriving: 0,
            entries: HashMap::new(),
            young: VecDeque::new(),
            settled: VecDeque::new(),
            gone: HashSet::new(),
            gone_order: VecDeque::new(),
            turn: 0,
        }
    }

    /// Bytes taken, those of copies on their way in included.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes that may be taken.
    pub(super) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Copies.
    pub(super) fn files(&self) -> usize {
        self.entries.len()
    }

    /// Whether a file of this length is ever kept.
    pub(super) fn takes(&self, length: u64) -> bool {
        cost(length) <= self.bytes_max / LARGEST_SHARE
    }

    pub(super) fn has(&self, key: &Key) -> bool {
        self.entries.contains_key(key)
    }

    /// Notes a reading; the copy's length, where there is one.
    pub(super) fn touch(&mut self, key: &Key) -> Option<u64> {
        let entry = self.entries.get_mut(key)?;
        entry.uses = (entry.uses + 1).min(MAX_USES);
        Some(entry.length)
    }

    /// Makes room for a copy and takes it. What goes for it is to be removed before it is written.
    pub(super) fn reserve(&mut self, length: u64) -> Room {
        let mut room = Room::default();
        let cost = cost(length);
        if !self.takes(length) {
            return room;
        }
        while self.bytes + cost > self.bytes_max
            || self.entries.len() + self.arriving >= self.files_max
        {
            match self.evict() {
                Some(victim) => room.victims.push(victim),
                // All the room is taken by copies on their way in.
                None => return room,
            }
        }
        self.bytes += cost;
        self.arriving += 1;
        room.is_granted = true;
        room
    }

    /// Gives reserved room back.
    pub(super) fn release(&mut self, length: u64) {
        self.bytes -= cost(length);
        self.arriving -= 1;
    }

    /// The copy for which room was reserved is there.
    pub(super) fn arrived(&mut self, key: Key, length: u64) {
        self.release(length);
        let is_settled = self.gone.remove(&key);
        self.insert(key, length, is_settled);
    }

    /// Takes up what an earlier process left: the oldest first.
    pub(super) fn adopt(&mut self, key: Key, length: u64) {
        self.insert(key, length, true);
    }

    /// What has to go so that what was adopted keeps the limit.
    pub(super) fn trim(&mut self) -> Vec<Copied> {
        let mut victims = Vec::new();
        while self.bytes > self.bytes_max || self.entries.len() > self.files_max {
            match self.evict() {
                Some(victim) => victims.push(victim),
                None => break,
            }
        }
        victims
    }

    /// Forgets a copy; whether there was one.
    pub(super) fn remove(&mut self, key: &Key) -> bool {
        let Some(entry) = self.entries.remove(key) else { return false };
        self.let_go(&entry);
        self.tidy();
        true
    }

    /// A file that would not go takes its room until the next start.
    pub(super) fn stuck(&mut self, length: u64) {
        self.bytes += cost(length);
    }

    fn insert(&mut self, key: Key, length: u64, is_settled: bool) {
        self.remove(&key);
        self.turn = self.turn.wrapping_add(1);
        let turn = self.turn;
        self.entries.insert(key, Entry { length, turn, uses: 0, is_settled });
        self.bytes += cost(length);
        if is_settled {
            self.settled.push_back((key, turn));
        } else {
            self.young_bytes += cost(length);
            self.young.push_back((key, turn));
        }
    }

    fn let_go(&mut self, entry: &Entry) {
        self.bytes -= cost(entry.length);
        if !entry.is_settled {
            self.young_bytes -= cost(entry.length);
        }
    }

    fn evict(&mut self) -> Option<Copied> {
        loop {
            let many_young = self.young_bytes > self.bytes_max / YOUNG_SHARE;
            let turn = match !self.young.is_empty() && (many_young || self.settled.is_empty()) {
                true => self.evict_young(),
                false => self.evict_settled(),
            };
            match turn {
                Turn::Goes(victim) => return Some(victim),
                Turn::Stays => {}
                Turn::Nobody => return None,
            }
        }
    }

    fn evict_young(&mut self) -> Turn {
        let Some((key, turn)) = self.young.pop_front() else { return Turn::Nobody };
        let Some(entry) = self.entries.get_mut(&key).filter(|entry| entry.turn == turn) else {
            return Turn::Stays;
        };
        if entry.uses > 0 {
            entry.uses = 0;
            entry.is_settled = true;
            self.young_bytes -= cost(entry.length);
            self.settled.push_back((key, turn));
            return Turn::Stays;
        }
        self.remember(key);
        self.take_out(key)
    }

    fn evict_settled(&mut self) -> Turn {
        let Some((key, turn)) = self.settled.pop_front() else { return Turn::Nobody };
        let Some(entry) = self.entries.get_mut(&key).filter(|entry| entry.turn == turn) else {
            return Turn::Stays;
        };
        if entry.uses > 0 {
            entry.uses -= 1;
            self.settled.push_back((key, turn));
            return Turn::Stays;
        }
        self.take_out(key)
    }

    fn take_out(&mut self, key: Key) -> Turn {
        let Some(entry) = self.entries.remove(&key) else { return Turn::Stays };
        self.let_go(&entry);
        Turn::Goes(Copied { key, length: entry.length })
    }

    fn remember(&mut self, key: Key) {
        if !self.gone.insert(key) {
            return;
        }
        self.gone_order.push_back(key);
        while self.gone_order.len() > MAX_GONE {
            if let Some(oldest) = self.gone_order.pop_front() {
                self.gone.remove(&oldest);
            }
        }
    }

    /// A copy that is removed out of turn leaves its place in a queue behind.
    fn tidy(&mut self) {
        let places = self.young.len() + self.settled.len();
        if places > self.entries.len() * 2 + MAX_STALE {
            let entries = &self.entries;
            let stands = |place: &(Key, u32)| {
                entries.get(&place.0).is_some_and(|entry| entry.turn == place.1)
            };
            self.young.retain(stands);
            self.settled.retain(stands);
        }
    }
}

/// What the first of a queue came to.
enum Turn {
    Goes(Copied),
    /// It was spared, or is no more.
    Stays,
    /// Both queues are empty.
    Nobody,
}
