//! Proofs of RFC 6962: that a record is in a tree, that a tree is the beginning of another.

use super::tlog::{Hash, MAX_TREE_SIZE, Node, TlogError, TreeHead, node_hash, subtrees};

/// The largest power of two that is less than `n`, which is at least 2: where RFC 6962 splits a
/// tree.
fn split_size(n: u64) -> u64 {
    1 << (n - 1).ilog2()
}

/// Checks that `proof` shows record `n`, whose hash is `record`, to be in the tree (RFC 6962
/// §2.1.1).
///
/// # Errors
/// [`TlogError::NotInTree`] for an impossible question, [`TlogError::InvalidProof`] when it does
/// not hold.
pub fn check_record(
    proof: &[Hash],
    tree: &TreeHead,
    n: u64,
    record: Hash,
) -> Result<(), TlogError> {
    if n >= tree.size || tree.size > MAX_TREE_SIZE {
        return Err(TlogError::NotInTree { what: "record", number: n, size: tree.size });
    }
    let (mut low, mut high) = (0, tree.size);
    // The proof is written from the leaf upwards: walk down to learn which side each hash is on.
    let mut sides = Vec::new();
    while high - low > 1 {
        let middle = low + split_size(high - low);
        let is_left = n < middle;
        sides.push(is_left);
        (low, high) = if is_left { (low, middle) } else { (middle, high) };
    }
    if sides.len() != proof.len() {
        return Err(TlogError::InvalidProof);
    }
    let hash = sides.iter().rev().zip(proof).fold(record, |hash, (&is_left, &other)| {
        if is_left { node_hash(hash, other) } else { node_hash(other, hash) }
    });
    if hash == tree.hash { Ok(()) } else { Err(TlogError::InvalidProof) }
}

/// Checks that `proof` shows the tree `old` to be the beginning of the tree `new` (RFC 6962
/// §2.1.2).
///
/// # Errors
/// [`TlogError::NotInTree`] for an impossible question (an empty old tree is in every tree and
/// proves nothing), [`TlogError::InvalidProof`] when it does not hold.
pub fn check_tree(proof: &[Hash], new: &TreeHead, old: &TreeHead) -> Result<(), TlogError> {
    if old.size < 1 || old.size > new.size || new.size > MAX_TREE_SIZE {
        return Err(TlogError::NotInTree { what: "tree size", number: old.size, size: new.size });
    }
    let (mut low, mut high) = (0, new.size);
    let mut sides = Vec::new();
    while old.size != high {
        let middle = low + split_size(high - low);
        let is_left = old.size <= middle;
        sides.push(is_left);
        (low, high) = if is_left { (low, middle) } else { (middle, high) };
    }
    // The common ground: the old tree itself, or a subtree whose hash the proof gives first.
    let (start, rest) = match proof.split_first() {
        Some((&first, rest)) if low > 0 => (first, rest),
        _ if low == 0 => (old.hash, proof),
        _ => return Err(TlogError::InvalidProof),
    };
    if sides.len() != rest.len() {
        return Err(TlogError::InvalidProof);
    }
    let (old_hash, new_hash) =
        sides.iter().rev().zip(rest).fold((start, start), |(old, new), (&is_left, &other)| {
            if is_left {
                (old, node_hash(new, other))
            } else {
                (node_hash(other, old), node_hash(other, new))
            }
        });
    if old_hash == old.hash && new_hash == new.hash { Ok(()) } else { Err(TlogError::InvalidProof) }
}

/// The hashes of a proof that record `n` is in a tree of `size` records: each a row of subtrees to
/// fold.
pub(super) fn record_proof_rows(size: u64, n: u64) -> Vec<Vec<Node>> {
    let (mut low, mut high) = (0, size);
    let mut rows = Vec::new();
    while high - low > 1 {
        let middle = low + split_size(high - low);
        if n < middle {
            rows.push(subtrees(middle, high));
            high = middle;
        } else {
            rows.push(subtrees(low, middle));
            low = middle;
        }
    }
    rows.reverse();
    rows
}

/// The hashes of a proof that a tree of `old` records begins one of `size`: each a row of subtrees
/// to fold.
pub(super) fn tree_proof_rows(size: u64, old: u64) -> Vec<Vec<Node>> {
    let (mut low, mut high) = (0, size);
    let mut rows = Vec::new();
    while old != high {
        let middle = low + split_size(high - low);
        if old <= middle {
            rows.push(subtrees(middle, high));
            high = middle;
        } else {
            rows.push(subtrees(low, middle));
            low = middle;
        }
    }
    if low > 0 {
        rows.push(subtrees(low, high));
    }
    rows.reverse();
    rows
}
