use std::time::Duration;

use dipylon_middleware::telemetry::Telemetry;
use http::Method;
use object_store::StaticCredentialProvider;
use object_store::gcp::{GcpCredential, GcpSigningCredential, GoogleCloudStorageBuilder};
use object_store::path::Path;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::super::object::{Connector, Presigning, client_options, retries};
use super::{TYPES, signing};
use crate::config::{GcpStorage, PresignedKeys, Secret, UrlText};

/// An account without a private key has each URL signed by Google: that too goes through the HTTP proxy
/// that the environment names, for the store's own address and for another.
#[tokio::test]
async fn signatures_are_asked_for_through_the_http_proxy() {
    for endpoint in ["", "https://store.example.com"] {
        let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", proxy.local_addr().unwrap());
        let variable = |name: &str| (name == "HTTPS_PROXY").then(|| address.clone());
        let connector = Connector::new(&variable).unwrap();
        let bearer = GcpCredential { bearer: "token".to_owned() };
        let nobody = GcpSigningCredential { email: "a@example.com".to_owned(), private_key: None };
        let store = GoogleCloudStorageBuilder::new()
            .with_bucket_name("bucket")
            .with_credentials(std::sync::Arc::new(StaticCredentialProvider::new(bearer)))
            .with_signing_credentials(std::sync::Arc::new(StaticCredentialProvider::new(nobody)))
            .with_client_options(client_options(TYPES))
            .with_retry(retries())
            .with_http_connector(connector.clone())
            .build()
            .unwrap();
        let keys = PresignedKeys {
            min_bytes: 1,
            lifetime: Duration::from_secs(60),
            endpoint: UrlText::new(endpoint),
        };
        let rules = Presigning::new(&keys, &Telemetry::new().unwrap()).unwrap();
        let config = GcpStorage {
            project_id: String::new(),
            bucket: "bucket".to_owned(),
            json_key: Secret::default(),
        };
        let signing = signing(rules, &config, &store, &connector).unwrap();
        let path = Path::from("example.com/a/@v/v1.0.0.zip");
        let signed = signing.signer.signed_url(Method::GET, &path, keys.lifetime);
        let asked = async {
            let (mut stream, _) = proxy.accept().await.unwrap();
            let mut head = vec![0; 4_096];
            let length = stream.read(&mut head).await.unwrap();
            stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            String::from_utf8_lossy(&head[..length]).into_owned()
        };
        let asked = tokio::select! {
            asked = asked => asked,
            signed = signed => panic!("{endpoint:?}: not through the proxy: {:?}", signed.map(drop)),
        };
        let want = "CONNECT iamcredentials.googleapis.com:443 ";
        assert!(asked.starts_with(want), "{endpoint:?}: {asked}");
    }
}
