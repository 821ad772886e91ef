//! Where versions are kept: the adapters behind [`Storage`].
//!
//! One module per `StorageType`. Every one of them passes the compliance suite of the testkit, so
//! the rest of the program never asks which one it talks to. `docs/storage.md` describes the stored
//! names and what each backend promises.
//!
//! [`Storage`]: dipylon_middleware::ports::Storage

#[cfg(feature = "azureblob")]
pub mod azureblob;
pub mod disk;
#[cfg(feature = "external")]
pub mod external;
pub mod extra_key;
#[cfg(feature = "gcp")]
pub mod gcp;
mod identity;
pub mod memory;
#[cfg(feature = "minio")]
pub mod minio;
#[cfg(feature = "mongo")]
pub mod mongo;
#[cfg(any(feature = "minio", feature = "s3", feature = "gcp", feature = "azureblob"))]
pub mod object;
mod open;
#[cfg(feature = "s3")]
pub mod s3;
#[cfg(any(
    feature = "minio",
    feature = "s3",
    feature = "gcp",
    feature = "azureblob",
    feature = "mongo",
    feature = "external"
))]
pub mod saves;
pub mod tiered;
pub mod whole;
pub(crate) mod zip_end;

pub use identity::identity;
pub use open::{BUILT, Variables, disk, is_built, memory, not_built, open};
