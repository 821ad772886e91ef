//! `StorageType = "memory"`, the default: for development only.
//!
//! Everything is written to a fresh directory under the temporary directory and is gone when the
//! program ends. It is the disk store without its syncs, because nothing here outlives the process.
//! A process that is killed leaves its `dipylon-memory-…` directory behind for the system to clean.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use dipylon_middleware::blob::Blob;
use dipylon_middleware::error::Error;
use dipylon_middleware::ports::{BoxFuture, CatalogPage, NewVersion, SaveResult, Storage};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use tempfile::TempDir;

use super::disk::{Disk, Durability};

/// A store that lives as long as this value.
#[derive(Debug)]
pub struct Memory {
    disk: Disk,
    /// Removes the directory when dropped.
    directory: TempDir,
}

impl Memory {
    /// Makes a fresh store; blocking.
    ///
    /// # Errors
    /// `Storage` when the temporary directory cannot be written.
    pub fn open() -> Result<Self, Error> {
        let directory =
            tempfile::Builder::new().prefix("dipylon-memory-").tempdir().map_err(|error| {
                super::disk::failed("make the memory store in", &temporary(), &error)
            })?;
        let disk = Disk::open_with(directory.path(), Durability::Volatile)?;
        Ok(Self { disk, directory })
    }

    /// The directory that holds everything.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}

fn temporary() -> PathBuf {
    std::env::temp_dir()
}

impl Storage for Memory {
    fn kind(&self) -> &'static str {
        "memory"
    }

    fn list<'a>(&'a self, module: &'a ModulePath) -> BoxFuture<'a, Result<Vec<Version>, Error>> {
        self.disk.list(module)
    }

    fn read<'a>(
        &'a self,
        module: &'a ModulePath,
        version: &'a Version,
        kind: FileKind,
    ) -> BoxFuture<'a, Result<Option<Blob>, Error>> {
        self.disk.read(module, version, kind)
    }

    fn save(&self, version: NewVersion) -> BoxFuture<'_, Result<SaveResult, Error>> {
        self.disk.save(version)
    }

    fn catalog<'a>(
        &'a self,
        token: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<CatalogPage, Error>> {
        self.disk.catalog(token, limit)
    }

    fn read_extra<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, Error>> {
        self.disk.read_extra(key)
    }

    fn write_extra<'a>(&'a self, key: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<(), Error>> {
        self.disk.write_extra(key, bytes)
    }

    fn remove_extra<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        self.disk.remove_extra(key)
    }

    fn check(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.disk.check()
    }

    fn staging_directory(&self) -> Option<PathBuf> {
        self.disk.staging_directory()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_goes_with_the_store() {
        let memory = Memory::open().unwrap();
        let directory = memory.directory().to_owned();
        assert!(directory.is_dir());
        drop(memory);
        assert!(!directory.exists());
    }
}
