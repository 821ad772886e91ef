//! What must hold before a file is shown or kept.

use bytes::Bytes;
use dipylon_protocol::dirhash::{Hash1, hash_go_mod};
use dipylon_protocol::gomod::GoMod;
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::version::Version;
use dipylon_protocol::zip::ZipError;

use crate::error::{Error, ErrorKind};
use crate::ports::Expected;
use crate::telemetry::{Metrics, Verification};

/// A `.mod` is go.mod text, and the one that the checksum database knows.
pub(super) fn go_mod(
    module: &ModulePath,
    version: &Version,
    bytes: &Bytes,
    expected: &Expected,
    upstream: &str,
) -> Result<(), Error> {
    GoMod::parse(bytes).map_err(|error| {
        let text = format!("{upstream} sent a wrong .mod for {module}@{version}: {error}");
        Error::new(ErrorKind::BadContent, text)
    })?;
    match expected {
        Expected::Exempt => Ok(()),
        Expected::Hashes { go_mod, .. } => {
            same_hash(module, version, "/go.mod", go_mod, &hash_go_mod(bytes), upstream)
        }
    }
}

/// The hash of a zip is the one that the checksum database knows.
pub(super) fn zip_hash(
    module: &ModulePath,
    version: &Version,
    hash: &Hash1,
    expected: &Expected,
    upstream: &str,
) -> Result<(), Error> {
    match expected {
        Expected::Exempt => Ok(()),
        Expected::Hashes { zip, .. } => same_hash(module, version, "", zip, hash, upstream),
    }
}

fn same_hash(
    module: &ModulePath,
    version: &Version,
    file: &str,
    known: &Hash1,
    sent: &Hash1,
    upstream: &str,
) -> Result<(), Error> {
    if known == sent {
        return Ok(());
    }
    let text = format!(
        "checksum mismatch for {module}@{version}{file}: {upstream} sent {sent}, the checksum \
         database knows {known}; it is refused"
    );
    Err(Error::new(ErrorKind::ChecksumMismatch, text))
}

/// The error for a zip that breaks the rules.
pub(super) fn bad_zip(
    module: &ModulePath,
    version: &Version,
    upstream: &str,
    error: &ZipError,
) -> Error {
    let text = format!("{upstream} sent a wrong zip for {module}@{version}: {error}");
    Error::new(ErrorKind::BadContent, text)
}

/// Counts what the checksum database said.
pub(super) fn count(
    metrics: &Metrics,
    expected: &Result<Expected, Error>,
    compared: &Result<(), Error>,
) {
    let result = match (expected, compared) {
        (Ok(Expected::Exempt), _) => Verification::Exempt,
        (Ok(_), Ok(())) => Verification::Verified,
        (Ok(_), Err(_)) => Verification::Mismatch,
        (Err(error), _) if error.kind() == ErrorKind::PrivateChecksum => Verification::Unknown,
        // Policy kept the name from the database, which says nothing of that.
        (Err(error), _) if error.kind() == ErrorKind::NotStored => Verification::Exempt,
        (Err(_), _) => Verification::Unavailable,
    };
    metrics.verifications.get((result,)).inc();
}
