//! A server of HTTP on loopback that stands before a real one, sees every request, and passes it on.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, TRANSFER_ENCODING};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The largest body of a request or an answer.
const MAX_BODY_BYTES: usize = 64 << 20;

type Answering = Pin<Box<dyn Future<Output = Response<Bytes>> + Send>>;
type Answer = Arc<dyn Fn(Request<Bytes>) -> Answering + Send + Sync>;

/// A running front; dropping it closes its port.
pub(crate) struct Front {
    /// `http://HOST:PORT`.
    pub(crate) url: String,
    accepting: JoinHandle<()>,
}

impl Front {
    /// Starts one that answers with what `answer` makes of a request.
    pub(crate) async fn start<F>(
        answer: impl Fn(Request<Bytes>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Response<Bytes>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answer: Answer = Arc::new(move |request| Box::pin(answer(request)));
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(TokioIo::new(stream), Arc::clone(&answer)));
            }
        });
        Self { url, accepting }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(stream: TokioIo<tokio::net::TcpStream>, answer: Answer) {
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = Arc::clone(&answer);
        async move {
            let (head, body) = request.into_parts();
            let body =
                Limited::new(body, MAX_BODY_BYTES).collect().await.map_err(io::Error::other)?;
            let answered = answer(Request::from_parts(head, body.to_bytes())).await;
            Ok::<_, io::Error>(answered.map(Full::new))
        }
    });
    // A client that goes away is no concern of the test's.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(stream, service).await;
}

/// Passes requests on to one server.
#[derive(Clone)]
pub(crate) struct PassOn {
    client: Client<HttpConnector, Full<Bytes>>,
    server: String,
}

impl PassOn {
    /// To the server at `server`, `http://HOST:PORT`.
    pub(crate) fn to(server: &str) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { client, server: server.to_owned() }
    }

    /// Sends a request as it is, with its `Host`, to the server, and returns what that answers.
    pub(crate) async fn send(&self, request: Request<Bytes>) -> Response<Bytes> {
        let (mut head, body) = request.into_parts();
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        head.uri = format!("{}{path}", self.server).parse::<Uri>().unwrap();
        head.headers.remove(CONNECTION);
        head.headers.remove(TRANSFER_ENCODING);
        let answer = self.client.request(Request::from_parts(head, Full::new(body))).await.unwrap();
        let (mut head, body) = answer.into_parts();
        let body = Limited::new(body, MAX_BODY_BYTES).collect().await.unwrap().to_bytes();
        head.headers.remove(TRANSFER_ENCODING);
        head.headers.remove(CONNECTION);
        Response::from_parts(head, body)
    }
}
