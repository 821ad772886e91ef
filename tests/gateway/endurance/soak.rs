//! Half an hour of mixed load: no error, and neither memory nor descriptors grow.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dipylon_testkit::client::{Client, Response};
use dipylon_testkit::load::Modules;
use dipylon_testkit::upstream::Generator as _;
use http::Method;
use parking_lot::Mutex;
use tokio::time::{MissedTickBehavior, interval};

use crate::world::{Setup, World, path_of};

/// How long it takes, unless this variable says otherwise: a number of minutes, also one with a fraction.
const MINUTES: f64 = 30.0;
const MINUTES_VARIABLE: &str = "DIPYLON_SOAK_MINUTES";
/// Of this part of it nothing is judged: caches fill, and code and memory are touched for the first time.
const WARM_UP: f64 = 1.0 / 3.0;
/// How long the usual run takes, which only shows that every request is answered rightly.
const SHORT: Duration = Duration::from_secs(5);
/// Requests in a second, and clients that send them, each one at a time over a connection of its own.
const RATE: u64 = 200;
const CLIENTS: u64 = 16;
/// Modules that are stored, and as many of which new versions are asked for all the time.
const MODULES: u64 = 40;
/// Versions that do not exist are so many of each module: as many answers are remembered.
const ABSENT: u64 = 50;
/// Little enough that it is full when the warm-up is over.
const HOT_CACHE_BYTES: &str = "1048576";
/// The pause between two looks at the process.
const LOOK: Duration = Duration::from_secs(1);
/// How much the line through the samples may rise from the end of the warm-up to the end, in KiB and in descriptors.
const GROWTH_KIB_MAX: f64 = 2048.0;
const GROWTH_DESCRIPTORS_MAX: f64 = 4.0;
/// Errors that are told.
const TOLD_MAX: usize = 10;

/// What the clients share.
struct Load {
    client: Client,
    /// The right answers for what is stored, by module: info, mod, zip.
    stored: Vec<[Bytes; 3]>,
    turns: AtomicU64,
    counts: [AtomicU64; KINDS.len()],
    errors: Mutex<Vec<String>>,
}

/// What is asked for, and of how many in a hundred turns.
const KINDS: [(&str, u64); 7] = [
    ("hits", 74),
    ("lists", 8),
    ("latest versions", 2),
    ("prefixes", 8),
    ("absent versions", 4),
    ("parts of a zip", 2),
    ("misses", 2),
];
const FILES: [&str; 3] = ["info", "mod", "zip"];

fn module(number: u64) -> String {
    format!("load.test/soak/m{number}")
}

fn files(path: &str, version: &str) -> [Bytes; 3] {
    let module = Modules::default().module(path, version).expect("the generator makes it up");
    [Bytes::from(module.info()), module.go_mod_bytes(), module.zip()]
}

/// The same order each time, without a pattern: the middle of a product.
fn spread(turn: u64) -> u64 {
    turn.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 24
}

fn kind_of(share: u64) -> usize {
    let mut below = 0;
    let found = KINDS.iter().position(|(_, of_a_hundred)| {
        below += of_a_hundred;
        share < below
    });
    found.expect("the shares are a hundred")
}

impl Load {
    /// One turn: one request, or the three of a new version.
    async fn turn(&self) {
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        let mixed = spread(turn);
        let (kind, number) = (kind_of(mixed % 100), mixed / 100 % MODULES);
        self.counts[kind].fetch_add(1, Ordering::Relaxed);
        let path = module(number);
        let file = (mixed / 10_000 % 3) as usize;
        match KINDS[kind].0 {
            "hits" => {
                let want = &self.stored[number as usize][file];
                self.whole(&path_of(&path, "v1.0.0", FILES[file]), want).await;
            }
            "lists" => self.list(&path).await,
            "latest versions" => {
                let [want, ..] = files(&path, "v1.9.0");
                self.whole(&format!("/{path}/@latest"), &want).await;
            }
            "prefixes" => {
                let below = ["sub", "sub/pkg", "internal/sub/pkg"][file];
                self.absent(&format!("/{path}/{below}/@v/list")).await;
            }
            "absent versions" => {
                let version = format!("v0.{}.0", mixed / 10_000 % ABSENT);
                self.absent(&path_of(&path, &version, "info")).await;
            }
            "parts of a zip" => self.part(&path, &self.stored[number as usize][2]).await,
            _ => {
                let (path, version) = (module(MODULES + number), format!("v1.{turn}.0"));
                for (kind, want) in FILES.iter().zip(files(&path, &version)) {
                    self.whole(&path_of(&path, &version, kind), &want).await;
                }
            }
        }
    }

    async fn ask(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        is_right: impl Fn(&Response) -> bool,
    ) {
        let answer = self.client.try_request(Method::GET, path, headers, Bytes::new()).await;
        let why = match answer {
            Ok(answer) if !answer.truncated && is_right(&answer) => return,
            Ok(answer) => format!(
                "{}, {} bytes, {:?}",
                answer.status,
                answer.body.len(),
                answer.header("cache-status")
            ),
            Err(error) => error.to_string(),
        };
        self.errors.lock().push(format!("{path}: {why}"));
    }

    async fn whole(&self, path: &str, want: &Bytes) {
        self.ask(path, &[], |answer| answer.status == 200 && answer.body == want).await;
    }

    async fn absent(&self, path: &str) {
        self.ask(path, &[], |answer| answer.status == 404).await;
    }

    async fn part(&self, path: &str, zip: &Bytes) {
        let range = [("range", "bytes=1000-1999")];
        let is_right =
            |answer: &Response| answer.status == 206 && answer.body == zip.slice(1000..2000);
        self.ask(&path_of(path, "v1.0.0", "zip"), &range, is_right).await;
    }

    async fn list(&self, path: &str) {
        let sorted = |text: &str| {
            let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        let mut want = Modules::default().versions(path);
        want.sort();
        let is_right = |answer: &Response| answer.status == 200 && sorted(answer.text()) == want;
        self.ask(&format!("/{path}/@v/list"), &[], is_right).await;
    }
}

/// One look at the process.
struct Sample {
    minutes: f64,
    resident_kib: f64,
    descriptors: f64,
}

/// The slope of the line that is nearest to these points, by least squares.
fn slope(points: impl Iterator<Item = (f64, f64)> + Clone) -> f64 {
    let count = points.clone().count() as f64;
    let mean = |sum: f64| sum / count;
    let x_mean = mean(points.clone().map(|(x, _)| x).sum());
    let y_mean = mean(points.clone().map(|(_, y)| y).sum());
    let both: f64 = points.clone().map(|(x, y)| (x - x_mean) * (y - y_mean)).sum();
    let square: f64 = points.map(|(x, _)| (x - x_mean).powi(2)).sum();
    both / square
}

#[test]
fn a_slope_is_that_of_the_nearest_line() {
    let near_a_line = [(0.0, 1.0), (1.0, 4.0), (2.0, 5.0), (3.0, 6.0)];
    assert!((slope(near_a_line.into_iter()) - 1.6).abs() < 1e-9);
    let flat = [(0.0, 7.0), (5.0, 7.0), (9.0, 7.0)];
    assert!(slope(flat.into_iter()).abs() < 1e-9);
}

/// A store with the modules of the load, and the right answers.
async fn begin() -> (World, Arc<Load>) {
    let setup = Setup::disk().env("GOSUMDB", "off").env("DIPYLON_HOT_CACHE_BYTES", HOT_CACHE_BYTES);
    let world = setup.start().await;
    world.upstream.generate(Modules::default());
    let load = Load {
        client: world.client(),
        stored: (0..MODULES).map(|number| files(&module(number), "v1.0.0")).collect(),
        turns: AtomicU64::new(0),
        counts: Default::default(),
        errors: Mutex::default(),
    };
    for number in 0..MODULES {
        world.get_ok(&path_of(&module(number), "v1.0.0", "zip")).await;
        world.until_stored(&module(number), "v1.0.0").await;
    }
    (world, Arc::new(load))
}

/// Loads it for so long, and looks at it all the while.
async fn load_for(world: &World, load: &Arc<Load>, time: Duration) -> Vec<Sample> {
    let began = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let load = Arc::clone(load);
            tokio::spawn(async move {
                let mut pace = interval(Duration::from_secs(CLIENTS) / RATE as u32);
                // A machine that stood still is not loaded with all that it has missed.
                pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
                while began.elapsed() < time {
                    pace.tick().await;
                    load.turn().await;
                }
            })
        })
        .collect();
    let mut samples = Vec::new();
    let mut looks = interval(LOOK);
    while began.elapsed() < time {
        looks.tick().await;
        samples.push(Sample {
            minutes: began.elapsed().as_secs_f64() / 60.0,
            resident_kib: world.gateway.rss_kib() as f64,
            descriptors: world.gateway.descriptors() as f64,
        });
    }
    for client in clients {
        client.await.expect("a client does not panic");
    }
    samples
}

fn assert_no_error(load: &Load) {
    let errors = load.errors.lock();
    let told: Vec<_> = errors.iter().take(TOLD_MAX).collect();
    assert!(errors.is_empty(), "{} errors of {:?} turns: {told:#?}", errors.len(), load.turns);
    for ((kind, _), count) in KINDS.iter().zip(&load.counts) {
        let count = count.load(Ordering::Relaxed);
        println!("{kind}: {count}");
        assert!(count > 0, "no {kind}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_of_some_seconds_of_mixed_load_is_answered_rightly() {
    let (world, load) = begin().await;
    load_for(&world, &load, SHORT).await;
    assert_no_error(&load);
    world.until_idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: half an hour"]
async fn slow_half_an_hour_of_mixed_load_leaves_memory_and_descriptors_as_they_are() {
    let minutes = match std::env::var(MINUTES_VARIABLE) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{MINUTES_VARIABLE}: {text}")),
        Err(_) => MINUTES,
    };
    let (world, load) = begin().await;
    let samples = load_for(&world, &load, Duration::from_secs_f64(minutes * 60.0)).await;
    assert_no_error(&load);
    let judged = || samples.iter().filter(|sample| sample.minutes > minutes * WARM_UP);
    let judged_minutes = minutes * (1.0 - WARM_UP);
    let memory = slope(judged().map(|sample| (sample.minutes, sample.resident_kib)));
    let descriptors = slope(judged().map(|sample| (sample.minutes, sample.descriptors)));
    for sample in samples.iter().step_by((samples.len() / 15).max(1)) {
        println!(
            "minute {:4.1}: {} KiB, {} descriptors",
            sample.minutes, sample.resident_kib, sample.descriptors
        );
    }
    println!(
        "{minutes} minutes: memory by {memory:.1} KiB a minute, descriptors by {descriptors:.3} a minute, over the \
         last {judged_minutes:.1}; at most {} KiB were resident",
        world.gateway.peak_kib()
    );
    world.until_idle().await;
    assert!(memory * judged_minutes < GROWTH_KIB_MAX, "memory grows by {memory} KiB a minute");
    assert!(
        descriptors * judged_minutes < GROWTH_DESCRIPTORS_MAX,
        "descriptors grow by {descriptors} a minute"
    );
}
