//! Servers that are measured in turn, round by round: what else the machine does, and how fast it is at the moment,
//! falls on all of them, so what one costs beside another can be told where neither can be told alone.

use std::net::SocketAddr;
use std::time::Duration;

use super::load::Load;
use super::used::Used;

/// A server to be measured.
#[derive(Clone, Debug)]
pub struct Server {
    /// Of its row.
    pub name: String,
    /// Its process.
    pub pid: u32,
    /// Where it listens.
    pub address: SocketAddr,
}

/// Measures them, each with so many connections, and so many requests in each of its two turns of a round.
#[derive(Clone, Copy, Debug)]
pub struct Turns<'a> {
    /// In the order of the rows.
    pub servers: &'a [Server],
    /// What is asked for.
    pub path: &'a str,
    /// To each server.
    pub connections: usize,
    /// In each turn.
    pub requests: usize,
    /// How often.
    pub rounds: usize,
}

impl Turns<'_> {
    /// Of each round what a request costs each server, in CPU time, after one that warms them up.
    ///
    /// # Panics
    /// When a server has ended, or answers anything but a whole 200.
    pub fn measure(&self) -> Vec<Vec<Duration>> {
        let begin = |server: &Server| {
            let load = Load::new(server.address, self.connections);
            (server.clone(), load, Used::now(server.pid))
        };
        let mut sides: Vec<_> = self.servers.iter().map(begin).collect();
        let rounds: Vec<_> = (0..=self.rounds).map(|_| self.one(&mut sides)).collect();
        rounds[1..].to_vec()
    }

    /// There and back, so that whoever comes first in one half comes last in the other. All that a server does from
    /// the end of its last turn to the end of this one counts: lines that are written and traces that are sent after
    /// the requests that they are about, too.
    fn one(&self, sides: &mut [(Server, Load, Used)]) -> Vec<Duration> {
        let mut used = vec![Duration::ZERO; sides.len()];
        for side in (0..sides.len()).chain((0..sides.len()).rev()) {
            let (server, load, before) = &mut sides[side];
            load.get(self.path, self.requests);
            let now = Used::now(server.pid);
            used[side] += now.since(before);
            *before = now;
        }
        let of_one = |used: Duration| used.div_f64(2.0 * self.requests as f64);
        // A request or two may cost less than the clock can tell.
        used.into_iter().map(|used| of_one(used).max(Duration::from_nanos(1))).collect()
    }
}
