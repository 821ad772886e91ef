//! The near tier: the compliance suite over real stores, what it serves and keeps, and what it does when
//! either side fails.

mod bench;
mod bounds;
mod faults;
mod full;
mod near;
#[cfg(feature = "minio")]
mod over_minio;

use dipylon::storage;
use dipylon_testkit::storage_suite::Subject;

use crate::bench::{opened, room};

mod suite_over_disk {
    dipylon_testkit::storage_suite!(super::over_disk);
}

/// So little room that copies come and go all the time.
mod suite_with_little_room {
    dipylon_testkit::storage_suite!(super::with_little_room);
}

async fn over_disk() -> Subject {
    subject(room()).await
}

async fn with_little_room() -> Subject {
    subject(1 << 20).await
}

async fn subject(max_bytes: u64) -> Subject {
    let (root, near) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let disk = storage::disk(root.path().to_owned()).await.unwrap();
    let (tiered, _) = opened(disk, near.path(), max_bytes).await;
    Subject::new(tiered).refusing_token("no bar").keep((root, near))
}
