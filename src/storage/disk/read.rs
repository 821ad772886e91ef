//! Reading a file of a version, and the check for `/readyz`.

use std::fs::{self, File};

use bytes::Bytes;
use dipylon_middleware::blob::Blob;
use dipylon_middleware::error::Error;
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;

use super::failure::{failed, found};
use super::layout::{ours, staging, version_directory};
use super::whole::VersionDirectory;
use super::{Access, Store};

impl Store {
    /// One file of a whole version.
    pub(super) fn read(
        &self,
        module: &ModulePath,
        version: &Version,
        kind: FileKind,
    ) -> Result<Option<Blob>, Error> {
        let directory = self.version_directory(module, version)?;
        // The check comes first: a torn version is mended file by file with the `.info` last, so
        // whoever sees a whole one opens nothing but its files.
        let blob = match self.remembered.whole(module, &directory)? {
            Some(_) => open(&directory, kind)?,
            None => None,
        };
        if blob.is_none() {
            self.root_is_there()?;
        }
        Ok(blob)
    }

    /// Whether the root can be read, and written where it could be at start.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.root_is_there()?;
        let mut names =
            fs::read_dir(&self.root).map_err(|error| failed("read", &self.root, &error))?;
        if let Some(Err(error)) = names.next() {
            return Err(failed("read", &self.root, &error));
        }
        if self.access == Access::ReadWrite {
            let directory = staging(&self.root);
            let probe = tempfile::Builder::new().prefix("probe-").tempfile_in(&directory);
            probe.map_err(|error| failed("write to", &directory, &error))?;
        }
        Ok(())
    }

    /// Absence is believed only while the root is there: a volume that was unmounted leaves an
    /// empty directory, which would pass for an empty store.
    pub(super) fn root_is_there(&self) -> Result<(), Error> {
        let path = match self.access {
            Access::ReadWrite => ours(&self.root),
            Access::ReadOnly => self.root.clone(),
        };
        match fs::metadata(&path) {
            Ok(_) => Ok(()),
            Err(error) => Err(failed("find (is the volume mounted?)", &path, &error)),
        }
    }

    pub(super) fn version_directory<'a>(
        &self,
        module: &ModulePath,
        version: &'a Version,
    ) -> Result<VersionDirectory<'a>, Error> {
        Ok(VersionDirectory::new(version_directory(&self.root, module, version)?, version))
    }
}

fn open(directory: &VersionDirectory<'_>, kind: FileKind) -> Result<Option<Blob>, Error> {
    if kind != FileKind::Zip {
        let bytes = directory.small(kind)?;
        return Ok(bytes.map(|bytes| Blob::from_bytes(Bytes::from(bytes))));
    }
    let path = directory.file(kind);
    let Some(file) = found(File::open(&path), "open", &path)? else { return Ok(None) };
    let metadata = file.metadata().map_err(|error| failed("look at", &path, &error))?;
    Ok(Some(Blob::from_file(file, metadata.len()).since(metadata.modified().ok())))
}
