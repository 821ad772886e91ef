//! A client that keeps its connections.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::reader::Reader;

/// Connections, each with one request in hand: as many as share a wake-up of a server with some load, which is how
/// it is spoken to from behind a load balancer.
pub const CONNECTIONS: usize = 16;

/// Open connections to one server.
pub struct Load {
    connections: Vec<Reader>,
}

impl Load {
    /// So many of them.
    ///
    /// # Panics
    /// When nothing listens there.
    pub fn new(address: SocketAddr, connections: usize) -> Self {
        Self { connections: (0..connections).map(|_| Reader::connect(address)).collect() }
    }

    /// So many GETs, each of which must be a whole 200. Every connection has one in hand all the time, as
    /// a server under load sees it.
    ///
    /// # Panics
    /// When an answer is another one.
    pub fn get(&mut self, path: &str, requests: usize) {
        self.get_each(|_| path, requests);
    }

    /// The same, each of its own path: by the number of the request.
    ///
    /// # Panics
    /// When an answer is another one.
    pub fn get_each<'a>(&mut self, path: impl Fn(usize) -> &'a str, requests: usize) {
        let busy = requests.min(self.connections.len());
        for (number, connection) in self.connections[..busy].iter_mut().enumerate() {
            connection.ask(path(number));
        }
        for answered in 0..requests {
            let next = &mut self.connections[answered % busy];
            next.answer(&mut |_| ());
            if answered + busy < requests {
                next.ask(path(answered + busy));
            }
        }
    }

    /// One GET while no other is under way: how long it takes until the last byte of its answer.
    ///
    /// # Panics
    /// When the answer is no whole 200.
    pub fn one(&mut self, path: &str) -> Duration {
        let began = Instant::now();
        self.body(path, &mut |_| ());
        began.elapsed()
    }

    /// One GET, whose bytes are shown as they come.
    ///
    /// # Panics
    /// When the answer is no whole 200.
    pub fn body(&mut self, path: &str, body: &mut dyn FnMut(&[u8])) {
        self.connections[0].ask(path);
        self.connections[0].answer(body);
    }
}

impl std::fmt::Debug for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Load of {} connections", self.connections.len())
    }
}
