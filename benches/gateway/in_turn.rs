//! Servers that are measured in turn, round by round: what else the machine does, and how fast it is at the moment,
//! falls on all of them, so what one costs beside another can be told where neither can be told alone.

use std::net::SocketAddr;
use std::time::Duration;

use criterion::Criterion;

use crate::load::{Load, Used};

/// A build that only shows that everything runs does little.
const IS_SHORT: bool = cfg!(debug_assertions);
/// Rounds; each is a sample.
const ROUNDS: usize = if IS_SHORT { 10 } else { 24 };
/// Requests to each server in one of its two turns of a round, where that is less than is asked for.
const REQUESTS_OF_A_SHORT_TURN: usize = 4;

/// A server to be measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Server {
    /// Of its row.
    pub(crate) name: &'static str,
    pub(crate) pid: u32,
    pub(crate) address: SocketAddr,
}

/// Measures them, each with so many connections, and so many requests in each of its turns.
pub(crate) struct InTurn<'a> {
    pub(crate) group: String,
    pub(crate) servers: &'a [Server],
    pub(crate) path: &'a str,
    pub(crate) connections: usize,
    pub(crate) requests: usize,
}

impl InTurn<'_> {
    /// A row for each. The last is what the others are compared with, in words.
    pub(crate) fn bench(&self, criterion: &mut Criterion) {
        let mut rounds = Vec::new();
        let mut group = criterion.benchmark_group(self.group.clone());
        // A round is a sample; it was measured when it is asked for, so there is nothing to warm up.
        group.sample_size(ROUNDS).warm_up_time(Duration::from_nanos(1));
        for (side, server) in self.servers.iter().enumerate() {
            let mut told = 0;
            group.bench_function(server.name, |bencher| {
                if rounds.is_empty() {
                    rounds = self.all();
                }
                bencher.iter_custom(|times| {
                    told += 1;
                    rounds[told % ROUNDS][side].mul_f64(times as f64)
                });
            });
        }
        group.finish();
        // Where others were asked for there are none.
        if !rounds.is_empty() {
            self.compare(&rounds);
        }
    }

    /// Of each round what a request costs each server, after one that warms them up.
    fn all(&self) -> Vec<Vec<Duration>> {
        let begin = |server: &Server| {
            let load = Load::new(server.address, self.connections);
            (*server, load, Used::now(server.pid))
        };
        let mut sides: Vec<_> = self.servers.iter().map(begin).collect();
        let rounds: Vec<_> = (0..=ROUNDS).map(|_| self.one(&mut sides)).collect();
        rounds[1..].to_vec()
    }

    /// There and back, so that whoever comes first in one half comes last in the other. All that a server does from
    /// the end of its last turn to the end of this one counts: lines that are written and traces that are sent after
    /// the requests that they are about, too.
    fn one(&self, sides: &mut [(Server, Load, Used)]) -> Vec<Duration> {
        let requests = if IS_SHORT { REQUESTS_OF_A_SHORT_TURN } else { self.requests };
        let mut used = vec![Duration::ZERO; sides.len()];
        for side in (0..sides.len()).chain((0..sides.len()).rev()) {
            let (server, load, before) = &mut sides[side];
            load.get(self.path, requests);
            let now = Used::now(server.pid);
            used[side] += now.since(before);
            *before = now;
        }
        let of_one = |used: Duration| used.div_f64(2.0 * requests as f64);
        // A request or two may cost less than the clock can tell.
        used.into_iter().map(|used| of_one(used).max(Duration::from_nanos(1))).collect()
    }

    fn compare(&self, rounds: &[Vec<Duration>]) {
        let Some((base, others)) = self.servers.split_last() else { return };
        for (side, server) in others.iter().enumerate() {
            let ratio = |round: &Vec<Duration>| {
                round[side].as_secs_f64() / round[others.len()].as_secs_f64()
            };
            let mut ratios: Vec<f64> = rounds.iter().map(ratio).collect();
            ratios.sort_by(f64::total_cmp);
            let at = |quarters: usize| ratios[(ratios.len() - 1) * quarters / 4];
            let (group, name, base) = (&self.group, server.name, base.name);
            let (median, [low, high]) = (at(2), [at(1), at(3)]);
            eprintln!(
                "{group}: {name} costs {median:.3} times {base}; of {ROUNDS} rounds half lie between \
                 {low:.3} and {high:.3}"
            );
        }
    }
}
