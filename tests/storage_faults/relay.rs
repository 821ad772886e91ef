//! Stands before a server, which is reached as if it had been asked itself; on demand it answers "no such
//! object" for a while after the server took one, as some replicated stores do, or that the server is busy,
//! or breaks a list off in the middle.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long the first bytes of an answer that breaks off have.
const BEFORE_A_BREAK: Duration = Duration::from_millis(50);

type Body = BoxBody<Bytes, io::Error>;

/// The relay; gone when this is dropped.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    trouble: Arc<Trouble>,
    task: JoinHandle<()>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What is wrong from now on.
#[derive(Debug, Default)]
struct Trouble {
    /// Reads that are refused.
    refusals: AtomicU32,
    /// Pages of a list that break off.
    breaks: AtomicU32,
    /// What stays without an answer, and does not reach the server: what has this in its path.
    held: watch::Sender<Option<String>>,
    /// Whose turn it is among those.
    turn: tokio::sync::Mutex<()>,
}

impl Trouble {
    fn holds(&self, path: &str) -> bool {
        self.held.borrow().as_ref().is_some_and(|piece| path.contains(piece))
    }

    async fn let_go(&self) {
        // The sender is ours, so the wait cannot fail.
        let _ = self.held.subscribe().wait_for(Option::is_none).await;
    }

    /// Takes one of so many.
    fn takes(count: &AtomicU32) -> bool {
        let one_less = |left: u32| left.checked_sub(1);
        count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok()
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
    trouble: Arc<Trouble>,
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
        self.trouble.refusals.store(reads, Ordering::SeqCst);
    }

    /// Breaks the next pages of a list, so many of them, off in the middle.
    pub(crate) fn break_off(&self, pages: u32) {
        self.trouble.breaks.store(pages, Ordering::SeqCst);
    }

    /// From now on what has this in its path stays without an answer, and is not passed on.
    #[allow(dead_code, reason = "a fault of the suite of locks")]
    pub(crate) fn hold(&self, piece: &str) {
        self.trouble.held.send_replace(Some(piece.to_owned()));
    }

    /// Passes on what was held, one after the other in the order in which it came, also what its client does not
    /// wait for any more; and holds nothing from now on.
    #[allow(dead_code, reason = "a fault of the suite of locks")]
    pub(crate) fn let_go(&self) {
        self.trouble.held.send_replace(None);
    }

    /// How many of those are still to come.
    pub(crate) fn breaks_left(&self) -> u32 {
        self.trouble.breaks.load(Ordering::SeqCst)
    }

    async fn start(server: &str, lag: Duration, keeps_host: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = Client::builder(TokioExecutor::new()).build_http();
        let server = server.to_owned();
        let trouble = Arc::new(Trouble::default());
        let (written, made) = (Mutex::default(), Arc::clone(&trouble));
        let state = Arc::new(State { server, client, keeps_host, lag, written, trouble: made });
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
        Self { address, trouble, task }
    }
}

impl State {
    async fn answer(self: &Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        if self.trouble.holds(&path) {
            // On a task of its own: a busy server comes to a question that its client has given up.
            let (state, trouble) = (Arc::clone(self), Arc::clone(&self.trouble));
            let passed_on = tokio::spawn(async move {
                let _turn = trouble.turn.lock().await;
                trouble.let_go().await;
                state.pass_on(request).await
            });
            return match passed_on.await {
                Ok(answer) => answer,
                Err(error) => said(StatusCode::BAD_GATEWAY, &error.to_string()),
            };
        }
        let reads = matches!(method, Method::GET | Method::HEAD);
        if reads && Trouble::takes(&self.trouble.refusals) {
            return said(StatusCode::SERVICE_UNAVAILABLE, "busy");
        }
        if reads && self.is_behind(&path) {
            let body = "<Error><Code>NoSuchKey</Code><Message>not yet</Message></Error>";
            return said(StatusCode::NOT_FOUND, body);
        }
        self.pass_on(request).await
    }

    async fn pass_on(&self, mut request: Request<Incoming>) -> Response<Body> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let lists = method == Method::GET && is_of_a_list(request.uri());
        let target = request.uri().path_and_query().expect("a path").as_str();
        let there: Uri = format!("http://{}{target}", self.server).parse().expect("a URL");
        *request.uri_mut() = there;
        if !self.keeps_host {
            // Our own client writes whom it asks.
            request.headers_mut().remove(http::header::HOST);
        }
        match self.client.request(request).await {
            Ok(answer) if lists && Trouble::takes(&self.trouble.breaks) => half(answer),
            Ok(answer) => {
                if answer.status().is_success() {
                    self.note(&method, &path);
                }
                answer.map(|body| body.map_err(io::Error::other).boxed())
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

/// A page of a list, of S3 or Azure by its query, of Google or the external protocol by its path.
fn is_of_a_list(uri: &Uri) -> bool {
    let mut pairs = uri.query().unwrap_or_default().split('&');
    pairs.any(|pair| matches!(pair, "list-type=2" | "comp=list"))
        || uri.path().starts_with("/storage/v1/b/") && uri.path().ends_with("/o")
        || uri.path().ends_with("/catalog")
}

/// An answer that breaks off after its first bytes.
fn half(answer: Response<Incoming>) -> Response<Body> {
    let (mut head, _) = answer.into_parts();
    head.headers.remove(http::header::CONTENT_LENGTH);
    let begins = Frame::data(Bytes::from_static(b"<?xml version=\"1.0\""));
    let breaks = async {
        // What was said before has to be on its way: else the answer has no head either.
        tokio::time::sleep(BEFORE_A_BREAK).await;
        Err(io::Error::other("broken off"))
    };
    let parts = stream::once(async { Ok(begins) }).chain(stream::once(breaks));
    Response::from_parts(head, BodyExt::boxed(StreamBody::new(parts)))
}

fn said(status: StatusCode, text: &str) -> Response<Body> {
    let body = Full::new(Bytes::from(text.to_owned())).map_err(|never| match never {});
    let mut response = Response::new(body.boxed());
    *response.status_mut() = status;
    response
}
