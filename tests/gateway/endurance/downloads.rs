//! A thousand downloads of one large zip at a time, some of them slow: the program holds little of it in memory, and
//! nobody waits for the slow.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dipylon_testkit::module::FakeModule;
use tokio::sync::watch;

use super::taking::Taking;
use crate::world::{MODULE, Setup, World, path_of};

const MB: usize = 1_000_000;
/// Clients at a time, and how many of them are slow.
const CLIENTS: usize = 1_000;
const SLOW_CLIENTS: usize = 50;
/// What a slow one takes in a second: all of a zip of 70 MB in two hours.
const SLOW_BYTES_PER_SECOND: usize = 10_000;
/// The zip. A build without optimisation moves bytes ten times slower, so there it is smaller; it is still more than
/// sockets take in.
const ZIP_BYTES: usize = if cfg!(debug_assertions) { 7 * MB } else { 70 * MB };
/// The most that the program may ever have resident, in KiB: 100 MB. The code of a build without optimisation, and
/// what its calls keep, are 20 MB more.
const RESIDENT_KIB_MAX: u64 = if cfg!(debug_assertions) { 120_000_000 } else { 100_000_000 } / 1024;
/// How much longer the others may take beside slow ones than without, in the slower of two runs around it: what the
/// same load differs by on a machine that does other things too. Who waited for a slow one would wait for hours.
const SLOWED_MAX: f64 = 1.5;
/// The longest that one run may take.
const PATIENCE: Duration = Duration::from_secs(900);

/// How long each of the fast clients took, sorted.
struct Times(Vec<Duration>);

impl Times {
    fn median(&self) -> Duration {
        self.0[self.0.len() / 2]
    }

    fn longest(&self) -> Duration {
        self.0[self.0.len() - 1]
    }
}

/// So many clients at once, all of which want this zip. The slow ones are there before the fast ones, and until the
/// last of these is done.
async fn download(world: &World, path: &str, zip: &Bytes, fast: usize, slow: usize) -> Times {
    let address = world.gateway.address();
    let path: Arc<str> = path.into();
    let (done, is_done) = watch::channel(());
    let slow: Vec<_> = (0..slow)
        .map(|_| {
            let (path, zip, mut is_done) = (Arc::clone(&path), zip.clone(), is_done.clone());
            tokio::spawn(async move {
                let taking = Taking::begin(address, &path, true).await?;
                let until = async move { drop(is_done.changed().await) };
                taking.slowly(SLOW_BYTES_PER_SECOND, &zip, until).await
            })
        })
        .collect();
    let fast: Vec<_> = (0..fast)
        .map(|_| {
            let (path, zip) = (Arc::clone(&path), zip.clone());
            tokio::spawn(async move {
                let began = Instant::now();
                Taking::begin(address, &path, false).await?.all(&zip).await?;
                std::io::Result::Ok(began.elapsed())
            })
        })
        .collect();
    let mut times = Vec::new();
    for client in fast {
        times.push(client.await.expect("it does not panic").expect("a whole zip"));
    }
    drop(done);
    for client in slow {
        let got = client.await.expect("it does not panic").expect("it is served while it is slow");
        assert!(got > 0 && got < zip.len() / 2, "{got} bytes: it was there, and slow, to the end");
    }
    times.sort();
    Times(times)
}

/// The same clients without slow ones, beside them, and without them again, each time before a program that has just
/// begun: `begin` says which zip of this world they want.
async fn hold_to_bounds(what: &str, mut world: World, begin: impl AsyncFn(&World, &str) -> Bytes) {
    let mut runs = Vec::new();
    for (version, slow) in [("v1.0.0", 0), ("v1.1.0", SLOW_CLIENTS), ("v1.2.0", 0)] {
        let zip = begin(&world, version).await;
        world.restart().await;
        let at_rest = world.gateway.rss_kib();
        let path = path_of(MODULE, version, "zip");
        let fast = CLIENTS - SLOW_CLIENTS;
        let run = tokio::time::timeout(PATIENCE, download(&world, &path, &zip, fast, slow));
        let times = run.await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"));
        let peak = world.gateway.peak_kib();
        let (median, longest) = (times.median(), times.longest());
        println!(
            "{what}: {fast} clients took {median:.1?}, the last {longest:.1?}, beside {slow} slow ones; at rest \
             {at_rest} KiB were resident, at most {peak} KiB"
        );
        assert!(peak < RESIDENT_KIB_MAX, "{what}: {peak} KiB were resident");
        assert_eq!(world.asked(&path), 1, "{what}: one fetch");
        runs.push(times);
    }
    let [before, beside, after] = &runs[..] else { panic!("three runs") };
    for (which, of) in
        [("median", Times::median as fn(&Times) -> Duration), ("last", Times::longest)]
    {
        let slowed = of(beside).as_secs_f64() / of(before).max(of(after)).as_secs_f64();
        println!("{what}: {which} beside slow clients: {slowed:.2} ×");
        assert!(slowed < SLOWED_MAX, "{what}: the {which} took {slowed:.2} × as long");
    }
}

fn zip_of(world: &World, version: &str) -> Bytes {
    world.add(FakeModule::new(MODULE, version).filler(ZIP_BYTES)).zip()
}

async fn warm(world: &World, version: &str) -> Bytes {
    let zip = zip_of(world, version);
    world.get_ok(&path_of(MODULE, version, "zip")).await;
    world.until_stored(MODULE, version).await;
    zip
}

/// `cargo xtask test --slow` runs it once more as the program is shipped, and then with a zip of 70 MB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(debug_assertions), ignore = "slow: 200 GB")]
async fn a_thousand_downloads_of_a_stored_zip_take_little_memory_and_wait_for_no_slow_one() {
    hold_to_bounds("warm", Setup::disk().start().await, warm).await;
}

/// The same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(debug_assertions), ignore = "slow: 200 GB")]
async fn a_thousand_downloads_of_a_cold_zip_take_little_memory_and_wait_for_no_slow_one() {
    let begin = async |world: &World, version: &str| zip_of(world, version);
    hold_to_bounds("cold", Setup::disk().start().await, begin).await;
}
