//! Opens the store that the configuration names.

use std::path::PathBuf;
use std::sync::Arc;

use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_middleware::ports::Storage;
use dipylon_middleware::telemetry::Telemetry;

use super::disk::Disk;
use super::memory::Memory;
use crate::config::{Config, StorageType};

/// The values of `StorageType` that this build knows how to open.
pub const BUILT: &[&str] = &[
    "memory",
    "disk",
    #[cfg(feature = "minio")]
    "minio",
    #[cfg(feature = "s3")]
    "s3",
    #[cfg(feature = "gcp")]
    "gcp",
    #[cfg(feature = "azureblob")]
    "azureblob",
    #[cfg(feature = "mongo")]
    "mongo",
    #[cfg(feature = "external")]
    "external",
];

/// A lookup in the process's environment.
pub type Variables<'a> = &'a (dyn Fn(&str) -> Option<String> + Sync);

/// Opens the store of `StorageType`.
///
/// # Errors
/// `Unsupported` for a kind that is not in this build, else the kind's own.
#[cfg_attr(
    not(any(
        feature = "minio",
        feature = "s3",
        feature = "gcp",
        feature = "azureblob",
        feature = "external"
    )),
    expect(unused_variables)
)]
pub async fn open(
    config: &Config,
    variables: Variables<'_>,
    telemetry: &Telemetry,
) -> Result<Arc<dyn Storage>, Error> {
    let storage = &config.storage;
    #[cfg(any(feature = "minio", feature = "s3", feature = "gcp", feature = "azureblob"))]
    let presigning = super::object::Presigning::new(&config.dipylon.presigned, telemetry);
    match config.storage_type {
        StorageType::Memory => memory().await,
        StorageType::Disk => disk(storage.disk.root_path.clone()).await,
        #[cfg(feature = "minio")]
        StorageType::Minio => super::minio::open_with(&storage.minio, variables, presigning).await,
        #[cfg(feature = "s3")]
        StorageType::S3 => super::s3::open_with(&storage.s3, variables, presigning).await,
        #[cfg(feature = "gcp")]
        StorageType::Gcp => {
            let emulator = config.dipylon.storage_emulator_host.as_str();
            super::gcp::open_with(&storage.gcp, emulator, variables, presigning).await
        }
        #[cfg(feature = "azureblob")]
        StorageType::AzureBlob => {
            let ours = super::azureblob::Extensions {
                endpoint: config.dipylon.azure_endpoint.as_str(),
                create_container: config.dipylon.azure_create_container,
            };
            super::azureblob::open_with(&storage.azure_blob, ours, variables, presigning).await
        }
        #[cfg(feature = "mongo")]
        StorageType::Mongo => super::mongo::open(&storage.mongo).await,
        #[cfg(feature = "external")]
        StorageType::External => super::external::open(&storage.external, variables).await,
        #[allow(unreachable_patterns, reason = "with every feature there is no other kind")]
        other => Err(not_built(other.as_str())),
    }
}

/// Whether this build can open a kind.
///
/// # Errors
/// `Unsupported`, naming those that it can.
pub fn is_built(kind: StorageType) -> Result<(), Error> {
    match BUILT.contains(&kind.as_str()) {
        true => Ok(()),
        false => Err(not_built(kind.as_str())),
    }
}

/// Opens `StorageType = "disk"` in `root`, which must exist.
///
/// # Errors
/// `Storage` when the directory cannot be used; the text says why and what to do.
pub async fn disk(root: PathBuf) -> Result<Arc<dyn Storage>, Error> {
    start(move || Ok(Arc::new(Disk::open(&root)?) as Arc<dyn Storage>)).await
}

/// Opens `StorageType = "memory"`: a fresh directory under the temporary directory.
///
/// # Errors
/// `Storage` when the directory cannot be made.
pub async fn memory() -> Result<Arc<dyn Storage>, Error> {
    start(|| Ok(Arc::new(Memory::open()?) as Arc<dyn Storage>)).await
}

/// The error for a `StorageType` that is known to Athens but not to this build.
pub fn not_built(kind: &str) -> Error {
    let built = BUILT.join(", ");
    let text = format!("StorageType {kind:?} is not in this build: built are {built}");
    Error::new(ErrorKind::Unsupported, text)
}

/// Opening touches the disk, so it happens on a blocking thread.
async fn start<T: Send + 'static>(
    open: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(open).await {
        Ok(result) => result,
        Err(error) => Err(Error::new(
            ErrorKind::Internal,
            format!("opening the storage was cut off: {error}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_that_is_not_built_says_which_are() {
        let want = "StorageType \"tape\" is not in this build: built are memory, disk";
        assert!(not_built("tape").message().starts_with(want));
        assert_eq!(not_built("tape").kind(), ErrorKind::Unsupported);
        is_built(StorageType::Disk).unwrap();
        assert_eq!(is_built(StorageType::External).is_ok(), cfg!(feature = "external"));
    }
}
