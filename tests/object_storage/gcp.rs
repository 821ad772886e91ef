//! `StorageType = "gcp"`, against an emulator.

use dipylon::config::{GcpStorage, Secret};
use dipylon_testkit::athens::Names;
use dipylon_testkit::services::given::fresh_name;
use dipylon_testkit::storage_suite::Subject;

use crate::bench::Bench;
use crate::minio::{MANY_VERSIONS, no_environment};
use crate::raw::{JsonBucket, Raw};

mod suite {
    dipylon_testkit::storage_suite!(super::fresh, "needs gcs: run by cargo xtask test");
}

pub(crate) fn emulator() -> String {
    std::env::var("DIPYLON_TEST_GCS").expect("DIPYLON_TEST_GCS: cargo xtask test sets it")
}

pub(crate) fn config(bucket: &str) -> GcpStorage {
    GcpStorage { project_id: String::new(), bucket: bucket.to_owned(), json_key: Secret::default() }
}

pub(crate) async fn bench() -> Bench {
    let (base, bucket) = (emulator(), fresh_name());
    let raw = JsonBucket::make(&base, &bucket).await;
    let storage = dipylon::storage::gcp::open(&config(&bucket), &base, &no_environment).await;
    Bench {
        subject: Subject::new(storage.unwrap()),
        raw: Raw::Json(Box::new(raw)),
        names: Names::Blob,
        types: ["text/plain; charset=utf-8", "text/plain; charset=utf-8", "application/zip"],
        settings: vec![
            ("ATHENS_STORAGE_TYPE", "gcp".to_owned()),
            ("STORAGE_EMULATOR_HOST", base),
            ("ATHENS_STORAGE_GCP_BUCKET", bucket),
        ],
    }
}

/// A token that is no name is the store's own, or Athens's; this server takes any.
async fn fresh() -> Subject {
    bench().await.subject.refusing_token("a\nb").many_versions(MANY_VERSIONS)
}
