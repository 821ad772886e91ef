//! Percent coding of request paths: decoded once, and only to what may stand in a path.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Punctuation that stays raw in a path; `!` among it, for that is how an escaped path is written.
const RAW_PUNCTUATION: &str = "-._~!$&'()*+,;=:@/";

/// Decodes `%XX` once. Refused are malformed triplets, bytes that are not printable ASCII (so NUL
/// and line ends too), a backslash, and an encoded slash: none of them is in a valid module path,
/// version or file name, and each has fooled some server.
pub(crate) fn decode(raw: &str) -> Result<Cow<'_, str>, &'static str> {
    // Nearly every path is as it will be read.
    if raw.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'%' && byte != b'\\') {
        return Ok(Cow::Borrowed(raw));
    }
    let mut out = String::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        let encoded = byte == b'%';
        let byte = if encoded { triplet(&mut bytes)? } else { byte };
        match byte {
            b'\\' => return Err("it has a backslash"),
            b'/' if encoded => return Err("it has an encoded slash"),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => return Err("it has a byte that is not printable ASCII"),
        }
    }
    Ok(Cow::Owned(out))
}

fn triplet(bytes: &mut impl Iterator<Item = u8>) -> Result<u8, &'static str> {
    let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
    match (digit(), digit()) {
        (Some(high), Some(low)) => Ok(u8::try_from(high * 16 + low).unwrap_or(u8::MAX)),
        _ => Err("it has a malformed percent encoding"),
    }
}

/// Encodes what may not stand raw in a request path.
pub(crate) fn encode(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        let character = char::from(byte);
        if character.is_ascii_alphanumeric() || RAW_PUNCTUATION.contains(character) {
            out.push(character);
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_happens_once() {
        assert_eq!(decode("/%21azure/%2521"), Ok("/!azure/%21".into()));
    }

    #[test]
    fn dangerous_bytes_are_refused_raw_and_encoded() {
        for raw in ["%2F", "%2f", "%5C", "\\", "%00", "%0a", "\n", "%7F", "%FF", "é"] {
            assert!(decode(raw).is_err(), "{raw}");
        }
    }

    #[test]
    fn a_malformed_triplet_is_refused() {
        for raw in ["%", "%2", "%g0", "%+1", "a%2"] {
            assert!(decode(raw).is_err(), "{raw}");
        }
    }

    #[test]
    fn every_printable_character_survives_a_round_trip() {
        let text: String = (b' '..=b'~').filter(|&b| b != b'\\').map(char::from).collect();
        assert_eq!(decode(&encode(&text)), Ok(text.into()));
    }
}
