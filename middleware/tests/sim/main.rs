//! Seeded schedules of replicas that want one version, over a simulated lock service, storage and
//! upstream: crashes, stalls, partitions, outages, lost answers, forgotten locks and clocks that drift.
//!
//! The machines are the real ones, [`Contest`](dipylon_middleware::lock::Contest) and
//! [`Hold`](dipylon_middleware::lock::Hold). What must hold in every schedule:
//!
//! 1. A version is fetched once, and once more for each fetch that crashed or failed, for each lock
//!    that was lost or forgotten, and for each fetch without a lock.
//! 2. What is stored stays: of all saves one creates, the others find it there.
//! 3. Everybody who lives gets an end, and waits no longer than its patience allows.
//! 4. Two never believe to have the lock at one time, unless it was forgotten or their clocks drift.
//! 5. Nobody goes on without the lock while the service works.
//! 6. A holder that dies is replaced by one, within the lease and what a look takes.
//! 7. At the end nothing is held, and nothing waits.
//! 8. Who waited while a holder found for good that there is nothing is told so, and who did not is not.
//!
//! A schedule that breaks one is named by its seed: `DIPYLON_SIM_SEED=… cargo test -p
//! dipylon-middleware --test sim` runs that one alone, and prints what happened.

mod judge;
mod network;
mod plan;
mod replica;
mod world;

use plan::Plan;
use world::World;

/// Schedules of each kind in one run.
const SCHEDULES: u64 = 10_000;

/// The one schedule that is asked for.
fn asked_for() -> Option<u64> {
    let seed = std::env::var("DIPYLON_SIM_SEED").ok()?;
    Some(seed.parse().unwrap_or_else(|_| panic!("DIPYLON_SIM_SEED={seed:?} is not a number")))
}

/// Runs every schedule, or the one that is asked for; answers how many fetches each took.
fn run(plan: impl Fn(u64) -> Plan) -> Vec<usize> {
    let seeds = asked_for().map_or(0..SCHEDULES, |seed| seed..seed + 1);
    let mut fetches = Vec::new();
    for seed in seeds {
        let mut world = World::new(plan(seed), asked_for().is_some());
        world.run();
        if let Err(broken) = world.judge() {
            // Once more, to hear what happened.
            let mut again = World::new(plan(seed), true);
            again.run();
            let replay = "cargo test -p dipylon-middleware --test sim";
            panic!("{}\n{broken}\nreplay: DIPYLON_SIM_SEED={seed} {replay}", again.story());
        }
        if asked_for().is_some() {
            println!("{}", world.story());
        }
        fetches.push(world.fetches());
    }
    fetches
}

#[test]
fn schedules_with_every_fault_keep_the_invariants() {
    let fetches = run(Plan::faulty);
    if asked_for().is_none() {
        let more = fetches.iter().filter(|fetches| **fetches > 1).count();
        assert!(more > 100, "the faults bite: {more} schedules took more than one fetch");
    }
}

#[test]
fn schedules_with_clocks_that_drift_keep_the_invariants() {
    run(Plan::drifting);
}

#[test]
fn healthy_schedules_fetch_once() {
    let fetches = run(Plan::healthy);
    assert!(fetches.iter().all(|fetches| *fetches == 1), "each schedule takes one fetch");
}

#[test]
fn what_is_not_there_is_asked_for_by_those_alone_who_did_not_wait() {
    let fetches = run(Plan::absent);
    if asked_for().is_none() {
        let once = fetches.iter().filter(|fetches| **fetches == 1).count();
        assert!(once > 1_000, "in {once} schedules all the others are told");
    }
}

#[test]
fn schedules_with_every_fault_and_nothing_upstream_keep_the_invariants() {
    run(Plan::absent_and_faulty);
}

#[test]
fn a_holder_that_dies_is_replaced_in_time() {
    let fetches = run(Plan::dying_holder);
    if asked_for().is_none() {
        assert!(fetches.contains(&2), "some die while they fetch");
    }
}
