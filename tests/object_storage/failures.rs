//! Wrong settings and servers that are down: errors that name backend, operation and cause, and no secret.

use dipylon_testkit::services::given::{KeyedServer, fresh_name};
use std::time::Duration;

use base64::Engine as _;
use dipylon::config::{GcpStorage, MinioStorage, S3Storage, Secret, UrlText};
use dipylon::storage::azureblob::Extensions;
use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_protocol::path::ModulePath;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;

use crate::{azureblob, gcp, minio, s3};

async fn refused(config: &MinioStorage) -> String {
    let opened = dipylon::storage::minio::open(config, &minio::no_environment).await;
    let error: Error = opened.err().expect("it cannot be opened");
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(!error.message().contains('\n'), "one line: {error}");
    error.to_string()
}

#[tokio::test]
#[ignore = "needs minio: run by cargo xtask test"]
async fn wrong_credentials_are_named_without_being_told() {
    let server = minio::server();
    let right = minio::config(&server, &fresh_name());
    let wrong_key = MinioStorage { key: Secret::new("wrongkeyid"), ..right.clone() };
    let text = refused(&wrong_key).await;
    assert!(text.starts_with("minio storage cannot list t"), "{text}");
    assert!(
        text.contains("InvalidAccessKeyId") && text.contains("check the credentials"),
        "{text}"
    );
    assert!(!text.contains("wrongkeyid"), "{text}");
    let wrong_secret = MinioStorage { secret: Secret::new("wrongsecret"), ..right.clone() };
    let text = refused(&wrong_secret).await;
    assert!(text.contains("SignatureDoesNotMatch"), "{text}");
    assert!(!text.contains("wrongsecret") && !text.contains(&server.key), "{text}");
}

#[tokio::test]
async fn settings_that_lead_nowhere_are_refused_at_once() {
    let config = |endpoint: &str, bucket: &str| MinioStorage {
        endpoint: UrlText::new(endpoint),
        key: Secret::new("key"),
        secret: Secret::new("secret"),
        enable_ssl: true,
        bucket: bucket.to_owned(),
        region: String::new(),
    };
    for (endpoint, bucket, why) in [
        ("ftp://host", "b", "http:// nor https://"),
        ("https://host/path", "b", "no path"),
        ("https://user:pass@host", "b", "no path"),
        ("host", "/folder", "bucket/folder"),
        ("host", "b/../c", "bucket/folder"),
    ] {
        let text = refused(&config(endpoint, bucket)).await;
        assert!(text.contains(why), "{endpoint} {bucket}: {text}");
        assert!(!text.contains("pass@"), "{text}");
    }
}

/// The bucket of another.
#[tokio::test]
#[ignore = "needs minio: run by cargo xtask test"]
async fn a_bucket_that_cannot_be_made_is_an_error() {
    let text = refused(&minio::config(&minio::server(), "No_Bucket_Name")).await;
    assert!(text.contains("minio storage cannot"), "{text}");
    assert!(text.contains("No_Bucket_Name"), "{text}");
}

/// A start without the server works; calls say what is wrong, and never "absent".
#[tokio::test]
async fn a_server_that_is_down_is_an_error_and_no_miss() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", socket.local_addr().unwrap());
    drop(socket);
    let config = MinioStorage {
        endpoint: UrlText::new(endpoint),
        key: Secret::new("somekeyid"),
        secret: Secret::new("somesecret"),
        enable_ssl: true,
        bucket: "mods/folder".to_owned(),
        region: String::new(),
    };
    let opened = dipylon::storage::minio::open(&config, &minio::no_environment);
    let storage = tokio::time::timeout(Duration::from_secs(30), opened).await.unwrap().unwrap();
    let (module, version) =
        (ModulePath::parse("example.com/a").unwrap(), Version::parse("v1.0.0").unwrap());
    let error = storage.read(&module, &version, FileKind::Mod).await.unwrap_err();
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::StorageUnavailable);
    let name = "minio storage cannot read mods/folder/example.com/a/v1.0.0/v1.0.0.info: ";
    assert!(text.starts_with(name), "{text}");
    assert!(text.contains("onnection refused") && text.contains("is the store up"), "{text}");
    let text = storage.check().await.unwrap_err().to_string();
    assert!(text.starts_with("minio storage cannot list mods/folder: "), "{text}");
    for text in [text, storage.list(&module).await.unwrap_err().to_string()] {
        assert!(!text.contains("somekeyid") && !text.contains("somesecret"), "{text}");
    }
}

/// A bucket that somebody removes while the gateway runs is no empty store.
#[tokio::test]
#[ignore = "needs minio: run by cargo xtask test"]
async fn a_bucket_that_goes_away_is_an_error_and_no_miss() {
    let (server, bucket) = (minio::server(), fresh_name());
    let config = minio::config(&server, &bucket);
    let storage = dipylon::storage::minio::open(&config, &minio::no_environment).await.unwrap();
    minio::remove_bucket(&server, &bucket).await;
    let (module, version) =
        (ModulePath::parse("example.com/a").unwrap(), Version::parse("v1.0.0").unwrap());
    let error = storage.read(&module, &version, FileKind::Mod).await.unwrap_err();
    assert!(error.to_string().contains("NoSuchBucket"), "{error}");
    let error = storage.list(&module).await.unwrap_err();
    assert!(error.to_string().contains("NoSuchBucket"), "{error}");
    storage.check().await.expect("the check makes it again, as the start does");
    assert!(storage.read(&module, &version, FileKind::Mod).await.unwrap().is_none());
}

#[tokio::test]
#[ignore = "needs minio: run by cargo xtask test"]
async fn s3_names_a_missing_bucket_and_wrong_credentials() {
    a_missing_bucket_and_wrong_credentials_are_named(&minio::server()).await;
}

#[tokio::test]
#[ignore = "needs versitygw: run by cargo xtask test"]
async fn s3_of_versitygw_names_a_missing_bucket_and_wrong_credentials() {
    a_missing_bucket_and_wrong_credentials_are_named(&KeyedServer::of("DIPYLON_TEST_VERSITYGW"))
        .await;
}

async fn a_missing_bucket_and_wrong_credentials_are_named(server: &KeyedServer) {
    let right = s3::config(server, &fresh_name());
    let text = s3_refused(&right).await;
    assert!(text.starts_with("s3 storage cannot list t"), "{text}");
    assert!(text.contains("NoSuchBucket") && text.contains("create it"), "{text}");
    let wrong_secret = S3Storage { secret: Secret::new("wrongsecret"), ..right.clone() };
    let text = s3_refused(&wrong_secret).await;
    assert!(text.contains("SignatureDoesNotMatch"), "{text}");
    assert!(text.ends_with("; check the credentials"), "{text}");
    assert!(!text.contains("wrongsecret") && !text.contains(&server.key), "{text}");
    let wrong_key = S3Storage { key: Secret::new("wrongkeyid"), ..right };
    let text = s3_refused(&wrong_key).await;
    let is_told = text.contains("InvalidAccessKeyId") || text.contains("XAdminUserNotFound");
    assert!(is_told && text.ends_with("; check the credentials"), "{text}");
    assert!(!text.contains("wrongkeyid") && !text.contains(&server.secret), "{text}");
}

async fn s3_refused(config: &S3Storage) -> String {
    let opened = dipylon::storage::s3::open(config, &minio::no_environment).await;
    opened.err().expect("it cannot be opened").to_string()
}

#[tokio::test]
#[ignore = "needs gcs: run by cargo xtask test"]
async fn gcp_names_a_missing_bucket_and_useless_credentials() {
    let bucket = fresh_name();
    let emulator = gcp::emulator();
    let opened =
        dipylon::storage::gcp::open(&gcp::config(&bucket), &emulator, &minio::no_environment).await;
    let text = opened.err().expect("there is no bucket").to_string();
    assert!(text.starts_with(&format!("gcp storage cannot list {bucket}: 404")), "{text}");
    for (json, why) in [
        ("no json", "holds no JSON"),
        (r#"{"type":"external_account","secret":"hush"}"#, "of type \"external_account\""),
        (r#"{"type":"service_account","private_key":"hush"}"#, "cannot be used"),
    ] {
        let json_key = Secret::new(base64::engine::general_purpose::STANDARD.encode(json));
        let config = GcpStorage { json_key, ..gcp::config(&bucket) };
        let opened = dipylon::storage::gcp::open(&config, "", &minio::no_environment).await;
        let text = opened.err().expect("it cannot be opened").to_string();
        assert!(text.contains(why), "{text}");
        assert!(!text.contains("hush"), "{text}");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    for (json, why) in [
        (r#"{"type":"external_account","secret":"hush"}"#, "no JSON of type"),
        (r#"{"type":"service_account","private_key":["hush"]}"#, "no JSON of type"),
    ] {
        std::fs::write(file.path(), json).unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        let environment =
            |name: &str| (name == "GOOGLE_APPLICATION_CREDENTIALS").then(|| path.clone());
        let opened = dipylon::storage::gcp::open(&gcp::config(&bucket), "", &environment).await;
        let text = opened.err().expect("it cannot be opened").to_string();
        assert!(text.contains(why), "{text}");
        assert!(!text.contains("hush"), "{text}");
    }
}

#[tokio::test]
#[ignore = "needs azurite: run by cargo xtask test"]
async fn azureblob_names_a_missing_container_and_wrong_credentials() {
    let ((endpoint, account, key), container) = (azureblob::server(), fresh_name());
    let ours = Extensions { endpoint: &endpoint, create_container: false };
    let refused = async |key: &str| {
        let config = azureblob::config(&account, key, &container);
        let opened = dipylon::storage::azureblob::open(&config, ours, &minio::no_environment).await;
        opened.err().expect("it cannot be opened").to_string()
    };
    let text = refused(&key).await;
    assert!(text.starts_with(&format!("azureblob storage cannot list {container}: ")), "{text}");
    assert!(text.contains("ContainerNotFound") && text.contains("create it"), "{text}");
    let wrong = "d3Jvbmcga2V5";
    let text = refused(wrong).await;
    assert!(text.contains("check the credentials"), "{text}");
    assert!(!text.contains(wrong) && !text.contains(&key), "{text}");
    assert!(refused("no base64!").await.contains("malformed"));
}
