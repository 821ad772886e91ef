//! TLS to the server: whose certificate is believed.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use dipylon::config::MongoStorage;
use dipylon_testkit::services::given::fresh_name;
use rustls::pki_types::PrivateKeyDer;
use tempfile::NamedTempFile;
use tokio_rustls::TlsAcceptor;

use crate::bench::{config, url};
use crate::wire::Wire;

/// A line with TLS, and the certificate of its server end in PEM.
async fn line() -> (Wire, NamedTempFile) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let server = url().trim_start_matches("mongodb://").trim_end_matches('/').to_owned();
    let wire = Wire::to(&server, Some(TlsAcceptor::from(Arc::new(tls)))).await;
    let mut pem = NamedTempFile::new().unwrap();
    pem.write_all(made.cert.pem().as_bytes()).unwrap();
    (wire, pem)
}

/// What the check for `/readyz` says of a store with these settings.
async fn check(
    wire: &Wire,
    options: &str,
    cert_path: Option<PathBuf>,
    insecure: bool,
) -> Result<(), String> {
    let url = format!("mongodb://localhost:{}/{options}", wire.address.port());
    let config = MongoStorage { cert_path, insecure, ..config(&url, &fresh_name()) };
    let storage =
        dipylon::storage::mongo::open(&config).await.map_err(|error| error.to_string())?;
    storage.check().await.map_err(|error| error.to_string())
}

#[tokio::test]
#[ignore = "needs mongo: run by cargo xtask test"]
async fn a_server_is_believed_by_its_authority_or_when_told_to() {
    let (wire, pem) = line().await;
    let path = || Some(pem.path().to_owned());
    check(&wire, "", path(), false).await.expect("CertPath turns TLS on, and is believed");
    check(&wire, "?tls=true", None, true).await.expect("Insecure believes anybody");
    let error = check(&wire, "?tls=true", None, false).await.unwrap_err();
    assert!(error.contains("certificate"), "{error}");
    let (_, other) = line().await;
    let error = check(&wire, "", Some(other.path().to_owned()), false).await.unwrap_err();
    assert!(error.contains("certificate"), "{error}");
    check(&wire, "", Some(other.path().to_owned()), true).await.expect("Insecure with CertPath");
}
