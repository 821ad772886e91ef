//! The HTTP server under the fakes: a thread with a runtime of its own, on a port of loopback.
//!
//! A runtime of its own means that a test may block its thread on the `go` command, or pause its
//! clock, while the server goes on in real time.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// Connections open at one time; further ones are closed at once.
const MAX_CONNECTIONS: usize = 16_384;

/// A body whose error cuts the connection.
pub(crate) type ServerBody = UnsyncBoxBody<Bytes, io::Error>;
/// The answer to come; an error cuts the connection without an answer.
pub(crate) type Answer = Pin<Box<dyn Future<Output = io::Result<Response<ServerBody>>> + Send>>;

/// What a server does with a request.
pub(crate) trait Handler: Send + Sync + 'static {
    fn answer(self: Arc<Self>, request: Request<Incoming>, connection: Connection) -> Answer;
}

/// The request's connection, as far as a handler may touch it.
#[derive(Clone, Default)]
pub(crate) struct Connection {
    reset: Arc<AtomicBool>,
}

impl Connection {
    /// From now on, closing the connection sends a reset in place of an orderly end.
    pub(crate) fn reset_on_close(&self) {
        self.reset.store(true, Ordering::Release);
    }
}

/// A running server; dropping it closes the port and every connection.
pub(crate) struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts on `address` (port 0 picks a free one).
    ///
    /// # Panics
    /// When the address cannot be bound.
    pub(crate) fn start(address: SocketAddr, handler: Arc<dyn Handler>) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (bound, binding) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("testkit-server".to_owned())
            .spawn(move || serve(address, handler, &bound, stopped))
            .expect("a thread can be started");
        let address = binding
            .recv()
            .expect("the server thread says whether it is bound")
            .unwrap_or_else(|error| panic!("testkit: cannot listen on {address}: {error}"));
        Self { address, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed already; a second one in a drop would abort.
            let _ = thread.join();
        }
    }
}

fn serve(
    address: SocketAddr,
    handler: Arc<dyn Handler>,
    bound: &std::sync::mpsc::Sender<io::Result<SocketAddr>>,
    stopped: oneshot::Receiver<()>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a current-thread runtime can be built");
    runtime.block_on(async {
        let listener = match TcpListener::bind(address).await {
            Ok(listener) => listener,
            Err(error) => return drop(bound.send(Err(error))),
        };
        drop(bound.send(listener.local_addr()));
        tokio::select! {
            () = accept(listener, handler) => {}
            _ = stopped => {}
        }
    });
}

async fn accept(listener: TcpListener, handler: Arc<dyn Handler>) {
    let mut connections = JoinSet::new();
    loop {
        // Ended connections are reaped here, so that the set holds open ones only.
        while connections.try_join_next().is_some() {}
        // A connection that failed before it was accepted is the client's affair.
        let Ok((stream, _)) = listener.accept().await else { continue };
        if connections.len() < MAX_CONNECTIONS {
            connections.spawn(converse(stream, handler.clone()));
        }
    }
}

async fn converse(stream: TcpStream, handler: Arc<dyn Handler>) {
    let connection = Connection::default();
    let socket = Socket { stream, connection: connection.clone() };
    // Small answers must not wait for an acknowledgement of the headers.
    let _ = socket.stream.set_nodelay(true);
    let service = service_fn(move |request| handler.clone().answer(request, connection.clone()));
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    builder.http2().timer(TokioTimer::new());
    // An error here is either a fault that a test asked for or a client that went away.
    let _ = builder.serve_connection(TokioIo::new(socket), service).await;
}

/// A stream that remembers how it is to be closed.
struct Socket {
    stream: TcpStream,
    connection: Connection,
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.connection.reset.load(Ordering::Acquire) {
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.connection.reset.load(Ordering::Acquire) {
            // An orderly end would come before the reset and hide it.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
