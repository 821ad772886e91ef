//! The transparency log: hashes, tree heads, records and proofs. Follows golang/mod `sumdb/tlog`
//! and RFC 6962.
//!
//! The log is a binary tree over its records. [`Node`] `(level, n)` is the complete subtree over
//! the records `n << level` up to `(n + 1) << level`; a tree of any size is a row of such subtrees
//! of falling height.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

/// Most records a tree may claim to have. All sums and shifts here stay within 64 bits up to it.
pub const MAX_TREE_SIZE: u64 = 1 << 62;
/// Longest text of a tree head in bytes.
pub const MAX_TREE_HEAD_BYTES: usize = 1_000_000;
/// Bytes of a hash.
pub const HASH_BYTES: usize = 32;

const TREE_PREFIX: &str = "go.sum database tree\n";

/// SHA-256 of a record, of a subtree or of the whole tree; prints as base64.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash(pub [u8; HASH_BYTES]);

impl Hash {
    /// Hash of the tree without records: that of no bytes at all.
    pub fn of_empty_tree() -> Self {
        Self(Sha256::digest([]).into())
    }

    /// Reads standard base64.
    ///
    /// # Errors
    /// [`TlogError::Malformed`] when it is not base64 of 32 bytes.
    pub fn parse(text: &str) -> Result<Self, TlogError> {
        let bytes = STANDARD.decode(text).map_err(|_| TlogError::Malformed("hash"))?;
        bytes.try_into().map(Self).map_err(|_| TlogError::Malformed("hash"))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is wrong with a text of the log, or a proof that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlogError {
    /// A text that does not follow the format.
    #[error("malformed {0} of the checksum database")]
    Malformed(&'static str),
    /// A record or a size that is not within the tree.
    #[error("{what} {number} is not within the checksum database's tree of {size} records")]
    NotInTree {
        /// "record" or "tree size".
        what: &'static str,
        /// Its number.
        number: u64,
        /// Number of records of the tree.
        size: u64,
    },
    /// Hashes that do not lead to the tree's hash.
    #[error("proof of the checksum database does not hold")]
    InvalidProof,
    /// A tile that does not have one hash for each of its places.
    #[error("tile {path} of the checksum database has {bytes} bytes instead of {wanted}")]
    TileSize {
        /// Path of the tile.
        path: String,
        /// What there was.
        bytes: usize,
        /// What there should be.
        wanted: usize,
    },
}

/// Hash of a record's text.
pub fn record_hash(text: &[u8]) -> Hash {
    Hash(Sha256::new().chain_update([0]).chain_update(text).finalize().into())
}

/// Hash of an inner node.
pub fn node_hash(left: Hash, right: Hash) -> Hash {
    Hash(
        Sha256::new()
            .chain_update([1])
            .chain_update(left.0)
            .chain_update(right.0)
            .finalize()
            .into(),
    )
}

/// What a database signs: how many records it has and the hash over all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeHead {
    /// Number of records.
    pub size: u64,
    /// Hash of the tree.
    pub hash: Hash,
}

impl TreeHead {
    /// Reads the text of a tree head. Lines after the third are ignored: later versions may have
    /// more.
    ///
    /// # Errors
    /// [`TlogError::Malformed`], also for a size over [`MAX_TREE_SIZE`].
    pub fn parse(text: &str) -> Result<Self, TlogError> {
        let malformed = TlogError::Malformed("tree head");
        let lines = text.strip_prefix(TREE_PREFIX).filter(|_| text.len() <= MAX_TREE_HEAD_BYTES);
        let mut lines = lines.ok_or(malformed.clone())?.splitn(3, '\n');
        let (Some(size), Some(hash), Some(_)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(malformed);
        };
        let size = parse_number(size).filter(|&size| size <= MAX_TREE_SIZE).ok_or(malformed)?;
        Ok(Self { size, hash: Hash::parse(hash)? })
    }

    /// The text to sign, three lines.
    pub fn format(&self) -> String {
        format!("{TREE_PREFIX}{}\n{}\n", self.size, self.hash)
    }
}

/// A decimal number in its only spelling.
pub(super) fn parse_number(text: &str) -> Option<u64> {
    let is_canonical = text == "0" || !text.starts_with(['0', '+']);
    text.parse().ok().filter(|_| is_canonical)
}

/// Splits a lookup answer: the number of the record, its text and what follows the blank line.
///
/// # Errors
/// [`TlogError::Malformed`] when it is not `<number>\n<lines>\n\n…` in UTF-8 without control
/// characters.
pub fn parse_record(answer: &[u8]) -> Result<(u64, &str, &[u8]), TlogError> {
    let malformed = || TlogError::Malformed("record");
    let newline = answer.iter().position(|&byte| byte == b'\n').ok_or_else(malformed)?;
    let (id, rest) = answer.split_at(newline);
    let id = str::from_utf8(id).ok().and_then(parse_number).ok_or_else(malformed)?;
    let rest = rest.get(1..).unwrap_or_default();
    let blank = rest.windows(2).position(|pair| pair == b"\n\n").ok_or_else(malformed)?;
    let (text, rest) = rest.split_at(blank + 1);
    let text =
        str::from_utf8(text).ok().filter(|text| is_record_text(text)).ok_or_else(malformed)?;
    Ok((id, text, rest.get(1..).unwrap_or_default()))
}

/// The start of a lookup answer: number, text, blank line.
///
/// # Errors
/// [`TlogError::Malformed`] when the text does not end in a newline, has blank lines or control
/// characters.
pub fn format_record(id: u64, text: &str) -> Result<String, TlogError> {
    if !is_record_text(text) {
        return Err(TlogError::Malformed("record"));
    }
    Ok(format!("{id}\n{text}\n"))
}

fn is_record_text(text: &str) -> bool {
    let has_control = text.bytes().any(|byte| byte < b' ' && byte != b'\n');
    text.ends_with('\n') && !text.contains("\n\n") && !has_control
}

/// A complete subtree of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// Height: 0 is a record.
    pub level: u32,
    /// Number among the subtrees of its height.
    pub n: u64,
}

impl Node {
    /// The node of record number `n`.
    pub fn record(n: u64) -> Self {
        Self { level: 0, n }
    }

    /// Where the hash is in a dense list of all hashes in order of their making: that of record
    /// `n`, then those of the subtrees it completes. `None` when the node is over no tree of at
    /// most [`MAX_TREE_SIZE`] records.
    pub fn stored_index(self) -> Option<u64> {
        let (level, n) = (self.level, self.n);
        let end = n.checked_add(1)?.checked_mul(1_u64.checked_shl(level)?)?;
        if level > 62 || end > MAX_TREE_SIZE {
            return None;
        }
        // The last record under the node completes it; before it came all records and what they
        // completed.
        let last = end - 1;
        let mut index = u64::from(level);
        let mut rest = last;
        while rest > 0 {
            index += rest;
            rest >>= 1;
        }
        Some(index)
    }
}

/// The row of complete subtrees over the records from `low` up to `high`, from left to right.
///
/// `low` must be a multiple of the first subtree's size, as it is for 0 and for each right half of
/// a split.
pub(super) fn subtrees(mut low: u64, high: u64) -> Vec<Node> {
    let mut nodes = Vec::new();
    while low < high {
        let level = (high - low).ilog2();
        nodes.push(Node { level, n: low >> level });
        low += 1 << level;
    }
    nodes
}

/// Hash of a row of subtrees as [`subtrees`] lists them; `None` for an empty row.
pub(super) fn fold_subtrees(hashes: &[Hash]) -> Option<Hash> {
    hashes.iter().copied().rev().reduce(|right, left| node_hash(left, right))
}
