//! Verdicts as they lie at a lock service: a text of JSON, the same at each kind that carries them.

use dipylon_middleware::error::ErrorKind;
use dipylon_middleware::ports::Verdict;
use serde::{Deserialize, Serialize};

/// Verdicts lie beside the locks, under a name that no module path begins with.
pub(super) const NAME: &str = "dipylon:found";

/// The most bytes that are read as a verdict: the longest text of an error, with every letter escaped.
const MAX_BYTES: usize = 4 * 1_024;

/// As it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    kind: Kind,
    message: String,
}

/// The kinds that another version of this program may know more of: what is unknown is no verdict.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    InvalidPath,
    NotFound,
    PrivateChecksum,
    ChecksumMismatch,
}

impl Kind {
    const ALL: [(Self, ErrorKind); 4] = [
        (Self::InvalidPath, ErrorKind::InvalidPath),
        (Self::NotFound, ErrorKind::NotFound),
        (Self::PrivateChecksum, ErrorKind::PrivateChecksum),
        (Self::ChecksumMismatch, ErrorKind::ChecksumMismatch),
    ];

    fn of(kind: ErrorKind) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == kind).map(|(written, _)| *written)
    }

    fn kind(self) -> ErrorKind {
        match self {
            Self::InvalidPath => ErrorKind::InvalidPath,
            Self::NotFound => ErrorKind::NotFound,
            Self::PrivateChecksum => ErrorKind::PrivateChecksum,
            Self::ChecksumMismatch => ErrorKind::ChecksumMismatch,
        }
    }
}

/// What others can read; `None` where there is no word for it.
pub(super) fn write(verdict: &Verdict) -> Option<String> {
    let kind = Kind::of(verdict.kind())?;
    let message = verdict.message().to_owned();
    serde_json::to_string(&Written { kind, message }).ok()
}

/// What another has written; `None` for what is no verdict that this program knows.
pub(super) fn read(bytes: &[u8]) -> Option<Verdict> {
    if bytes.len() > MAX_BYTES {
        return None;
    }
    let Written { kind, message } = serde_json::from_slice(bytes).ok()?;
    Verdict::new(kind.kind(), &message)
}

#[cfg(test)]
mod tests {
    use dipylon_middleware::error::MAX_MESSAGE_BYTES;

    use super::*;

    #[test]
    fn every_verdict_is_read_as_it_was_written() {
        for kind in ErrorKind::ALL.iter().filter(|kind| kind.is_permanent()) {
            // A text can be no longer, nor take more bytes for each letter.
            let verdict = Verdict::new(*kind, &"\"".repeat(MAX_MESSAGE_BYTES)).expect("it lasts");
            let written = write(&verdict).expect("there is a word for it");
            assert_eq!(read(written.as_bytes()), Some(verdict), "{kind:?}");
        }
    }

    #[test]
    fn what_is_no_verdict_is_none() {
        let long = format!("{{\"kind\":\"not_found\",\"message\":\"{}\"}}", "x".repeat(MAX_BYTES));
        let wrong: [&[u8]; 5] = [
            b"",
            b"6a2f41a3-c54c-fce8-32d2-0324e1c32e22",
            b"{\"kind\":\"upstream_failed\",\"message\":\"\"}",
            b"\xff\xfe",
            long.as_bytes(),
        ];
        for wrong in wrong {
            assert_eq!(read(wrong), None, "{}", String::from_utf8_lossy(wrong));
        }
    }
}
