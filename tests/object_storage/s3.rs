//! `StorageType = "s3"`, against two servers that speak it; and where its credentials come from.

use dipylon_testkit::services::given::{KeyedServer, fresh_name};
use std::sync::Arc;

use dipylon::config::{S3Storage, Secret, UrlText};
use dipylon_middleware::ports::Storage;
use dipylon_testkit::athens::Names;
use dipylon_testkit::storage_suite::Subject;

use crate::bench::Bench;
use crate::minio::{self, no_environment};
use crate::raw::{self, Raw};

mod suite {
    dipylon_testkit::storage_suite!(super::fresh, "needs minio: run by cargo xtask test");
}

mod suite_on_versitygw {
    dipylon_testkit::storage_suite!(
        super::fresh_versitygw,
        "needs versitygw: run by cargo xtask test"
    );
}

pub(crate) const TYPES: [&str; 3] = ["application/json", "text/plain", "application/octet-stream"];

pub(crate) fn config(server: &KeyedServer, bucket: &str) -> S3Storage {
    S3Storage {
        region: "us-east-1".to_owned(),
        key: Secret::new(server.key.as_str()),
        secret: Secret::new(server.secret.as_str()),
        token: Secret::default(),
        bucket: bucket.to_owned(),
        force_path_style: true,
        use_default_configuration: false,
        credentials_endpoint: UrlText::default(),
        aws_container_credentials_relative_uri: String::new(),
        endpoint: UrlText::new(server.endpoint.as_str()),
    }
}

pub(crate) async fn open(config: &S3Storage) -> Arc<dyn Storage> {
    dipylon::storage::s3::open(config, &no_environment).await.unwrap()
}

pub(crate) async fn bench(variable: &str) -> Bench {
    let (server, bucket) = (KeyedServer::of(variable), fresh_name());
    // This kind makes no bucket; the other one does.
    dipylon::storage::minio::open(&minio::config(&server, &bucket), &no_environment).await.unwrap();
    Bench {
        subject: Subject::new(open(&config(&server, &bucket)).await),
        raw: Raw::Client(raw::s3(&server, &bucket)),
        names: Names::Blob,
        types: TYPES,
        settings: vec![
            ("ATHENS_STORAGE_TYPE", "s3".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ENDPOINT", server.endpoint.clone()),
            ("AWS_FORCE_PATH_STYLE", "true".to_owned()),
            ("AWS_ACCESS_KEY_ID", server.key.clone()),
            ("AWS_SECRET_ACCESS_KEY", server.secret.clone()),
            ("ATHENS_S3_BUCKET_NAME", bucket),
        ],
    }
}

async fn fresh() -> Subject {
    subject("DIPYLON_TEST_MINIO").await
}

async fn fresh_versitygw() -> Subject {
    subject("DIPYLON_TEST_VERSITYGW").await
}

async fn subject(variable: &str) -> Subject {
    bench(variable).await.subject.refusing_token("no name").many_versions(minio::MANY_VERSIONS)
}
