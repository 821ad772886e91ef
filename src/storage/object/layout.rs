//! Names of objects: Athens's two layouts, and what we lay beside them.
//!
//! | layout | `.info` | `.mod` | `.zip` | kinds |
//! |---|---|---|---|---|
//! | directory | `<module>/<version>/<version>.info` | `…/go.mod` | `…/source.zip` | minio |
//! | blob | `<module>/@v/<version>.info` | `….mod` | `….zip` | s3, gcp, azureblob |
//!
//! Module paths and versions are decoded, as on disk. What is ours begins with `.dipylon/`.

use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;

/// Where everything lies that Athens has no name for. No module path begins with a dot.
pub(super) const OURS: &str = ".dipylon/";
/// The first name after everything below [`OURS`]: a slash sorts before a zero.
pub(super) const AFTER_OURS: &str = ".dipylon0";

const GO_MOD: &str = "go.mod";
const ZIP: &str = "source.zip";
const VERSIONS: &str = "/@v/";

/// How a version's three objects are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// A directory for each version, as on disk.
    Directory,
    /// The URLs of the GOPROXY protocol, decoded.
    Blob,
}

/// One of the three objects of a version, read from its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named<'a> {
    pub(super) module: &'a str,
    pub(super) version: &'a str,
    pub(super) kind: FileKind,
}

impl Layout {
    /// The name of an object, below the prefix of the store.
    ///
    /// # Errors
    /// `Internal` for a path that would meet our own names: a module path never does, and this is where
    /// that is held to.
    pub(super) fn key(
        self,
        module: &ModulePath,
        version: &Version,
        kind: FileKind,
    ) -> Result<String, Error> {
        let (module, version) = (plain(module)?, version.as_str());
        Ok(self.spell(module, version, kind))
    }

    /// As [`Layout::key`], for names that were read from the store.
    pub(super) fn spell(self, module: &str, version: &str, kind: FileKind) -> String {
        match (self, kind) {
            (Self::Directory, FileKind::Info) => format!("{module}/{version}/{version}.info"),
            (Self::Directory, FileKind::Mod) => format!("{module}/{version}/{GO_MOD}"),
            (Self::Directory, FileKind::Zip) => format!("{module}/{version}/{ZIP}"),
            (Self::Blob, kind) => format!("{module}{VERSIONS}{version}.{}", kind.as_str()),
        }
    }

    /// How the names of all objects of a module begin; in the directory layout also those of modules
    /// below it.
    ///
    /// # Errors
    /// Those of [`Layout::key`].
    pub(super) fn module_prefix(self, module: &ModulePath) -> Result<String, Error> {
        let module = plain(module)?;
        Ok(match self {
            Self::Directory => format!("{module}/"),
            Self::Blob => format!("{module}{VERSIONS}"),
        })
    }

    /// What a name says, or `None` for one that is no version's. The version is one in form; the module
    /// path is only looked at where it is used.
    pub(super) fn parse(self, key: &str) -> Option<Named<'_>> {
        let named = match self {
            Self::Directory => directory_name(key),
            Self::Blob => blob_name(key),
        }?;
        let fine = !named.module.is_empty()
            && !key.starts_with(OURS)
            && Version::parse(named.version).is_ok();
        fine.then_some(named)
    }
}

fn directory_name(key: &str) -> Option<Named<'_>> {
    let (directory, file) = key.rsplit_once('/')?;
    let (module, version) = directory.rsplit_once('/')?;
    let kind = match file {
        GO_MOD => FileKind::Mod,
        ZIP => FileKind::Zip,
        _ if file.strip_suffix(".info") == Some(version) => FileKind::Info,
        _ => return None,
    };
    Some(Named { module, version, kind })
}

fn blob_name(key: &str) -> Option<Named<'_>> {
    let (module, file) = key.rsplit_once(VERSIONS)?;
    if file.contains('/') || module.contains(VERSIONS) {
        return None;
    }
    let (version, suffix) = file.rsplit_once('.')?;
    let kind = FileKind::ALL.into_iter().find(|kind| kind.as_str() == suffix)?;
    Some(Named { module, version, kind })
}

fn plain(module: &ModulePath) -> Result<&str, Error> {
    let module = module.as_str();
    if module.starts_with('.') || module.split('/').any(|part| matches!(part, "" | "." | "..")) {
        let text = format!("module path {module} cannot be the name of an object");
        return Err(Error::new(ErrorKind::Internal, text));
    }
    Ok(module)
}
