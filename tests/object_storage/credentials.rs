//! Where the credentials of `s3` come from: the endpoint, the keys, the chain, in this order.

use dipylon_testkit::services::given::{KeyedServer, fresh_name};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dipylon::config::{S3Storage, Secret, UrlText};
use dipylon_testkit::gateway::Gateway;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{minio, s3};

/// A credentials endpoint that gives the same answer to each question, and counts them.
async fn endpoint(status: &'static str, body: String) -> (String, Arc<AtomicUsize>) {
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = socket.accept().await {
            let mut head = vec![0; 4_096];
            let length = stream.read(&mut head).await.unwrap_or(0);
            let asked_for = String::from_utf8_lossy(&head[..length]).into_owned();
            assert!(asked_for.starts_with("GET /creds/task?id=1 "), "{asked_for}");
            counter.fetch_add(1, Ordering::Relaxed);
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (format!("http://{address}/creds"), asked)
}

fn answer(server: &KeyedServer) -> String {
    format!(
        r#"{{"AccessKeyId":"{}","SecretAccessKey":"{}","Token":"","Expiration":"2099-01-01T00:00:00Z"}}"#,
        server.key, server.secret
    )
}

async fn ready_bucket(server: &KeyedServer) -> String {
    let bucket = fresh_name();
    let config = minio::config(server, &bucket);
    dipylon::storage::minio::open(&config, &minio::no_environment).await.unwrap();
    bucket
}

fn with_endpoint(config: S3Storage, url: &str) -> S3Storage {
    S3Storage {
        credentials_endpoint: UrlText::new(url),
        aws_container_credentials_relative_uri: "/task?id=1".to_owned(),
        ..config
    }
}

#[tokio::test]
#[ignore = "needs minio: run by cargo xtask test"]
async fn the_endpoint_comes_before_the_keys_and_is_asked_once() {
    let server = minio::server();
    let right = s3::config(&server, &ready_bucket(&server).await);
    let wrong = S3Storage { secret: Secret::new("wrong"), ..right };
    let (url, asked) = endpoint("200 OK", answer(&server)).await;
    let storage = s3::open(&with_endpoint(wrong, &url)).await;
    for _ in 0..3 {
        storage.check().await.unwrap();
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1, "what it gave holds for long");
}

#[tokio::test]
#[ignore = "needs minio: run by cargo xtask test"]
async fn the_keys_are_taken_where_the_endpoint_has_no_valid_answer() {
    let server = minio::server();
    let right = s3::config(&server, &ready_bucket(&server).await);
    for (status, body) in [
        ("500 Internal KeyedServer Error", answer(&server)),
        ("200 OK", "<html>".to_owned()),
        ("200 OK", r#"{"AccessKeyId":"","SecretAccessKey":""}"#.to_owned()),
        ("200 OK", answer(&server).replace("2099-01-01T00:00:00Z", "soon")),
    ] {
        let (url, asked) = endpoint(status, body).await;
        s3::open(&with_endpoint(right.clone(), &url)).await;
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }
}

/// What a program in a cloud has: files, a profile that names the region, and no keys of its own.
#[tokio::test]
#[ignore = "needs minio: run by cargo xtask test"]
async fn the_chain_gives_keys_and_region_where_nothing_is_configured() {
    let server = minio::server();
    let bucket = ready_bucket(&server).await;
    let files = tempfile::tempdir().unwrap();
    let (keys, profile) = (files.path().join("credentials"), files.path().join("config"));
    let text = format!(
        "[work]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
        server.key, server.secret
    );
    std::fs::write(&keys, text).unwrap();
    std::fs::write(&profile, "[profile work]\nregion = us-east-1\n").unwrap();
    let toml = format!(
        "StorageType = \"s3\"\n[Storage.S3]\nBucket = \"{bucket}\"\nEndpoint = \"{}\"\n",
        server.endpoint
    );
    let chain_only = "UseDefaultConfiguration = true\nKey = \"wrongkeyid\"\nSecret = \"wrong\"\n";
    for toml in [toml.clone(), format!("{toml}{chain_only}")] {
        let mut gateway = Gateway::builder(env!("CARGO_BIN_EXE_dipylon"))
            .config(&toml)
            .env("GOPROXY", "off")
            .env("AWS_PROFILE", "work")
            .env("AWS_SHARED_CREDENTIALS_FILE", keys.to_str().unwrap())
            .env("AWS_CONFIG_FILE", profile.to_str().unwrap())
            .start()
            .await;
        let ready = gateway.get("/readyz").await;
        assert!(ready.text().contains("\"storage\":\"ok\""), "{}", ready.text());
        assert_eq!(gateway.get("/catalog").await.status, 200, "{}", gateway.stderr());
        gateway.terminate().await;
        let said = format!("{}{}", gateway.stdout(), gateway.stderr());
        for secret in [server.key.as_str(), server.secret.as_str(), "wrongkeyid"] {
            assert!(!said.contains(secret), "{said}");
        }
    }
}

/// No source has any: the start says which were asked.
#[tokio::test]
#[ignore = "needs minio: run by cargo xtask test"]
async fn a_start_without_any_credentials_says_so() {
    let server = minio::server();
    let bucket = ready_bucket(&server).await;
    let started = Gateway::builder(env!("CARGO_BIN_EXE_dipylon"))
        .env("ATHENS_STORAGE_TYPE", "s3")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ENDPOINT", &server.endpoint)
        .env("ATHENS_S3_BUCKET_NAME", &bucket)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("GOPROXY", "off")
        .try_start()
        .await;
    let why = started.expect_err("no credentials, no start");
    assert!(why.contains("no credentials: the default chain"), "{why}");
}
