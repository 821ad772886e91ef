//! Many callers, one piece of work: the state that every coalescing layer shares.
//!
//! The work runs on its own task, so a caller that goes away, even the first, does not end it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use crate::telemetry::trace::current;

/// Whose work it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// This caller started it.
    Leader,
    /// Another caller did.
    Follower,
}

/// Why a caller got nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoLanding {
    /// The caller's deadline passed; the work goes on.
    Overdue,
    /// The work panicked.
    Crashed,
}

/// Work under way, as who looks on sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnderWay<K> {
    /// What it is for.
    pub key: K,
    /// How long it has been under way.
    pub age: Duration,
    /// Callers that have joined it since it began, those included that went away again.
    pub followers: u64,
}

struct Flight<V> {
    landed: watch::Receiver<Option<V>>,
    since: Instant,
    followers: u64,
}

type Landings<K, V> = Arc<Mutex<HashMap<K, Flight<V>>>>;

/// Work in progress, by key. As large as the number of keys in progress, which the layers above
/// bound.
pub struct Flights<K, V> {
    landings: Landings<K, V>,
    tasks: TaskTracker,
}

impl<K, V> Clone for Flights<K, V> {
    fn clone(&self) -> Self {
        Self { landings: Arc::clone(&self.landings), tasks: self.tasks.clone() }
    }
}

impl<K, V> fmt::Debug for Flights<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flights({} in progress)", self.landings.lock().len())
    }
}

impl<K, V> Flights<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// No work yet; tasks are counted by `tasks`, which a drain waits for.
    pub fn new(tasks: TaskTracker) -> Self {
        Self { landings: Arc::default(), tasks }
    }

    /// Keys in progress.
    pub fn len(&self) -> usize {
        self.landings.lock().len()
    }

    /// Whether there is work on `key` now.
    pub fn is_under_way(&self, key: &K) -> bool {
        self.landings.lock().contains_key(key)
    }

    /// The oldest work under way on keys that match, `most` of it at most.
    pub fn under_way(&self, most: usize, is_meant: impl Fn(&K) -> bool) -> Vec<UnderWay<K>> {
        let landings = self.landings.lock();
        let seen = landings.iter().filter(|(key, _)| is_meant(key)).map(|(key, flight)| UnderWay {
            key: key.clone(),
            age: flight.since.elapsed(),
            followers: flight.followers,
        });
        let mut seen: Vec<UnderWay<K>> = seen.collect();
        drop(landings);
        seen.sort_by_key(|flight| std::cmp::Reverse(flight.age));
        seen.truncate(most);
        seen
    }

    /// Whether nothing is in progress.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Joins the work on `key`, or starts `work` and leads it; waits until `deadline`.
    ///
    /// `work` lands its value through the given function and may go on afterwards: callers that
    /// come while it does share the landed value. When it returns, the key is free again.
    pub async fn join<W, F>(
        &self,
        key: K,
        deadline: Instant,
        work: W,
    ) -> Result<(V, Role), NoLanding>
    where
        W: FnOnce(Landing<K, V>) -> F,
        F: Future<Output = ()> + Send + 'static,
    {
        let boarded = self.board(key, work);
        let role = boarded.role;
        boarded.landed(deadline).await.map(|value| (value, role))
    }

    /// As [`Flights::join`], for a caller that wants to know its role before it waits.
    pub fn board<W, F>(&self, key: K, work: W) -> Boarded<V>
    where
        W: FnOnce(Landing<K, V>) -> F,
        F: Future<Output = ()> + Send + 'static,
    {
        let (sender, receiver) = watch::channel(None);
        match self.landings.lock().entry(key.clone()) {
            Entry::Occupied(mut flight) => {
                let flight = flight.get_mut();
                flight.followers += 1;
                return Boarded { landed: flight.landed.clone(), role: Role::Follower };
            }
            Entry::Vacant(free) => {
                let (landed, since) = (receiver.clone(), Instant::now());
                free.insert(Flight { landed, since, followers: 0 })
            }
        };
        // The lock is free again: work that drops its landing at once takes it to free the key.
        let landing = Landing { key, landings: Arc::clone(&self.landings), sender };
        self.tasks.spawn(current::inherited(work(landing)));
        Boarded { landed: receiver, role: Role::Leader }
    }
}

/// A caller that has joined.
#[derive(Debug)]
pub struct Boarded<V> {
    landed: watch::Receiver<Option<V>>,
    /// Whose work it is.
    pub role: Role,
}

impl<V: Clone> Boarded<V> {
    /// Waits for the value until `deadline`.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn landed(mut self, deadline: Instant) -> Result<V, NoLanding> {
        let value = match timeout_at(deadline, self.landed.wait_for(Option::is_some)).await {
            Err(_) => return Err(NoLanding::Overdue),
            Ok(Err(_)) => return Err(NoLanding::Crashed),
            Ok(Ok(value)) => value.clone(),
        };
        value.ok_or(NoLanding::Crashed)
    }
}

/// Lands one flight's value. Dropping it frees the key, landed or not.
pub struct Landing<K: Eq + Hash, V> {
    key: K,
    landings: Landings<K, V>,
    sender: watch::Sender<Option<V>>,
}

impl<K: Eq + Hash, V> Landing<K, V> {
    /// Gives the value to everybody who waits, and to those who join until this is dropped.
    pub fn land(&self, value: V) {
        self.sender.send_replace(Some(value));
    }
}

impl<K: Eq + Hash, V> Drop for Landing<K, V> {
    fn drop(&mut self) {
        self.landings.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_callers_share_one_piece_of_work() {
        let flights = Flights::new(TaskTracker::new());
        let runs = Arc::new(AtomicUsize::new(0));
        let calls = (0..100).map(|_| {
            let runs = Arc::clone(&runs);
            flights.join("key", soon(), |landing| async move {
                runs.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_secs(5)).await;
                landing.land(7);
            })
        });
        let results = futures::future::join_all(calls).await;
        let leaders = results.iter().filter(|r| **r == Ok((7, Role::Leader))).count();
        assert_eq!((leaders, runs.load(Ordering::SeqCst)), (1, 1));
        assert!(results.iter().all(Result::is_ok));
        tokio::task::yield_now().await;
        assert!(flights.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_looks_on_sees_what_is_under_way_how_old_it_is_and_how_many_joined() {
        let flights = Flights::new(TaskTracker::new());
        let work = |landing: Landing<_, _>| async move {
            tokio::time::sleep(Duration::from_secs(5)).await;
            landing.land(7);
        };
        drop(flights.board("old", work));
        tokio::time::advance(Duration::from_secs(2)).await;
        drop((flights.board("new", work), flights.board("old", work)));
        let row = |key, seconds, followers| UnderWay {
            key,
            age: Duration::from_secs(seconds),
            followers,
        };
        assert_eq!(flights.under_way(9, |_| true), [row("old", 2, 1), row("new", 0, 0)]);
        assert_eq!(flights.under_way(1, |_| true), [row("old", 2, 1)], "the oldest first");
        assert_eq!(flights.under_way(9, |key| *key == "new"), [row("new", 0, 0)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_goes_away_does_not_end_the_work() {
        let flights = Flights::new(TaskTracker::new());
        let work = |landing: Landing<_, _>| async move {
            tokio::time::sleep(Duration::from_secs(5)).await;
            landing.land(7);
        };
        let early = Instant::now() + Duration::from_secs(1);
        assert_eq!(flights.join("key", early, work).await, Err(NoLanding::Overdue));
        assert_eq!(flights.join("key", soon(), work).await, Ok((7, Role::Follower)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_crash_is_an_answer_and_frees_the_key() {
        let flights: Flights<_, u8> = Flights::new(TaskTracker::new());
        let crashing = |_landing| async move { panic!("on purpose") };
        assert_eq!(flights.join("key", soon(), crashing).await, Err(NoLanding::Crashed));
        assert!(flights.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_joins_while_the_work_goes_on_shares_its_value() {
        let flights = Flights::new(TaskTracker::new());
        let work = |landing: Landing<_, _>| async move {
            landing.land(7);
            tokio::time::sleep(Duration::from_secs(5)).await;
        };
        assert_eq!(flights.join("key", soon(), work).await, Ok((7, Role::Leader)));
        assert_eq!(flights.join("key", soon(), work).await, Ok((7, Role::Follower)));
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!(flights.join("key", soon(), work).await, Ok((7, Role::Leader)));
    }
}
