//! Looks a module up in a checksum database and proves the answer. No I/O: the caller fetches what
//! a step asks for. Follows golang/mod `sumdb.Client`.
//!
//! What is proven before [`Step::Done`]:
//! * the tree head in the answer is signed with the database's key;
//! * of that head and the one known before, the older is the beginning of the newer;
//! * the record is in the newer tree at the number the answer gives.
//!
//! The proofs are computed from tiles, and every tile is itself proven against the newer head, so
//! neither the database nor a proxy between can show one client another log than everybody else.

use std::collections::BTreeMap;

use bytes::Bytes;

pub use super::database::Database;
pub use super::error::SumError;

use super::error::{bad_proof, bad_record, bad_signature};
use super::note::{Note, Verifier};
use super::tile::{ReadPlan, Tile};
use super::tlog::{Hash, Node, TreeHead, fold_subtrees, parse_record, record_hash, subtrees};
use crate::dirhash::Hash1;
use crate::path::ModulePath;
use crate::version::Version;

/// Longest answer to a lookup in bytes.
pub const MAX_LOOKUP_BYTES: usize = 1 << 20;

/// The database answered 404 or 410.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing;

/// What a lookup needs next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Paths to GET below the root of the database, each beginning with `/`; in any order or all at
    /// once.
    Fetch(Vec<String>),
    /// The proven record.
    Done(Record),
}

/// What the database has about one version of a module, proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Hash of the zip.
    pub zip: Option<Hash1>,
    /// Hash of the `go.mod`.
    pub go_mod: Option<Hash1>,
    /// The newest head that is proven: what the caller keeps for its next lookup.
    pub head: TreeHead,
    /// Number of the record in the log.
    pub id: u64,
    /// The answer to the lookup as it came, with the signed head.
    pub raw_lookup: Bytes,
    /// Paths whose answers are proven in full, the lookup's among them: these may be kept. The
    /// answer for a full tile that stood in for a partial one is not among them, since only its
    /// beginning is proven.
    pub proven: Vec<String>,
}

/// One lookup. Take a [`step`](Self::step), [`provide`](Self::provide) what it asks for, repeat
/// until done.
///
/// It asks at most for the lookup, then for a few tiles, then for full tiles instead of missing
/// partial ones.
#[derive(Debug)]
pub struct Lookup {
    verifier: Verifier,
    known: Option<TreeHead>,
    module: ModulePath,
    version: Version,
    lookup_path: String,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The lookup has not been answered.
    Asking,
    /// The record is read; tiles prove it.
    Proving(Box<Proving>),
    Failed(SumError),
}

/// A record that is not proven yet.
#[derive(Debug)]
struct Proving {
    record: Record,
    text_hash: Hash,
    /// The smaller of the two heads, if both are known.
    older: Option<TreeHead>,
    plan: ReadPlan,
    tiles: BTreeMap<String, Wanted>,
}

/// A tile of the plan and how far it has come.
#[derive(Debug)]
struct Wanted {
    tile: Tile,
    /// Whether the full tile is asked for, since the partial one is gone.
    as_full: bool,
    data: Option<Bytes>,
}

impl Wanted {
    fn asked(&self) -> Tile {
        if self.as_full { self.tile.full() } else { self.tile }
    }
}

impl Lookup {
    /// Begins a lookup. `known` is the newest head proven before, from the caller's store.
    pub fn new(
        database: &Database,
        known: Option<TreeHead>,
        module: &ModulePath,
        version: &Version,
    ) -> Self {
        Self {
            verifier: database.verifier.clone(),
            known,
            lookup_path: format!("/lookup/{}@{}", module.escaped(), version.escaped()),
            module: module.clone(),
            version: version.clone(),
            state: State::Asking,
        }
    }

    /// What to do next: fetch what has not been provided yet, or nothing more.
    ///
    /// # Errors
    /// [`SumError`]; the lookup is then over, and every later step says the same.
    pub fn step(&mut self) -> Result<Step, SumError> {
        let result = match &self.state {
            State::Asking => return Ok(Step::Fetch(vec![self.lookup_path.clone()])),
            State::Failed(error) => return Err(error.clone()),
            State::Proving(proving) => {
                let missing = proving.missing();
                if !missing.is_empty() {
                    return Ok(Step::Fetch(missing));
                }
                proving.check()
            }
        };
        if let Err(error) = &result {
            self.state = State::Failed(error.clone());
        }
        result.map(Step::Done)
    }

    /// Gives the answer for a path that the last step asked for: the body of a 200, or that there
    /// is none.
    ///
    /// What is wrong with an answer is said by the next step.
    pub fn provide(&mut self, path: &str, answer: Result<Bytes, Missing>) {
        let result = match &mut self.state {
            State::Asking if path == self.lookup_path => self.answered(answer),
            State::Proving(proving) => proving.answered(path, answer),
            State::Asking => Err(SumError::NotAsked { path: path.to_owned() }),
            State::Failed(_) => return,
        };
        if let Err(error) = result {
            self.state = State::Failed(error);
        }
    }

    /// Reads the answer to the lookup and plans its proof.
    fn answered(&mut self, answer: Result<Bytes, Missing>) -> Result<(), SumError> {
        let not_found = SumError::NotFound { path: self.lookup_path.clone() };
        let raw_lookup = answer.map_err(|Missing| not_found)?;
        if raw_lookup.len() > MAX_LOOKUP_BYTES {
            let path = self.lookup_path.clone();
            return Err(SumError::TooLarge {
                path,
                bytes: raw_lookup.len(),
                limit: MAX_LOOKUP_BYTES,
            });
        }
        let (id, text, signed) = parse_record(&raw_lookup).map_err(bad_record)?;
        let note =
            Note::open(signed, std::slice::from_ref(&self.verifier)).map_err(bad_signature)?;
        let served = TreeHead::parse(&note.text).map_err(bad_signature)?;
        let (older, newer) = self.order(served)?;
        let zip = self.hash_in(text, "")?;
        let go_mod = self.hash_in(text, "/go.mod")?;
        if zip.is_none() && go_mod.is_none() {
            return Err(bad_record(format!(
                "it says nothing about {} {}",
                self.module, self.version
            )));
        }
        let mut wanted = vec![Node::record(id)];
        wanted.extend(older.iter().flat_map(|older| subtrees(0, older.size)));
        let plan = ReadPlan::new(newer, &wanted).map_err(bad_proof)?;
        let tiles = plan
            .tiles()
            .iter()
            .map(|&tile| (tile.to_string(), Wanted { tile, as_full: false, data: None }));
        let tiles = tiles.collect();
        let text_hash = record_hash(text.as_bytes());
        let record = Record {
            zip,
            go_mod,
            head: newer,
            id,
            raw_lookup,
            proven: vec![self.lookup_path.clone()],
        };
        self.state = State::Proving(Box::new(Proving { record, text_hash, older, plan, tiles }));
        Ok(())
    }

    /// The smaller and the larger of the served and the known head. Equal sizes must be equal
    /// trees.
    fn order(&self, served: TreeHead) -> Result<(Option<TreeHead>, TreeHead), SumError> {
        match self.known {
            None => Ok((None, served)),
            Some(known) if known == served => Ok((None, served)),
            Some(known) if known.size == served.size => {
                Err(SumError::Fork { older: known, newer: served })
            }
            Some(known) if known.size < served.size => Ok((Some(known), served)),
            Some(known) => Ok((Some(served), known)),
        }
    }

    /// The hash on the record's line for this version with `suffix`; lines with other kinds of hash
    /// are left out.
    fn hash_in(&self, text: &str, suffix: &str) -> Result<Option<Hash1>, SumError> {
        let prefix = format!("{} {}{suffix} ", self.module.as_str(), self.version.as_str());
        let mut found = None;
        for hash in text.lines().filter_map(|line| line.strip_prefix(&prefix)) {
            if !hash.starts_with("h1:") {
                continue;
            }
            let hash = Hash1::parse(hash).map_err(bad_record)?;
            if found.replace(hash).is_some_and(|before| before != hash) {
                return Err(bad_record("it has two hashes for one file"));
            }
        }
        Ok(found)
    }
}

impl Proving {
    /// Paths of the tiles that have not been provided.
    fn missing(&self) -> Vec<String> {
        let missing = self.tiles.values().filter(|wanted| wanted.data.is_none());
        missing.map(|wanted| format!("/{}", wanted.asked())).collect()
    }

    /// Takes the answer for a tile.
    fn answered(&mut self, path: &str, answer: Result<Bytes, Missing>) -> Result<(), SumError> {
        let not_asked = || SumError::NotAsked { path: path.to_owned() };
        let asked =
            path.strip_prefix('/').and_then(|path| Tile::parse(path).ok()).ok_or_else(not_asked)?;
        let wanted =
            self.tiles.values_mut().find(|wanted| wanted.data.is_none() && wanted.asked() == asked);
        let wanted = wanted.ok_or_else(not_asked)?;
        match answer {
            Ok(data) if data.len() != asked.len_bytes() => Err(SumError::BadProof {
                why: format!("{path} has {} bytes instead of {}", data.len(), asked.len_bytes()),
            }),
            Ok(data) => {
                wanted.data = Some(data.slice(..wanted.tile.len_bytes()));
                Ok(())
            }
            Err(Missing) if asked.is_full() => Err(SumError::MissingTile { path: path.to_owned() }),
            // Once a tile is full, a database may drop its partial versions.
            Err(Missing) => {
                wanted.as_full = true;
                Ok(())
            }
        }
    }

    /// All tiles are here: checks them, the older head and the record.
    fn check(&self) -> Result<Record, SumError> {
        let tiles = self.plan.tiles().iter().map(|tile| self.tiles.get(&tile.to_string()));
        let data: Vec<Bytes> = tiles
            .map(|wanted| wanted.and_then(|wanted| wanted.data.clone()).unwrap_or_default())
            .collect();
        let hashes = self.plan.check(&data).map_err(bad_proof)?;
        let (record, older_row) =
            hashes.split_first().ok_or_else(|| bad_proof("no hash of the record"))?;
        if let Some(older) = self.older {
            let there = fold_subtrees(older_row).unwrap_or_else(Hash::of_empty_tree);
            if there != older.hash {
                return Err(SumError::Fork { older, newer: self.record.head });
            }
        }
        if *record != self.text_hash {
            return Err(bad_proof(format!("record {} is another", self.record.id)));
        }
        let mut proven = self.record.proven.clone();
        let whole = self.tiles.values().filter(|wanted| !wanted.as_full);
        proven.extend(whole.map(|wanted| format!("/{}", wanted.tile)));
        Ok(Record { proven, ..self.record.clone() })
    }
}
