//! What an answer of a checksum database must look like before it is used or kept.

use dipylon_middleware::{Error, ErrorKind};
use dipylon_protocol::route::SumDbPath;
use dipylon_protocol::sumdb::Tile;
use dipylon_protocol::sumdb::note::{Note, Verifier};
use dipylon_protocol::sumdb::tlog::parse_record;

/// Is an answer what it should look like? A login page must not be kept for ever. The proof that a
/// tile or record belongs to the log is the asker's.
pub(crate) fn check(
    path: &SumDbPath,
    verifier: Option<&Verifier>,
    bytes: &[u8],
) -> Result<(), Error> {
    let bad = |reason: &dyn std::fmt::Display| {
        let text = format!("the answer to {path} is refused: {reason}");
        Err(Error::new(ErrorKind::BadContent, text))
    };
    match path {
        SumDbPath::Tile(text) => match Tile::parse(text) {
            Ok(tile) if tile.level.is_none() => {
                let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
                if first.is_none_or(|byte| *byte == b'<') {
                    bad(&"it has no records")
                } else {
                    Ok(())
                }
            }
            Ok(tile) if bytes.len() == tile.len_bytes() => Ok(()),
            Ok(tile) => bad(&format_args!("{} bytes instead of {}", bytes.len(), tile.len_bytes())),
            Err(error) => bad(&error),
        },
        SumDbPath::Lookup { .. } => {
            let signed = match parse_record(bytes) {
                Ok((_, _, signed)) => signed,
                Err(error) => return bad(&error),
            };
            check_signature(signed, verifier).or_else(|error| bad(&error))
        }
        SumDbPath::Latest => check_signature(bytes, verifier).or_else(|error| bad(&error)),
        SumDbPath::Supported => Ok(()),
    }
}

/// With a key the signature must be good; without one, it must at least be a tree head.
fn check_signature(signed: &[u8], verifier: Option<&Verifier>) -> Result<(), String> {
    match verifier {
        Some(verifier) => Note::open(signed, std::slice::from_ref(verifier))
            .map(|_| ())
            .map_err(|error| error.to_string()),
        None if signed.starts_with(b"go.sum database tree\n") => Ok(()),
        None => Err("it is no signed tree head".to_owned()),
    }
}
