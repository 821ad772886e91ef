//! The machines alone.

use super::super::{Contest, Footing, Hold, Loss, Next, Tend, Why};
use super::*;

const fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A wait between three quarters of the poll and all of it.
fn is_a_poll(next: Next) -> bool {
    matches!(next, Next::Wait(pause) if pause > at(187) && pause <= at(250))
}

#[test]
fn a_grant_is_followed_by_a_look_and_a_fetch() {
    let (mut contest, first) = Contest::begin(limits(), at(0), STASH_TIMEOUT, true, 7);
    assert_eq!(first, Next::Acquire);
    assert_eq!(contest.granted(), Next::Look);
    assert_eq!(contest.clone().looked(true), Next::Serve);
    assert_eq!(contest.looked(false), Next::Fetch(Footing::Locked));
}

#[test]
fn who_waits_looks_before_it_asks_again() {
    let (mut contest, _) = Contest::begin(limits(), at(0), STASH_TIMEOUT, true, 7);
    assert!(is_a_poll(contest.held(at(5), None)));
    assert_eq!(contest.waited(), Next::Look);
    assert_eq!(contest.clone().looked(true), Next::Serve);
    assert_eq!(contest.looked(false), Next::Acquire);
}

#[test]
fn wishes_that_begin_together_do_not_poll_together() {
    let polls = |seed| {
        let (mut contest, _) = Contest::begin(limits(), at(0), STASH_TIMEOUT, true, seed);
        let waits = (0..40).map(|_| match contest.held(at(0), None) {
            Next::Wait(pause) => pause,
            next => panic!("{next:?}"),
        });
        waits.collect::<Vec<_>>()
    };
    assert_eq!(polls(1), polls(1), "a schedule can be replayed");
    let mut all: Vec<_> = (1..=100).flat_map(polls).collect();
    let mean = all.iter().sum::<Duration>() / 4_000;
    assert!(mean > at(214) && mean < at(223), "spread evenly: {mean:?}");
    assert!(all.iter().all(|pause| is_a_poll(Next::Wait(*pause))));
    all.sort();
    all.dedup();
    assert!(all.len() > 3_990, "{} waits differ", all.len());
}

#[test]
fn a_lock_that_lapses_soon_is_asked_for_then() {
    let (mut contest, _) = Contest::begin(limits(), at(0), STASH_TIMEOUT, true, 7);
    assert_eq!(contest.held(at(0), Some(at(40))), Next::Wait(at(42)));
    assert!(is_a_poll(contest.held(at(0), Some(at(40_000)))));
}

#[test]
fn no_wait_passes_the_patience() {
    let (mut contest, _) = Contest::begin(limits(), at(0), at(1_000), true, 7);
    assert_eq!(contest.held(at(900), None), Next::Wait(at(100)));
    assert_eq!(contest.failed(at(950)), Next::Wait(at(50)));
    assert_eq!(contest.held(at(1_000), None), Next::Look);
    assert_eq!(contest.looked(false), Next::Fetch(Footing::Unlocked(Why::Overdue)));
}

#[test]
fn a_sign_of_life_begins_the_count_of_failures_anew() {
    let (mut contest, _) = Contest::begin(limits(), at(0), STASH_TIMEOUT, true, 7);
    for _ in 0..3 {
        for _ in 0..10 {
            assert!(is_a_poll(contest.failed(at(0))));
        }
        contest.held(at(0), None);
    }
    for _ in 0..10 {
        contest.failed(at(0));
    }
    assert_eq!(contest.failed(at(0)), Next::Look);
    assert_eq!(contest.looked(false), Next::Fetch(Footing::Unlocked(Why::Silent)));
}

#[test]
fn silence_counts_from_the_last_sign_of_life() {
    let (mut contest, _) = Contest::begin(limits(), at(0), STASH_TIMEOUT, true, 7);
    contest.held(at(100_000), None);
    assert_eq!(contest.failed(at(114_999)), Next::Wait(at(1)));
    assert_eq!(contest.failed(at(115_000)), Next::Look);
}

#[test]
fn what_is_known_to_be_down_is_not_asked() {
    let (_, first) = Contest::begin(limits(), at(0), STASH_TIMEOUT, false, 7);
    assert_eq!(first, Next::Fetch(Footing::Unlocked(Why::Down)));
}

#[test]
fn a_lock_is_renewed_from_when_it_was_asked_for() {
    let mut hold = Hold::new(limits(), at(0));
    assert_eq!(hold.tend(at(50)), Tend::RenewAt(at(3_000)));
    hold.renewed(at(3_000));
    assert_eq!(hold.tend(at(3_900)), Tend::RenewAt(at(6_000)));
}

#[test]
fn a_failed_renewal_is_tried_again_while_the_lease_lasts() {
    let mut hold = Hold::new(limits(), at(0));
    hold.failed(at(3_100));
    assert_eq!(hold.tend(at(3_100)), Tend::RenewAt(at(4_100)));
    assert_eq!(hold.tend(at(9_999)), Tend::RenewAt(at(9_999)));
    assert_eq!(hold.tend(at(10_000)), Tend::Lost(Loss::Silent));
}

#[test]
fn a_process_that_was_stopped_for_a_lease_has_lost_its_lock() {
    let hold = Hold::new(limits(), at(0));
    assert_eq!(hold.tend(at(30_000)), Tend::Lost(Loss::Silent));
}

#[test]
fn the_ttl_ends_a_lock_to_the_millisecond() {
    let mut hold = Hold::new(LockLimits { ttl: at(4_000), ..limits() }, at(0));
    hold.renewed(at(3_000));
    assert_eq!(hold.tend(at(3_001)), Tend::RenewAt(at(4_000)));
    assert_eq!(hold.tend(at(4_000)), Tend::Lost(Loss::Ttl));
}
