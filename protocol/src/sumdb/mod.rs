//! The checksum database: an append-only log of what every module's hashes are.
//!
//! [`note`] checks who signed, [`tlog`], [`proof`] and [`tile`] check what is in the log, and
//! [`client`] puts them together: it says what to fetch, is given the answers and ends with a
//! record that is proven. [`tree`] is the other side.

pub mod client;
mod database;
mod error;
pub mod note;
pub mod proof;
pub mod tile;
pub mod tlog;
pub mod tree;

pub use client::{Database, Lookup, Missing, Record, Step, SumError};
pub use note::{Note, NoteError, Signer, Verifier};
pub use tile::Tile;
pub use tlog::{TlogError, TreeHead};
