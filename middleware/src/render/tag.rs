//! Entity tags (RFC 9110 §8.8.3).

use dipylon_protocol::route::FileKind;

/// Version, kind and length; a tag of one version is one of no other.
pub(super) fn entity_tag(version: &str, kind: FileKind, length: u64) -> String {
    let (digits, first) = hex(length);
    let mut tag = String::with_capacity(version.len() + "\".info-\"".len() + digits.len());
    for piece in ["\"", version, ".", kind.as_str(), "-"] {
        tag.push_str(piece);
    }
    // Digits are text.
    tag.push_str(std::str::from_utf8(&digits[first..]).unwrap_or_default());
    tag.push('"');
    tag
}

/// The digits of a number, and the first that is no leading zero.
fn hex(number: u64) -> ([u8; 16], usize) {
    let digit = |at: usize| b"0123456789abcdef"[(number >> (60 - 4 * at)) as usize & 15];
    (std::array::from_fn(digit), (number.leading_zeros() as usize / 4).min(15))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_written_in_hexadecimal_without_leading_zeros() {
        for length in [0, 1, 0xf, 0x10, 0x35, 0xabc_def0, u64::MAX] {
            let want = format!("\"v1.0.0.zip-{length:x}\"");
            assert_eq!(entity_tag("v1.0.0", FileKind::Zip, length), want);
        }
    }
}
