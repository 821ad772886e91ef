//! The accept loop, and the drain.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dipylon_middleware::body::Body;
use dipylon_middleware::request_context::{Arrival, Connection};
use dipylon_middleware::stack::Border;
use dipylon_middleware::telemetry::{InFlight, Telemetry};
use http::{Method, Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::listener::{Listener, Stream};
use super::request_body::RequestBody;
use super::stall_guard::StallGuard;
use super::tls::{Secured, Tls};

/// What the server calls: the whole edge stack.
pub type Edge = Border<Arrival, Response<Body>>;

/// From the first byte of a request's head to its last, and between requests of one connection. The
/// `go` command closes idle connections after 90 s: it shall be the one to close.
const HEAD_TIMEOUT: Duration = Duration::from_secs(120);
/// A client may take nothing of an answer for this long.
const STALL_MAX: Duration = Duration::from_secs(300);
/// Once the server is to stop, a connection on which no request has come yet is given this long: one
/// may be on its way.
const FIRST_REQUEST_GRACE: Duration = Duration::from_secs(1);
/// Pause after a failed accept, so that a full descriptor table does not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes of a request's head, path included.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Streams of one HTTP/2 connection at a time.
const STREAMS_MAX: u32 = 256;

/// The places for connections; clones share them.
#[derive(Clone, Debug)]
pub struct Connections {
    places: Arc<Semaphore>,
    most: usize,
}

impl Connections {
    /// Room for so many.
    pub fn new(most: usize) -> Self {
        let most = most.min(Semaphore::MAX_PERMITS);
        Self { places: Arc::new(Semaphore::new(most)), most }
    }

    /// Connections that are open, and how many there may be.
    pub fn open(&self) -> (usize, usize) {
        (self.most.saturating_sub(self.places.available_permits()), self.most)
    }
}

/// What the server is told.
#[derive(Clone)]
pub struct ServerConfig {
    /// Connections at a time; more are closed as they come.
    pub connections: Connections,
    /// With it, connections are TLS.
    pub tls: Option<Tls>,
}

/// Which requests bring a body that somebody reads; any other is left to hyper to discard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bodies {
    /// None.
    OfNone,
    /// POST: what changes something at an operator's word.
    OfPosts,
    /// All.
    OfAll,
}

impl Bodies {
    fn include(self, method: &Method) -> bool {
        match self {
            Self::OfNone => false,
            Self::OfPosts => method == Method::POST,
            Self::OfAll => true,
        }
    }
}

/// Serves the edge stack on one listener.
pub struct Server {
    edge: Edge,
    connections: Connections,
    tls: Option<Tls>,
    bodies: Bodies,
    /// Cancelled when nobody is accepted any more.
    stopping: CancellationToken,
    telemetry: Telemetry,
}

impl Server {
    /// Over the edge stack.
    pub fn new(config: ServerConfig, edge: Edge, telemetry: &Telemetry) -> Self {
        Self {
            edge,
            connections: config.connections,
            tls: config.tls,
            bodies: Bodies::OfNone,
            stopping: CancellationToken::new(),
            telemetry: telemetry.clone(),
        }
    }

    /// Hands these bodies of requests on, as a [`RequestBody`] among their extensions.
    #[must_use]
    pub fn keeping_bodies(mut self, bodies: Bodies) -> Self {
        self.bodies = bodies;
        self
    }

    /// Accepts until `stop` resolves, then waits until every open request has ended. The caller
    /// bounds that wait.
    pub async fn run(self, listener: Listener, stop: impl Future<Output = ()>) {
        let server = Arc::new(self);
        let graceful = GracefulShutdown::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            let accepted = tokio::select! {
                () = &mut stop => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let Some(place) = server.admit() else { continue };
                    let watcher = graceful.watcher();
                    let server = Arc::clone(&server);
                    tokio::spawn(
                        async move { server.connection(stream, peer, place, watcher).await },
                    );
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        // Nobody connects from here on; who is connected is told to go.
        drop(listener);
        server.stopping.cancel();
        graceful.shutdown().await;
    }

    fn admit(&self) -> Option<OwnedSemaphorePermit> {
        let place = Arc::clone(&self.connections.places).try_acquire_owned().ok();
        if place.is_none() {
            self.telemetry.metrics.connections_shed.get(()).inc();
        }
        place
    }

    async fn connection(
        &self,
        stream: Stream,
        peer: Option<SocketAddr>,
        place: OwnedSemaphorePermit,
        watcher: Watcher,
    ) {
        let _open = InFlight::enter(self.telemetry.metrics.connections.get(()));
        let secure = self.tls.is_some();
        let connection = Connection { peer, secure };
        match &self.tls {
            None => self.serve(stream, connection, false, watcher).await,
            Some(tls) => {
                let shaken = tokio::select! {
                    shaken = tls.accept(stream) => shaken,
                    () = self.grace() => return,
                };
                if let Some(Secured { stream, http2 }) = shaken {
                    self.serve(stream, connection, http2, watcher).await;
                }
            }
        }
        drop(place);
    }

    /// Ends when a connection without a request has been waited for long enough.
    async fn grace(&self) {
        self.stopping.cancelled().await;
        tokio::time::sleep(FIRST_REQUEST_GRACE).await;
    }

    async fn serve<S>(&self, stream: S, connection: Connection, http2: bool, watcher: Watcher)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let edge = self.edge.clone();
        let begun = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&begun);
        let bodies = self.bodies;
        let service = service_fn(move |request: Request<Incoming>| {
            seen.store(true, Ordering::Relaxed);
            let is_kept = bodies.include(request.method());
            let request = if is_kept { RequestBody::apart(request) } else { request.map(drop) };
            edge.send(Arrival { connection, ..request.into() })
        });
        let stream = TokioIo::new(StallGuard::new(stream, STALL_MAX));
        // Not detected from the first bytes, for which there would be no timeout: TLS says which it
        // is, and plain connections are HTTP/1.
        let builder = if http2 { builder().http2_only() } else { builder().http1_only() };
        let serving = builder.serve_connection(stream, service).into_owned();
        // A head that never ends is waited for by hyper as an open request is: not in a drain.
        let never_begins = async {
            self.grace().await;
            if begun.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            served = watcher.watch(serving) => {
                if let Err(error) = served {
                    tracing::debug!(%error, "a connection ended early");
                }
            }
            () = never_begins => {}
        }
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(Some(HEAD_TIMEOUT));
    builder
}
