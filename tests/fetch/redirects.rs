//! Redirects, TLS and HTTP proxies: what needs servers that are odd at the level of HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use dipylon::fetch::http_client::{HttpClient, HttpClientConfig};
use dipylon_middleware::ErrorKind;
use dipylon_middleware::request::FetchAsk;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::{Fault, Upstream, When};
use http::{Request, Response, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{
    ESCAPED, MODULE, VERSION, config, fetch, go_mod, http, proxy, proxy_with, refused, zip,
};

/// An HTTP/1 answer, byte for byte.
pub(crate) fn raw_answer(status: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let length = format!("Content-Length: {}", body.len());
    let mut answer = format!("HTTP/1.1 {status}\r\nConnection: close\r\n{length}\r\n");
    for header in headers {
        answer.push_str(header);
        answer.push_str("\r\n");
    }
    answer.push_str("\r\n");
    let mut answer = answer.into_bytes();
    answer.extend_from_slice(body);
    answer
}

async fn head_of(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await.unwrap_or(0) == 0 {
            break;
        }
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// A server that gives each connection the next of `answers`, then holds it open for a while.
pub(crate) async fn raw_server(answers: Vec<Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            head_of(&mut stream).await;
            stream.write_all(&answer).await.unwrap();
            tokio::spawn(async move {
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest).await;
            });
        }
    });
    url
}

/// A server whose every answer is a 404 that names its connection.
pub(crate) async fn raw_keep_alive_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        for number in 1.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                while !head_of(&mut stream).await.is_empty() {
                    let body = format!("connection {number}");
                    let length = body.len();
                    let answer = format!(
                        "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\n\
                         Content-Length: {length}\r\n\r\n{body}"
                    );
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    url
}

// Case 27.
#[tokio::test]
async fn every_kind_of_redirect_is_followed() {
    let (front, store) = (Upstream::start().await, Upstream::start().await);
    let module = FakeModule::new(MODULE, VERSION);
    store.add(module.clone());
    let client = proxy(&front);
    for status in [301, 302, 303, 307, 308] {
        for (file, ask, want) in
            [("mod", go_mod(), module.go_mod_bytes()), ("zip", zip(), module.zip())]
        {
            let location = format!("{}{ESCAPED}/@v/{VERSION}.{file}?signature=secret", store.url());
            front.fault(When::any().times(1), Fault::Redirect(status, location));
            assert_eq!(fetch(&client, ask).await.unwrap(), want, "{status} {file}");
        }
    }
}

// Case 27: the store must not see the proxy's credentials.
#[tokio::test]
async fn authorization_stays_with_its_host() {
    let (front, store) = (Upstream::start().await, Upstream::start().await);
    store.add(FakeModule::new(MODULE, VERSION));
    let url = front.url().replace("http://", "http://user:pw@");
    let client = proxy_with(http(), &url);
    let hop = format!("{}/hop", front.url());
    front.fault(When::suffix(".zip"), Fault::Redirect(302, hop));
    let location = format!("{}{ESCAPED}/@v/{VERSION}.zip", store.url());
    front.fault(When::path("/hop"), Fault::Redirect(302, location));
    fetch(&client, zip()).await.unwrap();
    let sent = |requests: Vec<dipylon_testkit::upstream::Recorded>| -> Vec<bool> {
        requests.iter().map(|seen| seen.headers.contains_key("authorization")).collect()
    };
    assert_eq!(sent(front.requests()), [true, true], "the same host keeps it");
    assert_eq!(sent(store.requests()), [false], "another host never sees it");
}

#[tokio::test]
async fn ten_redirects_are_followed_and_no_eleventh() {
    let upstream = Upstream::start().await;
    let module = FakeModule::new(MODULE, VERSION);
    upstream.add(module.clone());
    let client = proxy(&upstream);
    let again = format!("{ESCAPED}/@v/{VERSION}.mod");
    upstream.fault(When::path(&again).times(10), Fault::Redirect(302, again.clone()));
    assert_eq!(fetch(&client, go_mod()).await.unwrap(), module.go_mod_bytes());
    upstream.clear_requests();
    upstream.fault(When::path(&again), Fault::Redirect(302, again.clone()));
    let error = refused(&client, go_mod()).await;
    assert_eq!(error.kind(), ErrorKind::UpstreamFailed);
    assert!(error.message().contains("more than 10 times"), "{error}");
    assert_eq!(upstream.total(), 11);
}

#[tokio::test]
async fn an_error_behind_a_redirect_names_the_url_asked_first() {
    let (front, store) = (Upstream::start().await, Upstream::start().await);
    let location = format!("{}/missing.zip?signature=secret", store.url());
    front.fault(When::any(), Fault::Redirect(302, location));
    let error = refused(&proxy(&front), zip()).await;
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().starts_with(&front.url()), "{error}");
    assert!(!error.message().contains("secret"), "{error}");
}

#[tokio::test]
async fn redirects_that_lead_nowhere_are_failures() {
    let upstream = Upstream::start().await;
    for location in ["ftp://store.test/x", "file:///etc/passwd", "http://", "http://\u{1}/"] {
        let bare = raw_answer("302 Found", &[&format!("Location: {location}")], b"");
        let url = raw_server(vec![bare]).await;
        let error = refused(&proxy_with(http(), &url), zip()).await;
        assert_eq!(error.kind(), ErrorKind::UpstreamFailed, "{location:?}: {error}");
    }
    let url = raw_server(vec![raw_answer("302 Found", &[], b"")]).await;
    let error = refused(&proxy_with(http(), &url), zip()).await;
    assert!(error.message().contains("without a Location"), "{error}");
    drop(upstream);
}

/// A TLS server for `localhost` that redirects to `location`, or says which protocol it spoke.
struct TlsServer {
    url: String,
    root: CertificateDer<'static>,
    connections: Arc<AtomicUsize>,
}

async fn tls_server(location: Option<String>) -> TlsServer {
    let made = rcgen::generate_simple_self_signed(["localhost", "mirror.test"].map(str::to_owned))
        .unwrap();
    let root = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![root.clone()], key)
        .unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            let (acceptor, location) = (acceptor.clone(), location.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = service_fn(move |request: Request<Incoming>| {
                    let answer = tls_answer(&request, location.as_deref());
                    async move { Ok::<_, std::convert::Infallible>(answer) }
                });
                let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    TlsServer { url, root, connections }
}

fn tls_answer(request: &Request<Incoming>, location: Option<&str>) -> Response<Full<Bytes>> {
    match location {
        Some(location) => Response::builder()
            .status(302)
            .header("location", location)
            .body(Full::default())
            .unwrap(),
        None => {
            let h2 = request.version() == Version::HTTP_2;
            let version = if h2 { "v2.0.0" } else { "v1.1.0" };
            Response::new(Full::from(format!("{version}\n")))
        }
    }
}

fn trusting(server: &TlsServer) -> HttpClient {
    let extra_roots = vec![server.root.clone()];
    HttpClient::new(&HttpClientConfig { extra_roots, ..config() }).unwrap()
}

#[tokio::test]
async fn http2_is_spoken_over_tls_on_one_connection() {
    let server = tls_server(None).await;
    let client = proxy_with(trusting(&server), &server.url);
    assert_eq!(fetch(&client, FetchAsk::List).await.unwrap(), "v2.0.0\n");
    let parallel = (0..20).map(|_| fetch(&client, FetchAsk::List));
    for answer in futures::future::join_all(parallel).await {
        assert_eq!(answer.unwrap(), "v2.0.0\n");
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_redirect_from_https_to_http_is_refused_before_it_is_asked() {
    let plain = Upstream::start().await;
    plain.add(FakeModule::new(MODULE, VERSION));
    let server = tls_server(Some(format!("{}{ESCAPED}/@v/{VERSION}.zip", plain.url()))).await;
    let error = refused(&proxy_with(trusting(&server), &server.url), zip()).await;
    assert_eq!(error.kind(), ErrorKind::UpstreamFailed);
    assert!(error.message().contains("from https to http"), "{error}");
    assert_eq!(plain.total(), 0);
}

#[tokio::test]
async fn an_unknown_certificate_is_refused() {
    let server = tls_server(None).await;
    let error = refused(&proxy_with(http(), &server.url), FetchAsk::List).await;
    assert_eq!(error.kind(), ErrorKind::UpstreamFailed);
    assert!(error.message().contains("certificate"), "{error}");
}

/// An HTTP proxy that records the heads it is sent; a CONNECT is tunnelled to `target`, and anything
/// else is answered with an empty list.
async fn http_proxy(target: String) -> (String, Arc<parking_lot::Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let heads = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (seen, target) = (Arc::clone(&seen), target.clone());
            tokio::spawn(async move {
                let head = head_of(&mut stream).await;
                let is_connect = head.starts_with("CONNECT ");
                seen.lock().push(head);
                if !is_connect {
                    let answer = raw_answer("200 OK", &["Content-Type: text/plain"], b"v1.5.0\n");
                    stream.write_all(&answer).await.unwrap();
                    return;
                }
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                let mut far = TcpStream::connect(target).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut far).await;
            });
        }
    });
    (address, heads)
}

#[tokio::test]
async fn http_goes_through_the_http_proxy_with_its_credentials() {
    let (address, heads) = http_proxy(String::new()).await;
    let environment = |name: &str| match name {
        "http_proxy" => Some(format!("http://me:pw@{address}")),
        "NO_PROXY" => Some("straight.test".to_owned()),
        _ => None,
    };
    let http = HttpClient::new(&config().with_http_proxies(&environment)).unwrap();
    let client = proxy_with(http.clone(), "http://mirror.test/go");
    assert_eq!(fetch(&client, FetchAsk::List).await.unwrap(), "v1.5.0\n");
    let head = heads.lock()[0].to_lowercase();
    assert!(head.starts_with("get http://mirror.test/go/example.com/a/!b/@v/list"), "{head}");
    assert!(head.contains("proxy-authorization: basic bwu6chc="), "{head}");
    // NO_PROXY and this machine itself are reached straight.
    let error = refused(&proxy_with(http.clone(), "http://straight.test"), FetchAsk::List).await;
    assert_eq!(error.kind(), ErrorKind::UpstreamFailed, "{error}");
    let upstream = Upstream::start().await;
    upstream.add_path(MODULE);
    fetch(&proxy_with(http, &upstream.url()), FetchAsk::List).await.unwrap();
    assert_eq!(heads.lock().len(), 1);
}

#[tokio::test]
async fn https_goes_through_a_tunnel() {
    let server = tls_server(None).await;
    let port = server.url.rsplit(':').next().unwrap().to_owned();
    let (address, heads) = http_proxy(format!("127.0.0.1:{port}")).await;
    let extra_roots = vec![server.root.clone()];
    let https_proxy = format!("http://me:pw@{address}");
    let http = HttpClient::new(&HttpClientConfig { extra_roots, https_proxy, ..config() }).unwrap();
    // The name must not be this machine's, which is never proxied.
    let client = proxy_with(http, &format!("https://mirror.test:{port}"));
    assert_eq!(fetch(&client, FetchAsk::List).await.unwrap(), "v2.0.0\n");
    let heads = heads.lock();
    assert!(heads[0].starts_with(&format!("CONNECT mirror.test:{port} HTTP/1.1")), "{heads:?}");
    assert!(heads[0].contains("Proxy-Authorization: Basic bWU6cHc="), "{heads:?}");
    assert_eq!(heads.len(), 1);
}
