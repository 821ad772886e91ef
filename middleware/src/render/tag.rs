//! Entity tags (RFC 9110 §8.8.3).

use dipylon_protocol::route::FileKind;

use crate::telemetry::trace::Hex;

/// Version, kind and length; a tag of one version is one of no other.
pub(super) fn entity_tag(version: &str, kind: FileKind, length: u64) -> String {
    let digits = Hex::<16>::of(&length.to_be_bytes());
    let digits = match digits.as_str().trim_start_matches('0') {
        "" => "0",
        digits => digits,
    };
    let mut tag = String::with_capacity(version.len() + "\".info-\"".len() + digits.len());
    for piece in ["\"", version, ".", kind.as_str(), "-", digits, "\""] {
        tag.push_str(piece);
    }
    tag
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
