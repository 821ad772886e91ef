//! The machine alone.

use std::time::Duration;

use super::super::state::{
    ATTEMPTS_MAX, Key, Offer, PAUSE_MAX, PAUSE_MIN, Queue, REFUSALS_LOGGED_EVERY, SPREAD_PART,
    Standing, Taken, may_pass, pause, spread,
};
use crate::error::ErrorKind;
use crate::testing::{SECOND, module, query};

fn key(version: &str) -> Key {
    Key { module: module("example.com/m"), version: query(version) }
}

/// Some time after the fixed point.
const NOW: Duration = Duration::from_secs(1_000);

/// Offers a version and releases it at once.
fn offered(queue: &mut Queue<()>, version: &str, now: Duration) -> Offer {
    let offer = queue.offer(key(version), (), now);
    queue.release(&key(version), now);
    offer
}

fn taken(queue: &mut Queue<()>, now: Duration) -> Option<(String, u32)> {
    let Taken { key, attempt, .. } = queue.take(now, false)?;
    Some((key.version.as_str().to_owned(), attempt))
}

#[test]
fn entries_run_in_the_order_in_which_they_came_and_so_many_at_a_time() {
    let (mut queue, now) = (Queue::new(10, 2), NOW);
    for version in ["v1.0.0", "v1.1.0", "v1.2.0"] {
        assert_eq!(offered(&mut queue, version, now), Offer::Accepted);
    }
    assert_eq!(taken(&mut queue, now), Some(("v1.0.0".to_owned(), 1)));
    assert_eq!(taken(&mut queue, now), Some(("v1.1.0".to_owned(), 1)));
    assert_eq!(taken(&mut queue, now), None, "two run");
    assert_eq!((queue.queued(), queue.running()), (1, 2));
    queue.end(&key("v1.1.0"));
    assert_eq!(taken(&mut queue, now), Some(("v1.2.0".to_owned(), 1)));
    queue.end(&key("v1.0.0"));
    queue.end(&key("v1.2.0"));
    assert_eq!((queue.queued(), queue.running()), (0, 0));
}

#[test]
fn a_version_that_is_held_waits_or_runs_is_there_once() {
    let (mut queue, now) = (Queue::new(10, 1), NOW);
    assert_eq!(queue.offer(key("v1.0.0"), (), now), Offer::Accepted);
    assert_eq!(queue.offer(key("v1.0.0"), (), now), Offer::Duplicate);
    assert_eq!(taken(&mut queue, now), None, "it is not kept yet");
    queue.release(&key("v1.0.0"), now);
    assert_eq!(offered(&mut queue, "v1.0.0", now), Offer::Duplicate);
    assert!(taken(&mut queue, now).is_some());
    assert_eq!(queue.offer(key("v1.0.0"), (), now), Offer::Duplicate);
    assert_eq!((queue.queued(), queue.running()), (0, 1));
    queue.end(&key("v1.0.0"));
    assert_eq!(offered(&mut queue, "v1.0.0", now), Offer::Accepted, "it may be asked for again");
}

#[test]
fn the_newest_is_left_out_of_a_full_queue_and_what_was_promised_never_is() {
    let (mut queue, now) = (Queue::new(2, 1), NOW);
    offered(&mut queue, "v1.0.0", now);
    offered(&mut queue, "v1.1.0", now);
    assert_eq!(queue.offer(key("v1.2.0"), (), now), Offer::Full);
    assert_eq!(queue.offer(key("v1.1.0"), (), now), Offer::Duplicate, "it is in there");
    assert_eq!(queue.recover(&key("v1.3.0"), (), now, now), Offer::Accepted);
    assert_eq!(queue.recover(&key("v1.3.0"), (), now, now), Offer::Duplicate);
    assert_eq!(queue.queued(), 3);
    for version in ["v1.0.0", "v1.1.0"] {
        queue.end(&key(version));
    }
    assert_eq!(queue.offer(key("v1.2.0"), (), now), Offer::Accepted);
}

#[test]
fn a_further_attempt_comes_when_it_is_due_and_after_those_that_are_due_before() {
    let (mut queue, now) = (Queue::new(10, 1), NOW);
    offered(&mut queue, "v1.0.0", now);
    assert!(taken(&mut queue, now).is_some());
    queue.again(&key("v1.0.0"), now + 5 * SECOND);
    assert_eq!((queue.queued(), queue.running()), (1, 0));
    assert_eq!(taken(&mut queue, now + 4 * SECOND), None);
    offered(&mut queue, "v1.1.0", now + 4 * SECOND);
    assert_eq!(taken(&mut queue, now + 5 * SECOND), Some(("v1.1.0".to_owned(), 1)));
    queue.end(&key("v1.1.0"));
    assert_eq!(taken(&mut queue, now + 5 * SECOND), Some(("v1.0.0".to_owned(), 2)));
}

#[test]
fn a_snapshot_says_what_runs_first_and_how_old_the_oldest_is() {
    let (mut queue, begun) = (Queue::new(10, 1), NOW);
    queue.recover(&key("v1.0.0"), (), begun, begun + 60 * SECOND);
    offered(&mut queue, "v1.1.0", begun + 60 * SECOND);
    let now = begun + 61 * SECOND;
    assert!(taken(&mut queue, now).is_some());
    queue.again(&key("v1.0.0"), now + 5 * SECOND);
    assert!(taken(&mut queue, now).is_some());
    let seen = queue.snapshot(10, now);
    assert_eq!((seen.queued, seen.running, seen.oldest), (1, 1, Some(61 * SECOND)));
    let entries: Vec<_> =
        seen.entries.iter().map(|e| (e.version.as_str(), e.standing, e.attempts)).collect();
    let wanted = [("v1.1.0", Standing::Running, 1), ("v1.0.0", Standing::Paused, 1)];
    assert_eq!(entries, wanted);
    let later = queue.snapshot(1, now + 5 * SECOND);
    assert_eq!((later.queued, later.entries.len()), (1, 1), "so many entries, and all counted");
}

#[test]
fn pauses_grow_to_a_bound_and_heed_who_asks_for_more() {
    assert_eq!(pause(1, None), PAUSE_MIN);
    assert_eq!(pause(2, None), 2 * PAUSE_MIN);
    assert_eq!(pause(2, Some(60 * SECOND)), 60 * SECOND);
    assert_eq!(pause(2, Some(SECOND)), 2 * PAUSE_MIN);
    assert_eq!(pause(3, Some(Duration::MAX)), PAUSE_MAX);
    for attempts in ATTEMPTS_MAX..200 {
        assert!(pause(attempts, None) <= PAUSE_MAX, "{attempts}");
    }
}

#[test]
fn what_failed_together_comes_back_apart_and_never_before_its_pause() {
    let keys: Vec<Key> = (0..200).map(|minor| key(&format!("v1.{minor}.0"))).collect();
    let spread_out: Vec<Duration> = keys.iter().map(|key| spread(PAUSE_MIN, key, 1)).collect();
    let bounds = PAUSE_MIN..PAUSE_MIN + PAUSE_MIN / SPREAD_PART;
    assert!(spread_out.iter().all(|pause| bounds.contains(pause)), "{spread_out:?}");
    let apart: std::collections::BTreeSet<_> = spread_out.iter().collect();
    assert!(apart.len() > 150, "{}", apart.len());
    assert_eq!(spread(PAUSE_MIN, &keys[0], 1), spread_out[0], "the same each time");
    assert_ne!(spread(PAUSE_MIN, &keys[0], 2), spread_out[0]);
}

#[test]
fn what_is_held_is_counted_until_it_is_accepted_anew() {
    let (mut queue, now) = (Queue::new(1, 1), NOW);
    offered(&mut queue, "v1.0.0", now);
    assert!(taken(&mut queue, now).is_some());
    queue.hold(&key("v1.0.0"));
    let seen = queue.snapshot(9, now);
    assert_eq!((seen.held, seen.queued, seen.running), (1, 0, 0));
    offered(&mut queue, "v1.0.0", now);
    assert_eq!((queue.snapshot(9, now).held, queue.queued()), (0, 1));
}

#[test]
fn as_many_are_put_by_as_the_queue_has_places_and_they_take_none_from_others() {
    let mut queue = Queue::new(2, 1);
    for (version, stays) in [("v1.0.0", true), ("v1.1.0", true), ("v1.2.0", false)] {
        assert_eq!(queue.offer(key(version), (), NOW), Offer::Accepted, "{version}");
        assert_eq!(queue.hold(&key(version)), stays, "{version}");
    }
    assert_eq!((queue.held(), queue.queued()), (["v1.0.0", "v1.1.0"].map(key).to_vec(), 1));
    queue.end(&key("v1.2.0"));
    assert_eq!((queue.held().len(), queue.queued()), (2, 0));
}

#[test]
fn what_is_held_comes_back_in_its_order_as_old_as_it_is_and_whether_or_not_there_is_room() {
    let mut queue = Queue::new(1, 9);
    for (version, since) in
        [("v1.1.0", NOW + SECOND), ("v1.0.0", NOW), ("v1.2.0", NOW + 2 * SECOND)]
    {
        queue.hold_recovered(key(version), since);
    }
    let now = NOW + 10 * SECOND;
    let held = queue.held();
    assert_eq!(held, ["v1.0.0", "v1.1.0", "v1.2.0"].map(key));
    for key in &held {
        assert!(queue.take_back(key, (), now) && !queue.take_back(key, (), now), "once");
    }
    let seen = queue.snapshot(9, now);
    assert_eq!((seen.held, seen.queued, seen.oldest), (0, 3, Some(10 * SECOND)));
    assert_eq!((queue.kept_count(), queue.unkept().len()), (3, 0));
    let taken: Vec<_> = (0..3).filter_map(|_| taken(&mut queue, now)).collect();
    assert_eq!(taken, ["v1.0.0", "v1.1.0", "v1.2.0"].map(|version| (version.to_owned(), 1)));
}

#[test]
fn what_is_not_kept_is_known_wherever_it_is_and_is_taken_alone_where_the_rest_is_left() {
    let (mut queue, now) = (Queue::new(9, 9), NOW);
    for version in ["v1.0.0", "v1.1.0", "v1.2.0", "v1.3.0"] {
        offered(&mut queue, version, now);
    }
    queue.kept(&key("v1.0.0"));
    queue.kept(&key("v1.2.0"));
    assert_eq!((queue.kept_count(), queue.unkept().len()), (2, 2));
    queue.hold(&key("v1.3.0"));
    queue.hold(&key("v1.2.0"));
    assert_eq!((queue.kept_count(), queue.unkept().len()), (1, 2), "held ones as well");
    let next = |queue: &mut Queue<()>| Some(queue.take(now, true)?.key);
    assert_eq!(next(&mut queue), Some(key("v1.1.0")), "behind one that is kept");
    assert_eq!(next(&mut queue), None);
    queue.kept(&key("v1.3.0"));
    assert!(queue.take_back(&key("v1.3.0"), (), now) && queue.is_kept(&key("v1.3.0")));
    assert_eq!(next(&mut queue), None);
    assert_eq!(queue.take(now, false).map(|taken| taken.key), Some(key("v1.0.0")));
}

#[test]
fn refusals_are_counted_all_and_logged_now_and_then() {
    let (mut queue, now) = (Queue::<()>::new(1, 1), NOW);
    assert_eq!(queue.refused(now), Some(1));
    for _ in 0..7 {
        assert_eq!(queue.refused(now + SECOND), None);
    }
    assert_eq!(queue.refused(now + REFUSALS_LOGGED_EVERY), Some(8));
}

#[test]
fn nothing_permanent_is_tried_again_and_everything_transient_is() {
    for kind in ErrorKind::ALL {
        assert!(!(kind.is_permanent() && may_pass(*kind)), "{kind:?}");
        assert!(!kind.is_transient() || may_pass(*kind), "{kind:?}");
    }
}
