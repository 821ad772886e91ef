//! A line to a server, which can be cut and mended, or held.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Passes connections on until it is dropped.
pub(crate) struct Line {
    pub(crate) address: SocketAddr,
    is_cut: Arc<AtomicBool>,
    /// Changes when it is cut.
    cuts: watch::Sender<()>,
    /// Whether nothing is passed on.
    held: watch::Sender<bool>,
    task: AbortHandle,
}

impl Line {
    /// To a server at a host and port.
    pub(crate) async fn to(server: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let (is_cut, cuts) = (Arc::new(AtomicBool::new(false)), watch::Sender::new(()));
        let held = watch::Sender::new(false);
        let (closed, cut, server) = (Arc::clone(&is_cut), cuts.clone(), server.to_owned());
        let holds = held.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                if closed.load(Ordering::SeqCst) {
                    continue;
                }
                let (server, mut cut) = (server.clone(), cut.subscribe());
                let held = holds.subscribe();
                tokio::spawn(async move {
                    let Ok(mut server) = TcpStream::connect(&server).await else { return };
                    tokio::select! {
                        () = pass_on(&mut client, &mut server, held) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Self { address, is_cut, cuts, held, task: task.abort_handle() }
    }

    /// From now on nothing is passed on, and no connection breaks: questions stay without an answer.
    pub(crate) fn hold(&self) {
        self.held.send_replace(true);
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

/// Until one side ends; not a byte while the line is held.
async fn pass_on(client: &mut TcpStream, server: &mut TcpStream, mut held: watch::Receiver<bool>) {
    let mut copying = pin!(copy_bidirectional(client, server));
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

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}
