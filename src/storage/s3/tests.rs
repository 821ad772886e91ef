use super::Target;
use crate::config::{S3Storage, Secret, UrlText};

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
