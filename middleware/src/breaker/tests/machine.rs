//! The pure machine: closed, open, half open, and whose turn it is.

use std::time::Duration;

use crate::breaker::state::{OPEN_FOR, State, Turn, UPSTREAM_FAILURES_TO_OPEN as FAILURES_TO_OPEN};
use crate::testing::SECOND;

fn opened_at(now: Duration) -> State {
    let mut state = State::default();
    for _ in 0..FAILURES_TO_OPEN {
        state.failed(now, FAILURES_TO_OPEN);
    }
    state
}

#[test]
fn the_state_opens_after_failures_in_a_row() {
    let mut state = State::default();
    for failures in 1..FAILURES_TO_OPEN {
        state.failed(SECOND, FAILURES_TO_OPEN);
        assert_eq!(state, State::Closed { failures });
        assert_eq!(state.refused_for(Turn::default(), SECOND), None);
    }
    state.failed(SECOND, FAILURES_TO_OPEN);
    assert_eq!(state, State::Open { until: SECOND + OPEN_FOR });
    assert!(state.is_open());
}

#[test]
fn a_success_in_between_starts_the_count_again() {
    let mut state = State::default();
    for _ in 0..5 {
        (1..FAILURES_TO_OPEN).for_each(|_| state.failed(SECOND, FAILURES_TO_OPEN));
        state.succeeded();
        assert_eq!(state, State::Closed { failures: 0 });
    }
}

#[test]
fn an_open_state_says_how_long_to_wait_and_then_lets_one_call_of_each_caller_through() {
    let (state, mut turn, other) = (opened_at(Duration::ZERO), Turn::default(), Turn::default());
    assert_eq!(state.refused_for(turn, SECOND), Some(OPEN_FOR - SECOND));
    assert_eq!(state.refused_for(turn, OPEN_FOR), None);
    let _ = turn.take(OPEN_FOR);
    let now = OPEN_FOR + SECOND;
    assert_eq!(state.refused_for(turn, now), Some(OPEN_FOR - SECOND), "one call only");
    assert_eq!(state.refused_for(other, now), None, "another's call is another");
    assert_eq!(state.refused_for(turn, 2 * OPEN_FOR), None, "the call may have vanished");
}

#[test]
fn the_end_of_one_call_decides_for_all() {
    let mut state = opened_at(Duration::ZERO);
    let mut failed = state;
    failed.failed(OPEN_FOR + SECOND, FAILURES_TO_OPEN);
    assert_eq!(failed, State::Open { until: OPEN_FOR + SECOND + OPEN_FOR });
    assert_eq!(failed.refused_for(Turn::default(), OPEN_FOR + SECOND), Some(OPEN_FOR));
    let mut turn = Turn::default();
    let _ = turn.take(OPEN_FOR);
    state.succeeded();
    assert_eq!(state, State::default());
    assert_eq!(state.refused_for(turn, OPEN_FOR + SECOND), None, "a turn is of an open one");
}

#[test]
fn a_call_from_before_it_opened_does_not_keep_it_open_for_longer() {
    let mut state = opened_at(Duration::ZERO);
    state.failed(OPEN_FOR - SECOND, FAILURES_TO_OPEN);
    assert_eq!(state, State::Open { until: OPEN_FOR });
    state.failed(OPEN_FOR, FAILURES_TO_OPEN);
    assert_eq!(state, State::Open { until: 2 * OPEN_FOR });
}

#[test]
fn a_turn_is_given_back_by_who_has_taken_it_alone() {
    let (state, mut turn) = (opened_at(Duration::ZERO), Turn::default());
    let first = turn.take(OPEN_FOR);
    let second = turn.take(2 * OPEN_FOR);
    turn.give_back(first);
    assert_eq!(state.refused_for(turn, 2 * OPEN_FOR), Some(OPEN_FOR));
    turn.give_back(second);
    assert_eq!(state.refused_for(turn, 2 * OPEN_FOR), None);
}

#[test]
fn a_look_at_the_state_tells_for_how_long_calls_are_refused_and_changes_nothing() {
    let (state, turn) = (opened_at(Duration::ZERO), Turn::default());
    assert_eq!(state.refused_for(turn, SECOND), Some(OPEN_FOR - SECOND));
    assert_eq!(state.refused_for(turn, OPEN_FOR), None, "one call would be let through");
    assert_eq!(state, opened_at(Duration::ZERO));
    let closed = State::default();
    assert_eq!((closed.refused_for(turn, SECOND), closed.failures()), (None, 0));
}
