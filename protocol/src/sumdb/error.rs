//! Why a lookup in the checksum database failed.

use super::tlog::TreeHead;

/// A lookup that did not end with a proven record. Prints as one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SumError {
    /// The value of GOSUMDB is none.
    #[error(
        "bad GOSUMDB: {why}; want sum.golang.org or <name>+<hash>+<key>, then optionally a URL"
    )]
    BadDatabase {
        /// What is wrong.
        why: String,
    },
    /// The database does not know the module.
    #[error("checksum database has no {path}")]
    NotFound {
        /// What was asked.
        path: String,
    },
    /// The answer's tree head is not signed with the database's key.
    #[error("checksum database answered with a bad signature: {why}")]
    BadSignature {
        /// What is wrong.
        why: String,
    },
    /// The answer is no record about the module.
    #[error("checksum database answered with a bad record: {why}")]
    BadRecord {
        /// What is wrong.
        why: String,
    },
    /// Tiles or record are not those of the signed tree.
    #[error("checksum database answered what its signed tree does not have: {why}")]
    BadProof {
        /// What does not fit.
        why: String,
    },
    /// The database has signed two trees of which neither begins the other: it, or who signs for
    /// it, has lied.
    #[error(
        "SECURITY ERROR: checksum database has signed two different histories: tree of {} records \
         with hash {} and of {} records with hash {}; trust neither and report it",
        older.size, older.hash, newer.size, newer.hash
    )]
    Fork {
        /// The head of the smaller tree.
        older: TreeHead,
        /// The head of the larger tree.
        newer: TreeHead,
    },
    /// An answer is over its limit.
    #[error("checksum database answered {path} with {bytes} bytes, over the limit of {limit}")]
    TooLarge {
        /// What was asked.
        path: String,
        /// Bytes of the answer.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A tile that the signed tree has is not served, not even the full one.
    #[error("checksum database does not serve {path}")]
    MissingTile {
        /// What was asked.
        path: String,
    },
    /// The caller gave an answer to something that was not asked.
    #[error("an answer of the checksum database for {path} that was not asked for")]
    NotAsked {
        /// What was answered.
        path: String,
    },
}

impl SumError {
    /// A label for metrics, of a closed set.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::BadDatabase { .. } => "bad_database",
            Self::NotFound { .. } => "not_found",
            Self::BadSignature { .. } => "bad_signature",
            Self::BadRecord { .. } => "bad_record",
            Self::BadProof { .. } => "bad_proof",
            Self::Fork { .. } => "fork",
            Self::TooLarge { .. } => "too_large",
            Self::MissingTile { .. } => "missing_tile",
            Self::NotAsked { .. } => "not_asked",
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn bad_record(why: impl ToString) -> SumError {
    SumError::BadRecord { why: why.to_string() }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn bad_signature(why: impl ToString) -> SumError {
    SumError::BadSignature { why: why.to_string() }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn bad_proof(why: impl ToString) -> SumError {
    SumError::BadProof { why: why.to_string() }
}
