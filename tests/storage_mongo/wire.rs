//! A line to the server that can go silent, be cut, and come back: on the same loopback port.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// What becomes of what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// It arrives.
    Whole,
    /// Nothing arrives, and nothing is said about it.
    Silent,
    /// Every connection is closed, and new ones at once.
    Cut,
}

/// The line. It is gone when this is dropped.
pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    line: watch::Sender<Line>,
    requests: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Wire {
    /// A line to `server`, a host and port, with TLS at this end if it is given.
    pub(crate) async fn to(server: &str, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (line, seen) = watch::channel(Line::Whole);
        let server: Arc<str> = server.into();
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let client = Counted { inner: client, requests: Arc::clone(&counter) };
                let (server, tls, seen) = (Arc::clone(&server), tls.clone(), seen.clone());
                tokio::spawn(async move {
                    match tls {
                        Some(tls) => {
                            if let Ok(client) = tls.accept(client).await {
                                carry(client, &server, seen).await;
                            }
                        }
                        None => carry(client, &server, seen).await,
                    }
                });
            }
        });
        Self { address, line, requests, task }
    }

    /// How often clients have said something: of small requests without TLS, about how many they were.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, line: Line) {
        self.line.send_replace(line);
    }
}

/// The end of a client that counts what it says.
struct Counted {
    inner: TcpStream,
    requests: Arc<AtomicUsize>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.requests.fetch_add(1, Ordering::Relaxed);
        }
        polled
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

async fn carry(
    mut client: impl AsyncRead + AsyncWrite + Unpin,
    server: &str,
    mut seen: watch::Receiver<Line>,
) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    loop {
        let line = *seen.borrow_and_update();
        tokio::select! {
            _ = copy_bidirectional(&mut client, &mut server), if line == Line::Whole => return,
            changed = seen.changed(), if line != Line::Cut => {
                if changed.is_err() {
                    return;
                }
            }
            else => return,
        }
    }
}
