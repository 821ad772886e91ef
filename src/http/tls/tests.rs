use rustls::pki_types::ServerName;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::*;

/// A certificate for `localhost`, on disk and as a client trusts it.
fn made() -> (TempDir, Tls, Arc<rustls::RootCertStore>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = TempDir::new().unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let tls = Tls::open(&certificate, &key).unwrap();
    (folder, tls, Arc::new(roots))
}

#[tokio::test]
async fn the_client_chooses_the_http_that_is_spoken() {
    let (_folder, tls, roots) = made();
    for (offer, want) in [(vec![HTTP_2, HTTP_1], true), (vec![HTTP_1], false), (vec![], false)] {
        let mut config = rustls::ClientConfig::builder()
            .with_root_certificates(Arc::clone(&roots))
            .with_no_client_auth();
        config.alpn_protocols = offer.iter().map(|name| name.to_vec()).collect();
        let (ours, theirs) = tokio::io::duplex(16 * 1024);
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let (secured, client) = tokio::join!(tls.accept(ours), connector.connect(name, theirs));
        client.unwrap();
        assert_eq!(secured.unwrap().http2, want, "{offer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_does_not_end_is_given_up() {
    let (_folder, tls, _) = made();
    let (ours, _theirs) = tokio::io::duplex(1024);
    let started = Instant::now();
    assert!(tls.accept(ours).await.is_none());
    assert_eq!(started.elapsed(), HANDSHAKE_TIMEOUT);
}

#[tokio::test]
async fn what_is_no_handshake_is_given_up_at_once() {
    let (_folder, tls, _) = made();
    let (ours, mut theirs) = tokio::io::duplex(1024);
    theirs.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(tls.accept(ours).await.is_none());
}

#[test]
fn what_cannot_be_used_is_refused_with_its_name() {
    let (folder, _, _) = made();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let others = folder.path().join("other.pem");
    std::fs::write(&others, other.signing_key.serialize_pem()).unwrap();
    let absent = folder.path().join("absent.pem");
    for (certificate, key, named) in [
        (&absent, &key, "absent.pem"),
        (&certificate, &absent, "absent.pem"),
        (&empty, &key, "empty.pem"),
        (&certificate, &empty, "empty.pem"),
        (&certificate, &others, "cert.pem"),
    ] {
        let refused = Tls::open(certificate, key).err().map(|error| error.to_string());
        assert!(refused.as_ref().is_some_and(|text| text.contains(named)), "{refused:?}");
    }
}
