//! Where things lie: Athens's names, and ours beside them.

use std::path::{Component, Path, PathBuf};

use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;

/// The directory below the root that holds what Athens has no name for. No module path begins with
/// a dot, so the two never meet.
pub(super) const OURS: &str = ".dipylon";
/// Below [`OURS`]: what is on its way in. On the same file system as the versions, so that a rename
/// and a hard link work.
pub(super) const STAGING: &str = "staging";
/// Below [`OURS`]: locked while a torn version is mended.
pub(super) const MEND_LOCK: &str = "mend.lock";

/// The `.mod` inside a version's directory.
pub(super) const GO_MOD: &str = "go.mod";
/// The zip inside a version's directory.
pub(super) const ZIP: &str = "source.zip";

/// `<root>/.dipylon`.
pub(super) fn ours(root: &Path) -> PathBuf {
    root.join(OURS)
}

/// `<root>/.dipylon/staging`.
pub(super) fn staging(root: &Path) -> PathBuf {
    ours(root).join(STAGING)
}

/// The name of a file inside the directory of `version`.
pub(super) fn file_name(version: &Version, kind: FileKind) -> String {
    match kind {
        FileKind::Info => format!("{version}.info"),
        FileKind::Mod => GO_MOD.to_owned(),
        FileKind::Zip => ZIP.to_owned(),
    }
}

/// `<root>/<module path>`.
///
/// # Errors
/// `Internal` when the path would leave the root: a module path never does, and this is where that
/// is held to.
pub(super) fn module_directory(root: &Path, module: &ModulePath) -> Result<PathBuf, Error> {
    let relative = Path::new(module.as_str());
    let plain = relative.components().all(|part| matches!(part, Component::Normal(_)));
    if !plain || relative.starts_with(OURS) {
        let text = format!("module path {module} is no path below the storage root");
        return Err(Error::new(ErrorKind::Internal, text));
    }
    Ok(root.join(relative))
}

/// `<root>/<module path>/<version>`.
///
/// # Errors
/// Those of [`module_directory`].
pub(super) fn version_directory(
    root: &Path,
    module: &ModulePath,
    version: &Version,
) -> Result<PathBuf, Error> {
    Ok(module_directory(root, module)?.join(version.as_str()))
}
