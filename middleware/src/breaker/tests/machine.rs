//! The pure machine: closed, open, half open, and whose turn it is.

use std::time::Duration;

use crate::breaker::state::{
    CALLERS_APART, OPEN_FOR, State, Turn, UPSTREAM_FAILURES_TO_OPEN as FAILURES_TO_OPEN,
};
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
        assert_eq!(state.admit(&mut Turn::default(), SECOND), Ok(()));
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
    let mut state = opened_at(Duration::ZERO);
    let (mut turn, mut other) = (Turn::default(), Turn::default());
    assert_eq!(state.admit(&mut turn, SECOND), Err(OPEN_FOR - SECOND));
    assert_eq!(state.admit(&mut turn, OPEN_FOR), Ok(()));
    assert_eq!(state.admit(&mut turn, OPEN_FOR + SECOND), Err(OPEN_FOR - SECOND), "one call only");
    let wait = CALLERS_APART - SECOND;
    assert_eq!(state.admit(&mut other, OPEN_FOR + SECOND), Err(wait), "not both at once");
    let now = OPEN_FOR + CALLERS_APART;
    assert_eq!(state.admit(&mut other, now), Ok(()), "another's call is another");
    assert_eq!(state.admit(&mut other, now), Err(OPEN_FOR), "one call of it, too");
}

#[test]
fn of_many_callers_few_are_under_way_where_nobody_is_to_be_reached() {
    let (mut state, mut turns) = (opened_at(Duration::ZERO), [Turn::default(); 100]);
    let mut let_through = 0;
    for second in 0..10 {
        let now = OPEN_FOR + second * SECOND;
        let passed = turns.iter_mut().filter_map(|turn| state.admit(turn, now).ok());
        let_through += passed.count();
    }
    assert_eq!(let_through, 5, "in the time that connecting may take");
}

#[test]
fn a_turn_that_asked_nobody_is_given_back() {
    let (mut state, mut turn) = (opened_at(Duration::ZERO), Turn::default());
    state.admit(&mut turn, OPEN_FOR).expect("the time is over");
    turn.give_back();
    assert_eq!(state.admit(&mut turn, OPEN_FOR + CALLERS_APART), Ok(()));
}

#[test]
fn the_end_of_the_one_call_decides_for_all() {
    let (mut state, mut turn) = (opened_at(Duration::ZERO), Turn::default());
    state.admit(&mut turn, OPEN_FOR).expect("the time is over");
    let mut failed = state;
    failed.failed(OPEN_FOR + SECOND, FAILURES_TO_OPEN);
    assert_eq!(failed, State::Open { until: OPEN_FOR + SECOND + OPEN_FOR });
    assert_eq!(failed.admit(&mut Turn::default(), OPEN_FOR + SECOND), Err(OPEN_FOR));
    state.succeeded();
    assert_eq!(state, State::default());
    assert_eq!(state.admit(&mut turn, OPEN_FOR + SECOND), Ok(()), "a turn is of an open one");
}

#[test]
fn a_call_that_vanishes_does_not_keep_the_state_half_open_for_ever() {
    let (mut state, mut turn) = (opened_at(Duration::ZERO), Turn::default());
    state.admit(&mut turn, OPEN_FOR).expect("the time is over");
    assert_eq!(state.admit(&mut turn, 2 * OPEN_FOR), Ok(()), "another call is let through");
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
