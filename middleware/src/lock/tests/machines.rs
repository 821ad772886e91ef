//! The machines alone.

use super::super::{Contest, Footing, Hold, Loss, Next, Tend, Why};
use super::*;

const fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn a_grant_is_followed_by_a_look_and_a_fetch() {
    let (mut contest, first) = Contest::begin(limits(), at(0), STASH_TIMEOUT, true);
    assert_eq!(first, Next::Acquire);
    assert_eq!(contest.granted(), Next::Look);
    assert_eq!(contest.clone().looked(true), Next::Serve);
    assert_eq!(contest.looked(false), Next::Fetch(Footing::Locked));
}

#[test]
fn who_waits_looks_before_it_asks_again() {
    let (mut contest, _) = Contest::begin(limits(), at(0), STASH_TIMEOUT, true);
    assert_eq!(contest.held(at(5), None), Next::Wait(at(250)));
    assert_eq!(contest.waited(), Next::Look);
    assert_eq!(contest.clone().looked(true), Next::Serve);
    assert_eq!(contest.looked(false), Next::Acquire);
}

#[test]
fn a_lock_that_lapses_soon_is_asked_for_then() {
    let (mut contest, _) = Contest::begin(limits(), at(0), STASH_TIMEOUT, true);
    assert_eq!(contest.held(at(0), Some(at(40))), Next::Wait(at(42)));
    assert_eq!(contest.held(at(0), Some(at(40_000))), Next::Wait(at(250)));
}

#[test]
fn no_wait_passes_the_patience() {
    let (mut contest, _) = Contest::begin(limits(), at(0), at(1_000), true);
    assert_eq!(contest.held(at(900), None), Next::Wait(at(100)));
    assert_eq!(contest.failed(at(950)), Next::Wait(at(50)));
    assert_eq!(contest.held(at(1_000), None), Next::Look);
    assert_eq!(contest.looked(false), Next::Fetch(Footing::Unlocked(Why::Overdue)));
}

#[test]
fn a_sign_of_life_begins_the_count_of_failures_anew() {
    let (mut contest, _) = Contest::begin(limits(), at(0), STASH_TIMEOUT, true);
    for _ in 0..3 {
        for _ in 0..10 {
            assert_eq!(contest.failed(at(0)), Next::Wait(at(250)));
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
    let (mut contest, _) = Contest::begin(limits(), at(0), STASH_TIMEOUT, true);
    contest.held(at(100_000), None);
    assert_eq!(contest.failed(at(114_999)), Next::Wait(at(1)));
    assert_eq!(contest.failed(at(115_000)), Next::Look);
}

#[test]
fn what_is_known_to_be_down_is_not_asked() {
    let (_, first) = Contest::begin(limits(), at(0), STASH_TIMEOUT, false);
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
