//! Hits alone, and hits while misses hang in every slot that there is for them: the longest that ninety-nine in
//! a hundred take, by the clock on the wall, because waiting is what is looked for. Both in turn, round by
//! round, at one process, so that what else the machine does falls on both.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use criterion::Criterion;
use dipylon_testkit::gateway::Gateway;
use dipylon_testkit::measure::files::{FILES, upstream};
use dipylon_testkit::measure::load::{CONNECTIONS, Load};
use tokio::runtime::Builder;

use crate::held::Held;
use crate::in_process::settings;

const PROGRAM: &str = env!("CARGO_BIN_EXE_dipylon");
/// Misses in hand that the gateway allows.
const PROTOCOL_WORKERS: usize = 30;
/// Fetches at a time that it allows.
const FETCHES: usize = 10;
/// Requests to one upstream at a time: `UpstreamConcurrency`.
const UPSTREAM_CALLS: usize = 64;
/// Misses for each slot: half of them wait for one.
const MISSES_PER_SLOT: usize = 2;
/// Hits of one kind of a round: ninety-nine in a hundred leaves five of them out.
const HITS: usize = 500;
/// Longer than a run: nothing that hangs ends by itself.
const FOR_EVER: &str = "36000";
/// The longest that a miss may take to end once it is answered.
const END_MAX: Duration = Duration::from_secs(60);

/// Misses under way, each on a connection of its own.
struct Misses(Vec<TcpStream>);

impl Misses {
    /// One for each path.
    fn begin(address: SocketAddr, paths: impl Iterator<Item = String>) -> Self {
        let begin = |path: String| {
            let mut stream = TcpStream::connect(address).expect("the gateway listens");
            stream.set_read_timeout(Some(END_MAX)).expect("an open socket");
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).expect("the gateway listens");
            stream
        };
        Self(paths.map(begin).collect())
    }

    /// Waits until each has its answer, which is that nothing exists.
    fn end(self) {
        for mut stream in self.0 {
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("an answer");
            assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
        }
    }
}

/// The gateway and its upstreams, and all that was measured.
struct Rounds {
    gateway: Gateway,
    held: Held,
    load: Load,
    /// Rounds so far: what one has asked for is remembered not to exist in the next.
    begun: usize,
    /// Of each round: alone, and beside misses.
    p99: Vec<[Duration; 2]>,
    /// How many of them were told, of each side.
    told: [usize; 2],
}

impl Rounds {
    /// One side of the next round: the second is told of the rounds of which the first was.
    fn next(&mut self, side: usize) -> Duration {
        let round = self.told[side];
        self.told[side] += 1;
        if round == self.p99.len() {
            self.one();
        }
        self.p99[round][side]
    }

    /// One round; the longest that ninety-nine in a hundred hits take, alone and beside misses.
    fn one(&mut self) -> [Duration; 2] {
        let alone = self.hits();
        let round = self.begun;
        self.begun += 1;
        self.held.shut();
        let slots = MISSES_PER_SLOT * PROTOCOL_WORKERS;
        let files = (0..slots).map(|n| format!("/example.com/hang/f{round}x{n}/@v/v1.0.0.info"));
        let slots = MISSES_PER_SLOT * UPSTREAM_CALLS;
        let lists = (0..slots).map(|n| format!("/example.com/hang/l{round}x{n}/@v/list"));
        let address = self.gateway.address();
        // The files first: else the lists take every slot that files need as well.
        let files = Misses::begin(address, files);
        self.held.until("files hang in every fetch slot", |held| held >= FETCHES);
        let lists = Misses::begin(address, lists);
        self.held.until("every slot is taken", |held| held >= UPSTREAM_CALLS);
        let beside = self.hits();
        self.held.open();
        files.end();
        lists.end();
        self.held.until("nothing hangs any more", |held| held == 0);
        self.p99.push([alone, beside]);
        [alone, beside]
    }

    fn hits(&mut self) -> Duration {
        let small = || FILES.iter().filter(|(name, _)| !name.ends_with("MB")).cycle();
        let mut taken: Vec<Duration> =
            small().take(HITS).map(|(_, path)| self.load.one(path)).collect();
        taken.sort_unstable();
        taken[HITS - 1 - HITS / 100]
    }

    /// The median of one side over all rounds.
    fn median(&self, side: usize) -> Duration {
        let mut all: Vec<Duration> = self.p99.iter().map(|round| round[side]).collect();
        all.sort_unstable();
        all[all.len() / 2]
    }
}

pub(crate) fn hits(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let held = Held::start();
    let (gateway, _upstream) = runtime.block_on(async {
        let upstream = upstream().await;
        let mut builder = Gateway::builder(PROGRAM);
        for (name, value) in settings(&upstream, &folder.path().display().to_string()) {
            builder = builder.env(&name, &value);
        }
        let gateway = builder
            .env("GOPROXY", &format!("{},{}", held.url, upstream.url()))
            .env("ATHENS_PROTOCOL_WORKERS", &PROTOCOL_WORKERS.to_string())
            .env("ATHENS_GOGET_WORKERS", &FETCHES.to_string())
            .env("ATHENS_STASH_TIMEOUT", FOR_EVER)
            .env("ATHENS_TIMEOUT", FOR_EVER)
            .env("DIPYLON_UPSTREAM_HEADER_TIMEOUT", FOR_EVER)
            .env("DIPYLON_REQUEST_TIMEOUT", FOR_EVER)
            .env("DIPYLON_MISS_QUEUE_TIMEOUT", FOR_EVER)
            .start()
            .await;
        for (_, path) in FILES {
            assert_eq!(gateway.get(path).await.status, 200, "{path}");
        }
        (gateway, upstream)
    });
    let load = Load::new(gateway.address(), CONNECTIONS);
    let mut rounds = Rounds { gateway, held, load, begun: 0, p99: Vec::new(), told: [0; 2] };
    // Whatever is done once is over by then.
    rounds.one();
    rounds.p99.clear();
    let mut group = criterion.benchmark_group("hits beside misses that hang");
    // A round is a second or so.
    group.sample_size(10);
    for (side, name) in ["p99 alone", "p99 beside misses"].into_iter().enumerate() {
        group.bench_function(name, |bencher| {
            // A round is a round, however many are asked for: it has its number of hits.
            bencher.iter_custom(|times| rounds.next(side).mul_f64(times as f64));
        });
    }
    group.finish();
    // Where others were asked for there are none.
    if rounds.p99.is_empty() {
        return;
    }
    let [alone, beside] = [0, 1].map(|side| rounds.median(side));
    eprintln!(
        "{} rounds: p99 of a hit alone {alone:.1?}, beside misses that hang {beside:.1?}: {:.2} times",
        rounds.p99.len(),
        beside.as_secs_f64() / alone.as_secs_f64()
    );
}
