//! `StorageType = "minio"`.

use dipylon::config::{MinioStorage, Secret, UrlText};
use dipylon::storage::object::Connector;
use dipylon_testkit::athens::Names;
use dipylon_testkit::services::given::{KeyedServer, fresh_name};
use dipylon_testkit::storage_suite::Subject;
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::HttpRequestBody;

use crate::bench::Bench;
use crate::raw::{self, Raw};

mod suite {
    dipylon_testkit::storage_suite!(super::fresh, "needs minio: run by cargo xtask test");
}

mod suite_in_a_folder {
    dipylon_testkit::storage_suite!(super::fresh_folder, "needs minio: run by cargo xtask test");
}

pub(crate) fn server() -> KeyedServer {
    KeyedServer::of("DIPYLON_TEST_MINIO")
}

pub(crate) fn config(server: &KeyedServer, bucket: &str) -> MinioStorage {
    MinioStorage {
        endpoint: UrlText::new(server.endpoint.as_str()),
        key: Secret::new(server.key.as_str()),
        secret: Secret::new(server.secret.as_str()),
        // The endpoint's own scheme wins.
        enable_ssl: true,
        bucket: bucket.to_owned(),
        region: String::new(),
    }
}

pub(crate) fn no_environment(_: &str) -> Option<String> {
    None
}

pub(crate) async fn bench() -> Bench {
    let (server, bucket) = (server(), fresh_name());
    let storage = dipylon::storage::minio::open(&config(&server, &bucket), &no_environment).await;
    Bench {
        subject: Subject::new(storage.unwrap()),
        raw: Raw::Client(raw::s3(&server, &bucket)),
        names: Names::Directory,
        types: ["application/octet-stream"; 3],
        settings: server.as_minio(&bucket),
    }
}

/// More versions than one page of 1,000 names has.
pub(crate) const MANY_VERSIONS: usize = 340;

async fn fresh() -> Subject {
    bench().await.subject.refusing_token("no name").many_versions(MANY_VERSIONS)
}

async fn fresh_folder() -> Subject {
    let place = format!("{}/some/folder", fresh_name());
    let storage = dipylon::storage::minio::open(&config(&server(), &place), &no_environment).await;
    Subject::new(storage.unwrap()).refusing_token("no name").many_versions(MANY_VERSIONS)
}

/// `DeleteBucket`.
#[tokio::test]
#[ignore = "needs minio: run by cargo xtask test"]
async fn it_says_since_when_it_has_a_zip() {
    bench().await.subject.assert_says_since_when().await;
}

pub(crate) async fn remove_bucket(server: &KeyedServer, bucket: &str) {
    let credential = AwsCredential {
        key_id: server.key.clone(),
        secret_key: server.secret.clone(),
        token: None,
    };
    let mut request = http::Request::builder()
        .method(http::Method::DELETE)
        .uri(format!("{}/{bucket}/", server.endpoint))
        .body(HttpRequestBody::empty())
        .unwrap();
    AwsAuthorizer::new(&credential, "s3", "us-east-1").try_authorize(&mut request, None).unwrap();
    let answer = Connector::new(&no_environment).unwrap().send(request).await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.status());
}
