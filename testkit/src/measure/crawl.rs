//! Clients that ask for every file of a graph of modules, as builds on an empty cache do.

use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::graph::Graph;
use super::load::Load;

/// Clients at a time, each with a connection of its own.
pub const CLIENTS: usize = 8;

/// What came of a crawl.
#[derive(Clone, Copy, Debug)]
pub struct Crawled {
    /// Until the last byte.
    pub took: Duration,
    /// Of all bodies.
    pub bytes: u64,
}

/// Asks for everything once: each client takes the next module and asks for its three files, one after the other, which
/// it writes into files below `keep`, as `go` does.
///
/// # Panics
/// When an answer is no whole 200, or cannot be kept.
pub fn crawl(graph: &Graph, address: SocketAddr, keep: &Path) -> Crawled {
    let (paths, next) = (graph.paths(), AtomicUsize::new(0));
    let began = Instant::now();
    let bytes: u64 = std::thread::scope(|scope| {
        let client = || {
            let mut connection = Load::new(address, 1);
            let mut bytes = 0;
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(module) = paths.get(number) else { break };
                for (kind, path) in module.iter().enumerate() {
                    let kept = File::create(keep.join(format!("{number}.{kind}")));
                    let mut kept = kept.expect("a file to keep an answer in");
                    connection.body(path, &mut |chunk| {
                        bytes += chunk.len() as u64;
                        kept.write_all(chunk).expect("room for an answer");
                    });
                }
            }
            bytes
        };
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        clients.into_iter().map(|client| client.join().expect("every answer is whole")).sum()
    });
    Crawled { took: began.elapsed(), bytes }
}

/// Asks for everything and compares each file with the graph's.
///
/// # Panics
/// When one is another.
pub fn compare(graph: &Graph, address: SocketAddr) {
    let mut connection = Load::new(address, 1);
    for path in graph.paths().into_iter().flatten() {
        let mut body = Vec::new();
        connection.body(&path, &mut |chunk| body.extend_from_slice(chunk));
        assert!(body == graph.bytes(&path), "{path}: other bytes than the upstream's");
    }
}
