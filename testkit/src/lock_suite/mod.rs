//! What every lock must do, as small named cases that run against the real service.
//!
//! A kind's test file says how a lock is opened, and gets one test per case:
//!
//! ```ignore
//! async fn make() -> Subject { Subject::new(LEASE, || Arc::new(open_a_replica())) }
//! dipylon_testkit::lock_suite!(make, "needs the redis program: run by cargo xtask test");
//! ```
//!
//! The cases speak of what the port promises and of nothing else. Each has keys of its own, so that
//! several may share a service.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dipylon_middleware::ports::{Acquired, BoxFuture, Held, Lock, LockClaim, LockError};

pub mod grants;
pub mod leases;
pub mod service;
pub mod verdicts;
pub mod wakes;

/// How long a case waits for something that must come to be, beyond what the lease allows.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Says what lies at the service under names that begin so.
type Look = Box<dyn Fn(String) -> BoxFuture<'static, Vec<String>> + Send + Sync>;
/// Takes a lock away behind its holder's back.
type Evict = Box<dyn Fn(String) -> BoxFuture<'static, ()> + Send + Sync>;

/// A lock service, and as many replicas as a case wants.
pub struct Subject {
    open: Box<dyn Fn() -> Arc<dyn Lock> + Send + Sync>,
    lease: Duration,
    prefix: String,
    look: Option<Look>,
    evict: Option<Evict>,
    tells_whose: bool,
    /// Dropped last: the servers that it needs.
    keep: Vec<Box<dyn Any + Send + Sync>>,
}

impl Subject {
    /// `open` makes a new replica, whose locks lapse after `lease` when it is dropped or stops to renew.
    pub fn new(lease: Duration, open: impl Fn() -> Arc<dyn Lock> + Send + Sync + 'static) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let (process, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let prefix = format!("example.com/suite-{process}-{number}");
        let (look, evict, tells_whose, keep) = (None, None, true, Vec::new());
        Self { open: Box::new(open), lease, prefix, look, evict, tells_whose, keep }
    }

    /// How to see what lies at the service.
    #[must_use]
    pub fn looking(
        mut self,
        look: impl Fn(String) -> BoxFuture<'static, Vec<String>> + Send + Sync + 'static,
    ) -> Self {
        self.look = Some(Box::new(look));
        self
    }

    /// How to take a lock away behind its holder's back.
    #[must_use]
    pub fn evicting(
        mut self,
        evict: impl Fn(String) -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) -> Self {
        self.evict = Some(Box::new(evict));
        self
    }

    /// It does not say whose a lock is.
    #[must_use]
    pub fn not_telling_whose(mut self) -> Self {
        self.tells_whose = false;
        self
    }

    /// Keeps `guard` as long as the service is used.
    #[must_use]
    pub fn keep(mut self, guard: impl Any + Send + Sync) -> Self {
        self.keep.push(Box::new(guard));
        self
    }

    /// A new replica.
    pub fn replica(&self) -> Arc<dyn Lock> {
        (self.open)()
    }

    /// How long a lock outlives its last renewal.
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// A wish for a lock of this case.
    pub fn claim(&self, name: &str, owner: &str) -> LockClaim {
        let key = format!("{}/{name}@v1.0.0", self.prefix);
        LockClaim { key: key.into(), owner: format!("{}-{owner}", self.prefix).into() }
    }

    async fn evict(&self, claim: &LockClaim) {
        let evict = self.evict.as_ref().expect("a service from which a lock can be taken away");
        evict(claim.key.to_string()).await;
    }

    async fn left(&self) -> Vec<String> {
        let look = self.look.as_ref().expect("a service that can be looked into");
        look(self.prefix.clone()).await
    }
}

/// The fencing token of a lock that must be granted.
pub(crate) async fn granted(lock: &Arc<dyn Lock>, claim: &LockClaim) -> u64 {
    match lock.acquire(claim).await {
        Ok(Acquired::Granted { fencing }) => fencing,
        other => panic!("{claim:?} was not granted: {other:?}"),
    }
}

/// What is said of a lock that another must have.
pub(crate) async fn held(lock: &Arc<dyn Lock>, claim: &LockClaim) -> Held {
    match lock.acquire(claim).await {
        Ok(Acquired::Held(held)) => held,
        other => panic!("{claim:?} was not held by another: {other:?}"),
    }
}

pub(crate) async fn released(lock: &Arc<dyn Lock>, claim: &LockClaim) {
    assert_eq!(lock.release(claim).await, Ok(true), "{claim:?}");
}

/// Tries until it is granted; the time that took.
pub(crate) async fn eventually(
    lock: &Arc<dyn Lock>,
    claim: &LockClaim,
    limit: Duration,
) -> Result<Duration, LockError> {
    let began = std::time::Instant::now();
    loop {
        if let Acquired::Granted { .. } = lock.acquire(claim).await? {
            return Ok(began.elapsed());
        }
        assert!(began.elapsed() < limit, "{claim:?} is not granted within {limit:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Makes one test per case for the lock that the async function `$make` opens. `$reason` says what the
/// tests need. A service that pushes no release to other replicas, and carries no verdict, is `polled`.
#[macro_export]
macro_rules! lock_suite {
    ($make:path, $reason:literal) => {
        $crate::lock_suite! { polled $make, $reason }
        $crate::lock_suite! { @cases $make, $reason;
            wakes: a_release_wakes_who_waits_in_another_replica,
            wakes: a_release_before_the_wait_is_not_missed,
            wakes: a_release_wakes_all_who_wait,
            wakes: a_wake_is_prompt,
            verdicts: all_who_waited_are_told_what_the_holder_found,
            verdicts: who_waits_is_woken_by_a_verdict,
            verdicts: who_comes_after_a_verdict_has_the_lock,
            verdicts: who_began_to_wait_after_a_verdict_is_not_told,
            verdicts: who_waits_for_another_key_is_not_told,
            verdicts: only_its_owner_settles_a_lock,
            verdicts: a_verdict_stands_for_its_life_and_is_forgotten,
        }
    };
    (polled $make:path, $reason:literal) => {
        $crate::lock_suite! { @cases $make, $reason;
            grants: a_free_lock_is_granted,
            grants: a_lock_that_another_replica_has_is_held,
            grants: a_lock_that_another_owner_of_this_replica_has_is_held,
            grants: its_owner_is_granted_it_again,
            grants: who_does_not_get_a_lock_is_told_whose_it_is,
            grants: locks_of_other_keys_are_free,
            grants: keys_that_differ_in_a_letter_stay_apart,
            grants: keys_with_all_that_versions_may_have_are_locked,
            grants: a_key_of_a_kilobyte_is_locked,
            grants: a_released_lock_is_free_at_once,
            grants: only_its_owner_releases_a_lock,
            grants: a_second_release_says_that_it_is_gone,
            grants: the_same_replica_takes_a_lock_many_times,
            grants: of_100_contenders_one_is_granted,
            grants: two_hundred_locks_are_held_at_once,
            grants: the_fencing_token_grows_from_grant_to_grant,
            grants: the_fencing_token_grows_across_replicas,
            leases: a_renewed_lock_outlives_its_lease,
            leases: a_lock_whose_holder_died_lapses,
            leases: one_of_many_replaces_a_dead_holder,
            leases: other_locks_outlive_one_that_is_released,
            leases: a_lapse_is_announced_within_the_lease,
            leases: only_its_owner_renews_a_lock,
            leases: a_released_lock_is_not_renewed,
            leases: what_was_never_granted_is_neither_renewed_nor_released,
            leases: a_lock_that_was_taken_away_is_not_renewed,
            leases: a_late_holder_does_not_free_its_successor,
            leases: a_question_that_is_dropped_can_be_asked_again,
            wakes: a_release_wakes_who_waits_in_the_same_replica,
            wakes: who_polls_has_what_is_released_within_300_milliseconds,
            service: a_working_service_says_so,
            service: a_check_takes_no_lock_and_leaves_nothing,
            service: nothing_is_left_when_all_is_released,
            service: nothing_is_left_of_a_replica_that_took_leave,
        }
    };
    (@cases $make:path, $reason:literal; $($group:ident : $case:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = $reason]
            async fn $case() {
                $crate::lock_suite::$group::$case($make().await).await;
            }
        )*
    };
}
