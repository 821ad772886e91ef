//! How an error of the file system becomes an error of the storage.

use std::io;
use std::path::Path;

use dipylon_middleware::error::{Error, ErrorKind};

/// An error that names what could not be done, where and why.
pub(in crate::storage) fn failed(what: &str, path: &Path, error: &io::Error) -> Error {
    let text = format!("disk storage cannot {what} {}: {error}{}", path.display(), advice(error));
    Error::new(ErrorKind::Storage, text)
}

/// An error of ours about a path.
pub(super) fn wrong(path: &Path, what: &str) -> Error {
    Error::new(ErrorKind::Storage, format!("disk storage: {} {what}", path.display()))
}

fn advice(error: &io::Error) -> &'static str {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    match error.kind() {
        PermissionDenied => "; check who owns the storage root",
        StorageFull | QuotaExceeded => "; make room",
        ReadOnlyFilesystem => "; the storage root is mounted read-only",
        _ => "",
    }
}

/// Whether an error says that there is no such name. A name longer than the file system takes, and
/// a name below a file, cannot exist; everything else (permissions, descriptors, a dying disk) says
/// nothing about what is stored.
pub(super) fn is_absent(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidFilename, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory | InvalidFilename)
}

/// `None` where there is no such name.
pub(super) fn found<T>(result: io::Result<T>, what: &str, path: &Path) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(failed(what, path, &error)),
    }
}
