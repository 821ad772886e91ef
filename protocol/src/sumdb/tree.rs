//! An in-memory tree: for tests and for an own database.
//!
//! It holds every record and every hash, makes tiles and proofs of any size it ever had, and
//! answers lookups. It is the other side of what [`client`](super::client) checks.

use super::note::{Signer, sign};
use super::proof::{record_proof_rows, tree_proof_rows};
use super::tile::Tile;
use super::tlog::subtrees;
use super::tlog::{
    Hash, Node, TlogError, TreeHead, fold_subtrees, format_record, node_hash, record_hash,
};

/// Most records held in memory.
pub const MAX_RECORDS: usize = 1 << 20;

/// A log that grows record by record.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    records: Vec<String>,
    /// All hashes at their [`Node::stored_index`].
    hashes: Vec<Hash>,
}

impl Tree {
    /// A tree without records.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of records.
    pub fn size(&self) -> u64 {
        self.records.len() as u64
    }

    /// Appends a record, whose text is lines of `go.sum`, and returns its number.
    ///
    /// # Errors
    /// [`TlogError::Malformed`] for a text that no lookup could carry, [`TlogError::NotInTree`] at
    /// [`MAX_RECORDS`].
    pub fn append(&mut self, text: &str) -> Result<u64, TlogError> {
        let id = self.size();
        format_record(id, text)?;
        if self.records.len() >= MAX_RECORDS {
            return Err(TlogError::NotInTree {
                what: "record",
                number: id,
                size: MAX_RECORDS as u64,
            });
        }
        let mut hash = record_hash(text.as_bytes());
        self.hashes.push(hash);
        // Each trailing 1 bit of the number is a subtree that this record completes.
        for level in 0..id.trailing_ones() {
            let left = Node { level, n: (id >> level) - 1 };
            let left = self.hash(left).ok_or(TlogError::InvalidProof)?;
            hash = node_hash(left, hash);
            self.hashes.push(hash);
        }
        self.records.push(text.to_owned());
        Ok(id)
    }

    /// Text of a record.
    pub fn record(&self, id: u64) -> Option<&str> {
        self.records.get(usize::try_from(id).ok()?).map(String::as_str)
    }

    /// Hash of a complete subtree.
    pub fn hash(&self, node: Node) -> Option<Hash> {
        self.hashes.get(usize::try_from(node.stored_index()?).ok()?).copied()
    }

    /// Head of the tree as it is.
    pub fn head(&self) -> TreeHead {
        TreeHead {
            size: self.size(),
            hash: self.hash_of(self.size()).unwrap_or_else(Hash::of_empty_tree),
        }
    }

    /// Head of the tree when it had `size` records; `None` if it has not come so far.
    pub fn head_at(&self, size: u64) -> Option<TreeHead> {
        match size {
            0 => Some(TreeHead { size, hash: Hash::of_empty_tree() }),
            _ => self.hash_of(size).map(|hash| TreeHead { size, hash }),
        }
    }

    /// Hash of the first `size` records, `None` for no records and for more than there are.
    fn hash_of(&self, size: u64) -> Option<Hash> {
        if size > self.size() { None } else { self.fold(&subtrees(0, size)) }
    }

    fn fold(&self, row: &[Node]) -> Option<Hash> {
        let hashes: Option<Vec<Hash>> = row.iter().map(|&node| self.hash(node)).collect();
        fold_subtrees(&hashes?)
    }

    /// Content of a tile: its hashes, or for a `data` tile the texts of its records, each with a
    /// blank line. `None` if the tree does not yet have all of it.
    pub fn tile(&self, tile: &Tile) -> Option<Vec<u8>> {
        let first = tile.n.checked_mul(super::tile::FULL_WIDTH)?;
        let end = first.checked_add(tile.width)?;
        let Some(level) = tile.level else {
            let texts =
                self.records.get(usize::try_from(first).ok()?..usize::try_from(end).ok()?)?;
            return Some(
                texts.iter().flat_map(|text| [text.as_bytes(), b"\n"]).flatten().copied().collect(),
            );
        };
        let level = level.checked_mul(super::tile::TILE_HEIGHT)?;
        let hashes: Option<Vec<[u8; 32]>> =
            (first..end).map(|n| self.hash(Node { level, n }).map(|hash| hash.0)).collect();
        Some(hashes?.concat())
    }

    /// Proof that record `n` is in the tree of the first `size` records, for
    /// [`check_record`](super::proof::check_record).
    pub fn prove_record(&self, size: u64, n: u64) -> Option<Vec<Hash>> {
        if n >= size || size > self.size() {
            return None;
        }
        record_proof_rows(size, n).iter().map(|row| self.fold(row)).collect()
    }

    /// Proof that the first `old` records begin the first `size`, for
    /// [`check_tree`](super::proof::check_tree).
    pub fn prove_tree(&self, size: u64, old: u64) -> Option<Vec<Hash>> {
        if old < 1 || old > size || size > self.size() {
            return None;
        }
        tree_proof_rows(size, old).iter().map(|row| self.fold(row)).collect()
    }

    /// The signed head of the tree as it is, as a database serves it at `/latest`.
    pub fn signed_head(&self, signer: &Signer) -> String {
        sign(&self.head().format(), std::slice::from_ref(signer))
    }

    /// The answer to a lookup that found record `id`; `None` if there is no such record.
    pub fn lookup_answer(&self, id: u64, signer: &Signer) -> Option<String> {
        let record = format_record(id, self.record(id)?).ok()?;
        Some(record + &self.signed_head(signer))
    }
}
