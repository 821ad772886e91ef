//! Servers that are measured in turn, round by round, as rows of the bench harness.

use std::time::Duration;

use criterion::Criterion;
use dipylon_testkit::measure::in_turn::{Server, Turns};
use dipylon_testkit::measure::quartiles::Quartiles;

/// A build that only shows that everything runs does little.
const IS_SHORT: bool = cfg!(debug_assertions);
/// Rounds; each is a sample.
const ROUNDS: usize = if IS_SHORT { 10 } else { 24 };
/// Requests to each server in one of its two turns of a round, where that is less than is asked for.
const REQUESTS_OF_A_SHORT_TURN: usize = 4;

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
            group.bench_function(server.name.as_str(), |bencher| {
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

    /// Of each round what a request costs each server.
    fn all(&self) -> Vec<Vec<Duration>> {
        let requests = if IS_SHORT { REQUESTS_OF_A_SHORT_TURN } else { self.requests };
        let (path, connections) = (self.path, self.connections);
        Turns { servers: self.servers, path, connections, requests, rounds: ROUNDS }.measure()
    }

    fn compare(&self, rounds: &[Vec<Duration>]) {
        let Some((base, others)) = self.servers.split_last() else { return };
        for (side, server) in others.iter().enumerate() {
            let ratio = |round: &Vec<Duration>| {
                round[side].as_secs_f64() / round[others.len()].as_secs_f64()
            };
            let Quartiles { low, median, high } = Quartiles::of(rounds.iter().map(ratio));
            let (group, name, base) = (&self.group, &server.name, &base.name);
            eprintln!(
                "{group}: {name} costs {median:.3} times {base}; of {ROUNDS} rounds half lie between \
                 {low:.3} and {high:.3}"
            );
        }
    }
}
