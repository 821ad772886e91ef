//! Stands before a server, which is reached as if it had been asked itself; on demand it answers "no such
//! object" for a while after the server took one, as some replicated stores do, or that the server is busy.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

type Body = BoxBody<Bytes, hyper::Error>;

/// The relay; gone when this is dropped.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    /// Reads that are refused from now on.
    refusals: Arc<AtomicU32>,
    task: JoinHandle<()>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct State {
    server: String,
    client: Client<HttpConnector, Incoming>,
    keeps_host: bool,
    /// How long an object cannot be read after it was written first.
    lag: Duration,
    /// When that was.
    written: Mutex<HashMap<String, Instant>>,
    refusals: Arc<AtomicU32>,
}

impl Relay {
    /// Before `server`, a host and port, which lags behind its writes.
    pub(crate) async fn lagging(server: &str, lag: Duration) -> Self {
        // The host that a client asked for is part of what it signed.
        Self::start(server, lag, true).await
    }

    /// Before `server`, a host and port, which answers under its own name alone.
    pub(crate) async fn renaming(server: &str) -> Self {
        Self::start(server, Duration::ZERO, false).await
    }

    /// Before `server`, a host and port, with nothing wrong until [`Relay::refuse`] is asked for it.
    pub(crate) async fn to(server: &str) -> Self {
        Self::start(server, Duration::ZERO, true).await
    }

    /// Answers the next reads, so many of them, with 503.
    pub(crate) fn refuse(&self, reads: u32) {
        self.refusals.store(reads, Ordering::SeqCst);
    }

    async fn start(server: &str, lag: Duration, keeps_host: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = Client::builder(TokioExecutor::new()).build_http();
        let server = server.to_owned();
        let refusals = Arc::new(AtomicU32::new(0));
        let (written, refused) = (Mutex::default(), Arc::clone(&refusals));
        let state = State { server, client, keeps_host, lag, written, refusals: refused };
        let state = Arc::new(state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&state);
                let service = service_fn(move |request| {
                    let state = Arc::clone(&state);
                    async move { Ok::<_, Infallible>(state.answer(request).await) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection);
            }
        });
        Self { address, refusals, task }
    }
}

impl State {
    async fn answer(&self, mut request: Request<Incoming>) -> Response<Body> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let reads = matches!(method, Method::GET | Method::HEAD);
        let one_less = |left: u32| left.checked_sub(1);
        let (order, found) = (Ordering::SeqCst, Ordering::SeqCst);
        if reads && self.refusals.fetch_update(order, found, one_less).is_ok() {
            return said(StatusCode::SERVICE_UNAVAILABLE, "busy");
        }
        if reads && self.is_behind(&path) {
            let body = "<Error><Code>NoSuchKey</Code><Message>not yet</Message></Error>";
            return said(StatusCode::NOT_FOUND, body);
        }
        let target = request.uri().path_and_query().expect("a path").as_str();
        let there: Uri = format!("http://{}{target}", self.server).parse().expect("a URL");
        *request.uri_mut() = there;
        if !self.keeps_host {
            // Our own client writes whom it asks.
            request.headers_mut().remove(http::header::HOST);
        }
        match self.client.request(request).await {
            Ok(answer) => {
                if answer.status().is_success() {
                    self.note(&method, &path);
                }
                answer.map(BodyExt::boxed)
            }
            Err(error) => said(StatusCode::BAD_GATEWAY, &error.to_string()),
        }
    }

    /// Notes what was written; one save of an external store is three files.
    fn note(&self, method: &Method, path: &str) {
        let files = match path.strip_suffix(".save") {
            Some(version) => ["info", "mod", "zip"].map(|kind| format!("{version}.{kind}")).into(),
            None if method == Method::PUT => vec![path.to_owned()],
            None => Vec::new(),
        };
        let mut written = self.written.lock();
        for file in files {
            written.entry(file).or_insert_with(Instant::now);
        }
    }

    fn is_behind(&self, path: &str) -> bool {
        self.written.lock().get(path).is_some_and(|written| written.elapsed() < self.lag)
    }
}

fn said(status: StatusCode, text: &str) -> Response<Body> {
    let body = Full::new(Bytes::from(text.to_owned())).map_err(|never| match never {});
    let mut response = Response::new(body.boxed());
    *response.status_mut() = status;
    response
}
