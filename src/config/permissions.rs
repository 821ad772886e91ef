//! In production, nobody but the owner may write or execute the files that steer the program.

use std::path::Path;

use super::problem::ConfigError;

/// The permission bits that must not be set: write and execute, for group and others.
#[cfg(unix)]
const FORBIDDEN_BITS: u32 = 0o033;

/// Checks one file; a file that is missing is left to whoever reads it.
#[cfg(unix)]
pub(super) fn check(path: &Path) -> Option<ConfigError> {
    use std::os::unix::fs::PermissionsExt as _;

    let bits = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    let reason = format!(
        "has mode {bits:04o}, so others may change or execute it, which GoEnv \"production\" \
         forbids; run chmod {:04o} on it",
        bits & !FORBIDDEN_BITS
    );
    (bits & FORBIDDEN_BITS != 0).then(|| ConfigError::File { path: path.to_owned(), reason })
}

/// Other systems have no such bits.
#[cfg(not(unix))]
pub(super) fn check(_path: &Path) -> Option<ConfigError> {
    None
}
