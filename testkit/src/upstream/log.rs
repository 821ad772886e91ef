//! The record of every request that a fake has seen.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, Method, StatusCode};
use parking_lot::Mutex;

/// Requests kept in the record. A test that makes more must look at it, and clear it, in between.
const MAX_RECORDED: usize = 1_000_000;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It has not.
    Open,
    /// The whole answer was handed to the connection.
    Completed,
    /// The client went away, or a fault cut the answer.
    Aborted,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// GET, HEAD or what else came.
    pub method: Method,
    /// The path with its percent-encoding undone, e.g. `/github.com/!azure/x/@v/list`.
    pub path: String,
    /// The path as it came.
    pub raw_path: String,
    /// The request's headers.
    pub headers: HeaderMap,
    /// When the request's headers had arrived.
    pub at: Instant,
    /// The status answered; `None` while there is none, or when the connection was cut before it.
    pub status: Option<StatusCode>,
    /// How it ended.
    pub end: End,
}

#[derive(Debug, Default)]
struct State {
    /// Requests cleared away before the first of `seen`.
    cleared: usize,
    seen: Vec<Recorded>,
    lost: usize,
    in_flight: usize,
    max_in_flight: usize,
}

/// The record, shared by all connections.
#[derive(Debug, Default)]
pub(crate) struct Log {
    state: Mutex<State>,
}

impl Log {
    /// Notes a request's beginning. Its end is noted through the [`Flight`].
    pub(crate) fn begin(
        self: &Arc<Self>,
        method: &Method,
        (raw_path, path): (&str, &str),
        headers: &HeaderMap,
    ) -> Flight {
        let mut state = self.state.lock();
        state.in_flight += 1;
        state.max_in_flight = state.max_in_flight.max(state.in_flight);
        let number = state.cleared + state.seen.len();
        if state.seen.len() >= MAX_RECORDED {
            state.lost += 1;
            return Flight { log: self.clone(), number: usize::MAX, ended: false };
        }
        state.seen.push(Recorded {
            method: method.clone(),
            path: path.to_owned(),
            raw_path: raw_path.to_owned(),
            headers: headers.clone(),
            at: Instant::now(),
            status: None,
            end: End::Open,
        });
        Flight { log: self.clone(), number, ended: false }
    }

    /// Everything seen so far, in order of arrival.
    ///
    /// # Panics
    /// When more came than the record holds, since any count would then be wrong.
    pub(crate) fn all(&self) -> Vec<Recorded> {
        self.with(<[Recorded]>::to_vec)
    }

    pub(crate) fn count(&self, matches: impl Fn(&Recorded) -> bool) -> usize {
        self.with(|seen| seen.iter().filter(|request| matches(request)).count())
    }

    /// How often each path was asked for with GET.
    ///
    /// # Panics
    /// As [`Log::all`].
    pub(crate) fn gets_by_path(&self) -> BTreeMap<String, usize> {
        self.with(|seen| {
            let mut counts = BTreeMap::new();
            for request in seen.iter().filter(|request| request.method == Method::GET) {
                *counts.entry(request.path.clone()).or_default() += 1;
            }
            counts
        })
    }

    fn with<T>(&self, look: impl FnOnce(&[Recorded]) -> T) -> T {
        let state = self.state.lock();
        assert!(state.lost == 0, "more than {MAX_RECORDED} requests: clear the record in between");
        look(&state.seen)
    }

    pub(crate) fn max_in_flight(&self) -> usize {
        self.state.lock().max_in_flight
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.state.lock().in_flight
    }

    /// Forgets all requests; those in flight still count as in flight.
    pub(crate) fn clear(&self) {
        let mut state = self.state.lock();
        state.cleared += state.seen.len();
        state.seen.clear();
        state.lost = 0;
        state.max_in_flight = state.in_flight;
    }
}

/// A request under way. Dropped without [`Flight::complete`], it was aborted.
#[derive(Debug)]
pub(crate) struct Flight {
    log: Arc<Log>,
    number: usize,
    ended: bool,
}

impl Flight {
    pub(crate) fn status(&self, status: StatusCode) {
        self.update(&mut self.log.state.lock(), |seen| seen.status = Some(status));
    }

    pub(crate) fn complete(&mut self) {
        self.end(End::Completed);
    }

    fn end(&mut self, end: End) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let mut state = self.log.state.lock();
        state.in_flight -= 1;
        self.update(&mut state, |seen| seen.end = end);
    }

    fn update(&self, state: &mut State, change: impl FnOnce(&mut Recorded)) {
        let index = self.number.checked_sub(state.cleared);
        if let Some(seen) = index.and_then(|index| state.seen.get_mut(index)) {
            change(seen);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.end(End::Aborted);
    }
}
