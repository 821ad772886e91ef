use std::sync::Arc;
use std::time::Duration;

use dipylon_middleware::telemetry::Telemetry;
use http::Method;
use object_store::StaticCredentialProvider;
use object_store::aws::{AmazonS3Builder, AwsCredential};
use object_store::path::Path;

use super::super::object::{Connector, Presigning};
use super::{Target, signing};
use crate::config::{PresignedKeys, S3Storage, Secret, UrlText};

fn config(endpoint: &str, force_path_style: bool, bucket: &str) -> S3Storage {
    S3Storage {
        region: "eu-west-1".to_owned(),
        key: Secret::default(),
        secret: Secret::default(),
        token: Secret::default(),
        bucket: bucket.to_owned(),
        force_path_style,
        use_default_configuration: false,
        credentials_endpoint: UrlText::default(),
        aws_container_credentials_relative_uri: String::new(),
        endpoint: UrlText::new(endpoint),
    }
}

fn endpoint(endpoint: &str, force_path_style: bool, bucket: &str, region: &str) -> String {
    Target::of(&config(endpoint, force_path_style, bucket), region).unwrap().endpoint()
}

#[test]
fn amazons_own_host_names_the_region() {
    assert_eq!(endpoint("", false, "b", "eu-west-1"), "https://b.s3.eu-west-1.amazonaws.com");
    assert_eq!(endpoint("", true, "b", "eu-west-1"), "https://s3.eu-west-1.amazonaws.com");
    assert_eq!(endpoint("", false, "b", "cn-north-1"), "https://b.s3.cn-north-1.amazonaws.com.cn");
    assert_eq!(endpoint("", false, "b.c", "eu-west-1"), "https://s3.eu-west-1.amazonaws.com");
}

#[test]
fn an_endpoint_is_a_host_or_a_url() {
    assert_eq!(endpoint("s3.example.com", false, "b", "r"), "https://b.s3.example.com");
    assert_eq!(endpoint("http://s3.example.com:9/", false, "b", "r"), "http://b.s3.example.com:9");
    assert_eq!(endpoint("http://s3.example.com", true, "b", "r"), "http://s3.example.com");
    assert_eq!(endpoint("http://127.0.0.1:9000", false, "b", "r"), "http://127.0.0.1:9000");
    assert_eq!(endpoint("http://[::1]:9000", false, "b", "r"), "http://[::1]:9000");
    for bad in ["ftp://h", "https://h/p", "https://u@h", "https://"] {
        assert!(Target::of(&config(bad, false, "b"), "r").is_err(), "{bad}");
    }
    assert!(Target::of(&config("", false, "b/folder"), "r").is_err());
}

/// The URL that a client is sent to, with temporary credentials.
async fn presigned(config: &S3Storage, seen: &str) -> String {
    let region = config.region.as_str();
    let credential = AwsCredential {
        key_id: "AKIDTEST".to_owned(),
        secret_key: "hush".to_owned(),
        token: Some("session/token".to_owned()),
    };
    let target = Target::of(config, region).unwrap();
    let builder = AmazonS3Builder::new()
        .with_endpoint(target.endpoint())
        .with_region(region)
        .with_bucket_name(config.bucket.as_str())
        .with_virtual_hosted_style_request(target.is_virtual_hosted)
        .with_credentials(Arc::new(StaticCredentialProvider::new(credential)))
        .with_http_connector(Connector::new(&|_| None).unwrap());
    let store = builder.clone().build().unwrap();
    let (min_bytes, lifetime) = (1, Duration::from_secs(60));
    let keys = PresignedKeys { min_bytes, lifetime, endpoint: UrlText::new(seen) };
    let rules = Presigning::new(&keys, &Telemetry::new().unwrap()).unwrap();
    let signing = signing(rules, config, region, builder, &store).unwrap();
    let path = Path::parse("example.com/a/@v/v1.0.0.zip").unwrap();
    signing.signer.signed_url(Method::GET, &path, lifetime).await.unwrap().into()
}

#[tokio::test]
async fn a_signed_url_has_the_session_and_the_host_that_clients_see() {
    const OBJECT: &str = "/example.com/a/%40v/v1.0.0.zip?";
    let own = |path_style| config("", path_style, "mods");
    for (config, seen, place) in [
        (own(false), "", "https://mods.s3.eu-west-1.amazonaws.com"),
        (own(true), "", "https://s3.eu-west-1.amazonaws.com/mods"),
        (own(false), "https://store.example.com", "https://mods.store.example.com"),
        (own(true), "https://store.example.com:444", "https://store.example.com:444/mods"),
    ] {
        let url = presigned(&config, seen).await;
        assert!(url.starts_with(&format!("{place}{OBJECT}")), "{url}");
        for part in [
            "X-Amz-Security-Token=session%2Ftoken",
            "X-Amz-SignedHeaders=host",
            "X-Amz-Expires=60",
            "%2Feu-west-1%2Fs3%2Faws4_request",
            "X-Amz-Signature=",
        ] {
            assert!(url.contains(part), "{part}: {url}");
        }
        assert!(!url.contains("hush"), "{url}");
    }
}
