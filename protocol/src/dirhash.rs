//! The `h1:` hash of a module's content, as `go.sum` and the checksum database write it.
//!
//! It hashes names and content and nothing else: a zip compressed anew, or with other times and
//! modes, keeps its hash. The summary that is hashed has one line for each entry, sorted by name as
//! bytes: `<lower-case hex SHA-256 of the content>  <name>\n`. Follows golang/mod
//! `sumdb/dirhash.Hash1`.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

/// What a hash of this kind begins with.
const PREFIX: &str = "h1:";

/// Base64 characters of a SHA-256.
const BASE64_CHARS: usize = 44;

/// An `h1:` hash: prints and parses as the text `h1:` and 44 characters of standard base64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash1([u8; 32]);

/// The text is no `h1:` hash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a module hash: want `h1:` and 44 characters of base64, got {len} bytes")]
pub struct Hash1Error {
    /// Length of the refused text in bytes.
    pub len: usize,
}

impl Hash1 {
    /// Reads `h1:<base64>`; only the canonical spelling is taken, so equal hashes are equal texts.
    ///
    /// # Errors
    /// [`Hash1Error`] for another prefix, another length or characters outside standard base64.
    pub fn parse(text: &str) -> Result<Self, Hash1Error> {
        let refused = || Hash1Error { len: text.len() };
        let encoded = text.strip_prefix(PREFIX).ok_or_else(refused)?;
        if encoded.len() != BASE64_CHARS {
            return Err(refused());
        }
        let bytes = STANDARD.decode(encoded).map_err(|_| refused())?;
        bytes.try_into().map(Self).map_err(|_| refused())
    }

    /// The 32 bytes of the hash.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Hash1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Hash1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash1 {
    type Err = Hash1Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// The hash of a `.mod` file: that of a tree holding the one name `go.mod`.
///
/// `bytes` are the file exactly as served. The result is what `go.sum` has on the line `<path>
/// <version>/go.mod`.
pub fn hash_go_mod(bytes: &[u8]) -> Hash1 {
    let mut builder = Hash1Builder::default();
    builder.add(String::from("go.mod"), Sha256::digest(bytes).into());
    builder.finish()
}

/// Collects the entries of a tree in any order and hashes them sorted.
///
/// Holds one name and one SHA-256 for each entry: the caller bounds how many it adds.
#[derive(Clone, Debug, Default)]
pub struct Hash1Builder {
    entries: Vec<(String, [u8; 32])>,
}

impl Hash1Builder {
    /// Adds one entry: its full name (for a zip: `<path>@<version>/<file>`) and the SHA-256 of its
    /// content.
    ///
    /// The name must have no newline, which would let one entry pass for two; a name that
    /// [`check_file_path`](crate::path::check_file_path) accepts has none.
    pub fn add(&mut self, name: String, sha256: [u8; 32]) {
        self.entries.push((name, sha256));
    }

    /// Sorts the entries by name and hashes the summary.
    pub fn finish(mut self) -> Hash1 {
        self.entries.sort_unstable();
        let mut summary = Sha256::new();
        for (name, sha256) in &self.entries {
            summary.update(hex(sha256));
            summary.update(b"  ");
            summary.update(name.as_bytes());
            summary.update(b"\n");
        }
        Hash1(summary.finalize().into())
    }
}

/// Lower-case hexadecimal digits of a SHA-256.
fn hex(bytes: &[u8; 32]) -> [u8; 64] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 64];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_a_go_mod_is_the_one_go_sum_has() {
        let go_mod = b"module rsc.io/quote\n\nrequire rsc.io/sampler v1.3.0\n";
        assert_eq!(
            hash_go_mod(go_mod).to_string(),
            "h1:Q15uSTpOVzCmer7yFUWKviBR7qLGLuYQ5zPmjACcaxQ="
        );
    }

    #[test]
    fn no_entries_hash_as_the_empty_summary() {
        assert_eq!(
            Hash1Builder::default().finish().to_string(),
            "h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
        );
    }

    #[test]
    fn entries_are_sorted_whatever_the_order_of_adding() {
        let (mut one, mut two) = (Hash1Builder::default(), Hash1Builder::default());
        for name in ["m@v1.0.0/a/b", "m@v1.0.0/a", "m@v1.0.0/a.go"] {
            one.add(name.to_owned(), [1; 32]);
        }
        for name in ["m@v1.0.0/a.go", "m@v1.0.0/a", "m@v1.0.0/a/b"] {
            two.add(name.to_owned(), [1; 32]);
        }
        assert_eq!(one.finish(), two.finish());
    }

    #[test]
    fn a_hash_prints_as_it_parsed() {
        let text = "h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        assert_eq!(Hash1::parse(text).map(|hash| hash.to_string()).as_deref(), Ok(text));
    }

    #[test]
    fn other_spellings_of_a_hash_are_refused() {
        for text in [
            "",
            "h1:",
            "h2:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
            "h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU",
            "h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV=",
            "h1:47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=",
            "h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n",
        ] {
            assert_eq!(Hash1::parse(text), Err(Hash1Error { len: text.len() }), "{text:?}");
        }
    }
}
