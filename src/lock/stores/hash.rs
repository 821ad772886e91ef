//! Names out of texts that are too long to be names.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// SHA-256 in hexadecimal digits.
pub(super) fn hex(text: &str) -> String {
    let mut digits = String::with_capacity(64);
    for byte in Sha256::digest(text.as_bytes()) {
        // Writing into a string cannot fail.
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

/// A UUID that is always the same for a text.
#[cfg(feature = "azureblob")]
pub(super) fn uuid(text: &str) -> String {
    let digits = hex(text);
    let part = |from: usize, to: usize| &digits[from..to];
    // The digits that tell version and variant are those of a random one.
    format!("{}-{}-4{}-8{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_a_name() {
        let want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex("abc"), want);
    }

    #[cfg(feature = "azureblob")]
    #[test]
    fn a_text_has_one_uuid() {
        assert_eq!(uuid("abc"), "ba7816bf-8f01-4fea-8141-40de5dae2223");
        assert_ne!(uuid("abc"), uuid("abd"));
    }
}
