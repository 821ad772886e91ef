//! A line to a server, which can be cut and mended, or held.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Read at once from a server.
const PIECE_BYTES: usize = 16 * 1024;

/// Passes connections on until it is dropped.
pub(crate) struct Line {
    pub(crate) address: SocketAddr,
    is_cut: Arc<AtomicBool>,
    /// Changes when it is cut.
    cuts: watch::Sender<()>,
    /// Whether nothing is passed on.
    held: watch::Sender<bool>,
    /// Whether what the server says is lost.
    is_mute: Arc<AtomicBool>,
    task: AbortHandle,
}

impl Line {
    /// To a server at a host and port.
    pub(crate) async fn to(server: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let (is_cut, cuts) = (Arc::new(AtomicBool::new(false)), watch::Sender::new(()));
        let (held, is_mute) = (watch::Sender::new(false), Arc::new(AtomicBool::new(false)));
        let (closed, cut, server) = (Arc::clone(&is_cut), cuts.clone(), server.to_owned());
        let (holds, mute) = (held.clone(), Arc::clone(&is_mute));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if closed.load(Ordering::SeqCst) {
                    continue;
                }
                let (server, mut cut) = (server.clone(), cut.subscribe());
                let (held, mute) = (holds.subscribe(), Arc::clone(&mute));
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(&server).await else { return };
                    tokio::select! {
                        () = pass_on(client, server, held, &mute) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Self { address, is_cut, cuts, held, is_mute, task: task.abort_handle() }
    }

    /// From now on nothing is passed on, and no connection breaks: questions stay without an answer.
    pub(crate) fn hold(&self) {
        self.held.send_replace(true);
    }

    /// From now on questions reach the server, and its answers are lost.
    pub(crate) fn mute(&self) {
        self.is_mute.store(true, Ordering::SeqCst);
    }

    /// Breaks all connections, and takes no more.
    pub(crate) fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
        self.cuts.send_replace(());
    }

    /// Takes connections again.
    pub(crate) fn mend(&self) {
        self.is_cut.store(false, Ordering::SeqCst);
    }
}

/// Until both sides end; not a byte while the line is held.
async fn pass_on(
    client: TcpStream,
    server: TcpStream,
    mut held: watch::Receiver<bool>,
    is_mute: &AtomicBool,
) {
    let ((mut asks, hears), (answers, mut told)) = (client.into_split(), server.into_split());
    let mut copying = pin!(async {
        tokio::join!(
            async {
                // A side that breaks off ends the other, and nothing else is to be told of it.
                let _ = copy(&mut asks, &mut told).await;
                let _ = told.shutdown().await;
            },
            pass_answers_on(answers, hears, is_mute),
        );
    });
    loop {
        let is_held = tokio::select! {
            biased;
            held = async { held.wait_for(|held| *held).await.is_ok() } => held,
            _ = &mut copying => return,
        };
        // Without the line itself nothing is to be passed on either.
        if !is_held || held.wait_for(|held| !*held).await.is_err() {
            return;
        }
    }
}

async fn pass_answers_on(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, is_mute: &AtomicBool) {
    let mut piece = vec![0; PIECE_BYTES];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        let is_lost = is_mute.load(Ordering::SeqCst);
        if !is_lost && to.write_all(&piece[..length]).await.is_err() {
            break;
        }
    }
    // The client may be gone by then.
    let _ = to.shutdown().await;
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}
