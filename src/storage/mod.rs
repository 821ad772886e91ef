//! Where versions are kept: the adapters behind [`Storage`].
//!
//! One module per `StorageType`. Every one of them passes the compliance suite of the testkit, so
//! the rest of the program never asks which one it talks to. `docs/storage.md` describes the stored
//! names and what each backend promises.

use std::path::PathBuf;
use std::sync::Arc;

use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_middleware::ports::Storage;

pub mod disk;
pub mod extra_key;
pub mod memory;
#[cfg(feature = "minio")]
pub mod minio;
#[cfg(feature = "minio")]
pub mod object;

/// The values of `StorageType` that this build knows how to open.
pub const BUILT: &[&str] = &[
    "memory",
    "disk",
    #[cfg(feature = "minio")]
    "minio",
];

/// Opens `StorageType = "disk"` in `root`, which must exist.
///
/// # Errors
/// `Storage` when the directory cannot be used; the text says why and what to do.
pub async fn disk(root: PathBuf) -> Result<Arc<dyn Storage>, Error> {
    start(move || Ok(Arc::new(disk::Disk::open(&root)?) as Arc<dyn Storage>)).await
}

/// Opens `StorageType = "memory"`: a fresh directory under the temporary directory.
///
/// # Errors
/// `Storage` when the directory cannot be made.
pub async fn memory() -> Result<Arc<dyn Storage>, Error> {
    start(|| Ok(Arc::new(memory::Memory::open()?) as Arc<dyn Storage>)).await
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
        let want = "StorageType \"mongo\" is not in this build: built are memory, disk";
        assert!(not_built("mongo").message().starts_with(want));
    }
}
