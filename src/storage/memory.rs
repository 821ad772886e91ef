//! `StorageType = "memory"`, the default: for development only.
//!
//! Everything is written to a fresh directory under the temporary directory and is gone when the
//! program ends. It is the disk store without its syncs, because nothing here outlives the process.
//! What a killed process leaves behind, the next one to start removes.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use dipylon_middleware::blob::Blob;
use dipylon_middleware::error::Error;
use dipylon_middleware::ports::{BoxFuture, CatalogPage, NewVersion, SaveResult, Storage};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;

use super::disk::{Disk, Durability, failed};
use crate::process_dir::ProcessDir;

/// How the directory begins that holds the store of one process.
const DIRECTORY_PREFIX: &str = "dipylon-memory-";

/// A store that lives as long as this value.
#[derive(Debug)]
pub struct Memory {
    disk: Disk,
    directory: PathBuf,
    /// Removes the directory when dropped.
    _held: ProcessDir,
}

impl Memory {
    /// Makes a fresh store; blocking.
    ///
    /// # Errors
    /// `Storage` when the temporary directory cannot be written.
    pub fn open() -> Result<Self, Error> {
        let fail = |error: io::Error| failed("make the memory store in", &temporary(), &error);
        let held = ProcessDir::open(&temporary(), DIRECTORY_PREFIX).map_err(fail)?;
        let directory = held.path().join("store");
        std::fs::create_dir(&directory).map_err(fail)?;
        let disk = Disk::open_with(&directory, Durability::Volatile)?;
        Ok(Self { disk, directory, _held: held })
    }

    /// The directory that holds everything.
    pub fn directory(&self) -> &Path {
        &self.directory
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
