//! Case 26: over https the `go` command sends every refused request twice.

use std::path::PathBuf;
use std::sync::Arc;

use dipylon_testkit::go::Go;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName};

use crate::world::{MODULE, Setup, World, path_of};

const ABSENT: &str = "v1.9.9";

struct Tls {
    world: World,
    root: CertificateDer<'static>,
    /// The certificate as a file, for `SSL_CERT_FILE`.
    certificate: PathBuf,
    _folder: tempfile::TempDir,
}

async fn tls_world() -> Tls {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let world = Setup::disk()
        .env("ATHENS_TLSCERT_FILE", certificate.to_str().unwrap())
        .env("ATHENS_TLSKEY_FILE", key.to_str().unwrap())
        .start()
        .await;
    world.add_module();
    Tls { world, root: made.cert.der().clone(), certificate, _folder: folder }
}

/// The status and `Cache-Status` of one GET over TLS, and the protocol that was agreed on.
async fn get(tls: &Tls, path: &str) -> (u16, String, Option<Vec<u8>>) {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(tls.root.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let stream = tokio::net::TcpStream::connect(tls.world.gateway.address()).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = connector.connect(name, stream).await.unwrap();
    let protocol = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get(path).header("host", "localhost");
    let answer =
        sender.send_request(request.body(Empty::<bytes::Bytes>::new()).unwrap()).await.unwrap();
    let status = answer.status().as_u16();
    let cache_status = answer.headers()["cache-status"].to_str().unwrap().to_owned();
    answer.into_body().collect().await.unwrap();
    (status, cache_status, protocol)
}

#[tokio::test]
async fn case_26_a_404_repeated_over_https_is_answered_from_memory() {
    let tls = tls_world().await;
    let path = path_of(MODULE, ABSENT, "info");
    let (first, second) = (get(&tls, &path).await, get(&tls, &path).await);
    assert_eq!((first.0, second.0), (404, 404));
    assert!(first.1.ends_with("detail=upstream_not_found"), "{}", first.1);
    assert!(second.1.ends_with("detail=negative"), "{}", second.1);
    assert_eq!(first.2.as_deref(), Some(b"http/1.1".as_slice()));
    assert_eq!(tls.world.asked(&path), 1);
    tls.world
        .until("both are logged", || {
            tls.world
                .events()
                .iter()
                .filter(|event| event["msg"] == "request" && event["http-path"] == path.as_str())
                .count()
                == 2
        })
        .await;
}

#[tokio::test]
#[ignore = "needs the go command: it repeats what is refused over https"]
async fn case_26_the_go_command_asks_twice_over_https_and_upstream_is_asked_once() {
    let tls = tls_world().await;
    let url = format!("https://localhost:{}", tls.world.gateway.address().port());
    let certificate = tls.certificate.to_str().unwrap();
    let go = Go::new().goproxy(&url).env("SSL_CERT_FILE", certificate);
    let answer = &go.mod_download_json(&[&format!("{MODULE}@{ABSENT}")])[0];
    let error = answer["Error"].as_str().unwrap_or_default();
    assert!(error.contains("not found"), "{answer}");
    let path = path_of(MODULE, ABSENT, "info");
    let outcomes = || {
        let events = tls.world.events();
        let of_path = events.iter().filter(|event| event["http-path"] == path.as_str());
        of_path.map(|event| event["outcome"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    tls.world.until("both are logged", || outcomes().len() >= 2).await;
    // An event is written when the answer has gone, so the two may change places.
    let mut outcomes = outcomes();
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["negative", "upstream_not_found"]);
    assert_eq!(tls.world.asked(&path), 1);
}

#[tokio::test]
async fn a_handshake_that_never_begins_does_not_hold_up_the_end() {
    let mut tls = tls_world().await;
    let silent = tokio::net::TcpStream::connect(tls.world.gateway.address()).await.unwrap();
    // The next handshake is accepted after the silent one.
    assert_eq!(get(&tls, "/healthz").await.0, 200);
    let began = std::time::Instant::now();
    let status = tls.world.gateway.terminate().await;
    assert_eq!(status.code(), Some(0), "{}", tls.world.gateway.stderr());
    assert!(began.elapsed() < std::time::Duration::from_secs(8), "{:?}", began.elapsed());
    drop(silent);
}
