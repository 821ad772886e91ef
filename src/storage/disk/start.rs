//! Opening a store: what must hold before the first request.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use dipylon_middleware::error::{Error, ErrorKind};

use super::Access;
use super::extra::EXTRA_PREFIX;
use super::failure::failed;
use super::layout::staging;
use super::stage::SAVE_PREFIX;

/// What lies in staging for longer was left by a process that died. Processes share a store, so
/// anything younger may be in use: a spool grows for as long as its upstream takes.
pub const STAGING_AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How names in staging begin: those of spools, staged versions, staged extras and probes. Nothing
/// else is ever removed.
const STAGED_PREFIXES: &[&str] = &["spool-", SAVE_PREFIX, EXTRA_PREFIX, "probe-"];

/// Checks `root`, prepares the staging directory and sweeps it.
pub(super) fn open(root: &Path) -> Result<(PathBuf, Access), Error> {
    let root = check_root(root)?;
    let access = prepare_staging(&root)?;
    if access == Access::ReadOnly {
        tracing::warn!(
            root = %root.display(),
            "the storage root cannot be written: what is stored is served, saves will fail"
        );
        return Ok((root, access));
    }
    if is_case_blind(&root)? {
        let text = format!(
            "could not create new storage from os fs (root directory `{}` does not tell capitals \
             from small letters, so two modules would share one place): use another file system",
            root.display()
        );
        return Err(Error::new(ErrorKind::Storage, text));
    }
    sweep(&staging(&root), SystemTime::now());
    Ok((root, access))
}

/// Whether there is a root that can be read; writes nothing.
pub(super) fn check_root(root: &Path) -> Result<PathBuf, Error> {
    let refuse = |what: &str, advice: &str| {
        let shown = root.display();
        // The part before the colon is Athens's text, which people search for.
        let text = format!(
            "could not create new storage from os fs (root directory `{shown}` {what}): {advice}"
        );
        Err(Error::new(ErrorKind::Storage, text))
    };
    match fs::metadata(root) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return refuse("is not a directory", "set Storage.Disk.RootPath to a directory"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let advice = "create it, or set Storage.Disk.RootPath (ATHENS_DISK_STORAGE_ROOT) to a \
                          directory that exists";
            return refuse("does not exist", advice);
        }
        Err(error) => return Err(failed("use the root directory", root, &error)),
    }
    fs::read_dir(root).map_err(|error| failed("read the root directory", root, &error))?;
    // Absolute, so that a later change of the working directory does not move the store.
    std::path::absolute(root).map_err(|error| failed("use the root directory", root, &error))
}

fn prepare_staging(root: &Path) -> Result<Access, Error> {
    let directory = staging(root);
    let made = fs::create_dir_all(&directory).and_then(|()| probe(&directory));
    match made {
        Ok(()) => Ok(Access::ReadWrite),
        Err(error) if is_read_only(&error) => Ok(Access::ReadOnly),
        Err(error) => Err(failed("prepare", &directory, &error)),
    }
}

fn probe(directory: &Path) -> io::Result<()> {
    tempfile::Builder::new().prefix("probe-").tempfile_in(directory)?.close()
}

fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

/// Whether the root takes `A` and `a` for one name. Stored names are decoded module paths, and some
/// modules differ in nothing but case.
fn is_case_blind(root: &Path) -> Result<bool, Error> {
    let directory = staging(root);
    let fail = |error: io::Error| failed("write to", &directory, &error);
    let small =
        tempfile::Builder::new().prefix("probe-case-").tempdir_in(&directory).map_err(fail)?;
    fs::create_dir(small.path().join("a")).map_err(fail)?;
    match fs::create_dir(small.path().join("A")) {
        Ok(()) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(true),
        Err(error) => Err(fail(error)),
    }
}

/// Removes what dead processes left in staging. A failure is no reason not to start: the leftovers
/// cost room and nothing else.
pub(super) fn sweep(staging: &Path, now: SystemTime) {
    let entries = match fs::read_dir(staging) {
        Ok(entries) => entries,
        Err(error) => {
            tracing::warn!(staging = %staging.display(), %error, "staging cannot be swept");
            return;
        }
    };
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name();
        let ours = name.to_str().is_some_and(is_staged);
        if !ours || !is_old(&entry, now) {
            continue;
        }
        let path = entry.path();
        let removed = match entry.file_type() {
            Ok(kind) if kind.is_dir() => fs::remove_dir_all(&path),
            _ => fs::remove_file(&path),
        };
        match removed {
            Ok(()) => tracing::info!(path = %path.display(), "removed what a dead process left"),
            // Another process that starts at the same time sweeps too.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(path = %path.display(), %error, "cannot sweep"),
        }
    }
}

fn is_staged(name: &str) -> bool {
    STAGED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

fn is_old(entry: &fs::DirEntry, now: SystemTime) -> bool {
    let modified = entry.metadata().and_then(|metadata| metadata.modified());
    modified
        .is_ok_and(|modified| now.duration_since(modified).is_ok_and(|age| age > STAGING_AGE_MAX))
}
