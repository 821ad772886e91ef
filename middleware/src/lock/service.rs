use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dipylon_protocol::route::FileKind;
use dipylon_protocol::version::Version;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::TaskTracker;

use super::health::{LockHealth, Service};
use super::holding::{Holding, Keeper, RELEASE_ATTEMPTS, RELEASE_PAUSE};
use super::owner::{owner, span_of};
use super::roll::{Entry, Roll, Standing};
use super::state::{Contest, Footing, LockLimits, Next, Why};
use crate::blob::Blob;
use crate::error::Error;
use crate::forward::Forward;
use crate::ports::{Acquired, BoxFuture, LockClaim, LockError, Moment, Verdict};
use crate::purge::{Era, Purges};
use crate::request::{StashRequest, Want};
use crate::response::{Files, Finished, Stashed, Stored};
use crate::stack::{Stage, stage};
use crate::storage_io::StorageHandle;
use crate::telemetry::trace::{Attributes, SpanRef};
use crate::telemetry::{InFlight, LockWait, Outcome, Phase, SpanAttribute, SpanEvent, Telemetry};

/// How long one look in storage may take. One that takes longer found nothing.
pub const LOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs `S` under a lock across the replicas.
#[derive(Clone, Debug)]
pub struct Locked<S> {
    pub(super) inner: S,
    pub(super) shared: Arc<Shared>,
}

impl<S: Stage<StashRequest, Reply = Stashed>> Locked<S> {
    async fn handle(&self, mut request: StashRequest) -> Result<Stashed, Error> {
        let Self { inner, shared } = self;
        let Some(version) = locked_version(&request) else { return inner.run(request).await };
        let (claim, seed) = shared.claim(&request);
        let wish = Wish { shared, claim, seed, request: &request, version };
        let holding = match wish.contend().await {
            Ending::Stored(stashed) => return Ok(*stashed),
            Ending::Settled(verdict) => return Err(verdict.error()),
            Ending::Granted(holding) => Some(holding),
            Ending::Degraded => None,
        };
        // A fetch has its time from when it may begin.
        request.context.deadline = Instant::now() + shared.stash_timeout;
        let mut stashed = match inner.run(request).await {
            Ok(stashed) => stashed,
            Err(error) => {
                if let (Some(holding), Some(verdict)) = (holding, Verdict::of(&error)) {
                    holding.settle(verdict);
                }
                return Err(error);
            }
        };
        match holding {
            Some(holding) => holding.until(stashed.finished.clone()),
            None if stashed.outcome == Outcome::MissLeader => {
                stashed.outcome = Outcome::MissDegraded;
            }
            None => {}
        }
        Ok(stashed)
    }
}

/// The version that is locked. A small file alone never waits for a zip; of a query nobody knows yet
/// which version will be stored, so there is nothing to look for while waiting.
fn locked_version(request: &StashRequest) -> Option<Version> {
    match request.key.want {
        Want::File(FileKind::Zip) | Want::Version => request.key.version.canonical().cloned(),
        Want::File(FileKind::Info | FileKind::Mod) => None,
    }
}

/// What all calls of one layer share.
pub(super) struct Shared {
    service: Arc<Service>,
    limits: LockLimits,
    stash_timeout: Duration,
    storage: StorageHandle,
    purges: Purges,
    tasks: TaskTracker,
    telemetry: Telemetry,
    pub(super) roll: Roll,
    /// This process among all that lock.
    instance: u64,
    wishes: AtomicU64,
}

impl Shared {
    pub(super) fn new(
        service: Arc<Service>,
        limits: LockLimits,
        stash_timeout: Duration,
        storage: StorageHandle,
        purges: Purges,
        tasks: TaskTracker,
        telemetry: Telemetry,
    ) -> Self {
        let instance = RandomState::new().hash_one(std::process::id());
        let (roll, wishes) = (Roll::default(), AtomicU64::new(0));
        Self {
            service,
            limits,
            stash_timeout,
            storage,
            purges,
            tasks,
            telemetry,
            roll,
            instance,
            wishes,
        }
    }

    pub(super) fn health(&self) -> LockHealth {
        LockHealth(Arc::clone(&self.service))
    }

    /// Athens's key, and an owner that is nobody else's; and a seed for how the wish waits.
    fn claim(&self, request: &StashRequest) -> (LockClaim, u64) {
        let number = self.wishes.fetch_add(1, Ordering::Relaxed);
        let trace = &request.context.trace;
        let span = trace.is_kept().then(|| trace.span()).flatten();
        let claim = LockClaim {
            key: format!("{}@{}", request.key.module, request.key.version).into(),
            owner: owner(self.instance, number, span).into(),
        };
        (claim, self.instance.wrapping_add(number))
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shared(instance {:016x})", self.instance)
    }
}

/// How a wish for a lock ended.
enum Ending {
    Granted(Holding),
    Stored(Box<Stashed>),
    Settled(Verdict),
    Degraded,
}

/// One wish for a lock.
struct Wish<'a> {
    shared: &'a Shared,
    claim: LockClaim,
    seed: u64,
    request: &'a StashRequest,
    version: Version,
}

/// What has been found on the way.
#[derive(Default)]
struct Found {
    holding: Option<Holding>,
    released: Option<BoxFuture<'static, ()>>,
    stashed: Option<Stashed>,
    /// When another was first said to have the lock.
    since: Option<Moment>,
    /// The time in which that was.
    era: Era,
    verdict: Option<Verdict>,
    error: Option<LockError>,
    was_held: bool,
    /// The span that had the lock when it was last asked for.
    holder: Option<SpanRef>,
    /// The place on the roll of who waits.
    waits: Option<Entry>,
}

impl Wish<'_> {
    /// Does what the contest says until the fetch may begin or is not needed.
    async fn contend(&self) -> Ending {
        let Shared { service, limits, telemetry, .. } = self.shared;
        let waiting = InFlight::enter(telemetry.metrics.locks_awaited.get(()));
        let _waits = self.request.context.timings.enter(Phase::Lock);
        let started = Instant::now();
        let patience = self.request.context.deadline.saturating_duration_since(started);
        let (mut contest, mut next) =
            Contest::begin(*limits, Duration::ZERO, patience, service.is_up(), self.seed);
        let waits = self.enters(Standing::Awaited);
        let mut found = Found { waits: Some(waits), ..Found::default() };
        let footing = loop {
            next = match next {
                Next::Acquire => self.acquire(&mut contest, &mut found, started).await,
                Next::Wait(pause) => self.wait(&mut contest, &mut found, pause).await,
                Next::Look => {
                    found.stashed = self.look().await;
                    contest.looked(found.stashed.is_some())
                }
                Next::Serve | Next::Tell => break None,
                Next::Fetch(footing) => break Some(footing),
            };
        };
        drop((waiting, found.waits.take()));
        let was_unanswered = found.error.is_some();
        let (ending, result) = self.ending(footing, found);
        if was_unanswered && !matches!(ending, Ending::Granted(_)) {
            self.give_back();
        }
        let seconds = started.elapsed().as_secs_f64();
        telemetry.metrics.lock_wait_seconds.get((result,)).observe(seconds);
        ending
    }

    async fn acquire(&self, contest: &mut Contest, found: &mut Found, started: Instant) -> Next {
        let asked = Instant::now();
        match self.question(found).await {
            Ok(Acquired::Granted { fencing }) => {
                found.holding = Some(self.hold(fencing, asked));
                found.waits = None;
                contest.granted()
            }
            Ok(Acquired::Held(held)) => {
                if !std::mem::replace(&mut found.was_held, true) {
                    self.note(SpanEvent::LockHeldElsewhere, Vec::new());
                }
                let holder = held.by.as_deref().and_then(span_of);
                if let Some(holder) = holder.filter(|holder| found.holder != Some(*holder)) {
                    self.request.context.trace.link(holder);
                    if let Some(waits) = &found.waits {
                        waits.held_by(holder.trace);
                    }
                    found.holder = Some(holder);
                }
                found.released = Some(held.released);
                found.since = found.since.or(held.since);
                contest.held(started.elapsed(), held.lapses_in)
            }
            Ok(Acquired::Settled(verdict)) => {
                found.verdict = Some(verdict);
                contest.settled()
            }
            Err(error) => {
                found.error = Some(error);
                contest.failed(started.elapsed())
            }
        }
    }

    /// Asks for the lock. What was found before the last purge is no answer, however late it comes.
    async fn question(&self, found: &mut Found) -> Result<Acquired, LockError> {
        let Shared { service, purges, .. } = self.shared;
        let module = &self.request.key.module;
        if !purges.is_still(module, found.era) {
            (found.since, found.era) = (None, purges.era(module));
        }
        match service.acquire(&self.claim, found.since).await {
            Ok(Acquired::Settled(_)) if !purges.is_still(module, found.era) => {
                found.since = None;
                service.acquire(&self.claim, None).await
            }
            answer => answer,
        }
    }

    fn enters(&self, standing: Standing) -> Entry {
        self.shared.roll.enter(&self.claim.key, &self.request.context.id, standing)
    }

    fn hold(&self, fencing: u64, asked: Instant) -> Holding {
        let attribute = i64::try_from(fencing).unwrap_or(i64::MAX);
        self.note(SpanEvent::LockAcquired, vec![(SpanAttribute::Fencing, attribute.into())]);
        tracing::debug!(request_id = %self.request.context.id, key = %self.claim.key, fencing,
            "a lock was acquired");
        let Shared { service, limits, purges, tasks, telemetry, .. } = self.shared;
        let keeper = Keeper {
            service: Arc::clone(service),
            era: purges.era(&self.request.key.module),
            module: self.request.key.module.clone(),
            purges: purges.clone(),
            telemetry: telemetry.clone(),
            claim: self.claim.clone(),
            fencing,
            limits: *limits,
            asked,
            _entry: self.enters(Standing::Held),
        };
        Holding::begin(keeper, tasks)
    }

    /// Waits until time passes, a release is pushed, or the service is found to be down.
    async fn wait(&self, contest: &mut Contest, found: &mut Found, pause: Duration) -> Next {
        let released = found.released.take();
        let pushed = async {
            match released {
                Some(released) => released.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = sleep(pause) => contest.waited(),
            () = pushed => contest.waited(),
            () = self.shared.service.downfall() => contest.service_down(),
        }
    }

    /// What another replica has stored meanwhile, in the files that are wanted.
    async fn look(&self) -> Option<Stashed> {
        let looked = match self.request.key.want {
            Want::Version => timeout(LOOK_TIMEOUT, self.stored_version()).await,
            Want::File(_) => timeout(LOOK_TIMEOUT, self.stored_zip()).await,
        };
        let stored = match looked {
            Ok(Ok(stored)) => stored?,
            Ok(Err(error)) => {
                tracing::debug!(key = %self.claim.key, %error, "storage could not be looked at");
                return None;
            }
            Err(_) => return None,
        };
        let (version, outcome) = (self.version.clone(), Outcome::MissFollower);
        let files = Files { stored, ..Files::default() };
        let (forward, finished) = (Forward::default(), Finished::now());
        Some(Stashed { version, files, outcome, forward, finished })
    }

    async fn stored_zip(&self) -> Result<Option<Stored>, Error> {
        let zip = self.read(FileKind::Zip).await?;
        Ok(zip.map(|zip| Stored { zip: Some(zip), ..Stored::default() }))
    }

    async fn stored_version(&self) -> Result<Option<Stored>, Error> {
        let Some(zip) = self.read(FileKind::Zip).await? else { return Ok(None) };
        let info = self.read(FileKind::Info).await?;
        let go_mod = self.read(FileKind::Mod).await?;
        let is_whole = info.is_some() && go_mod.is_some();
        Ok(is_whole.then_some(Stored { info, go_mod, zip: Some(zip) }))
    }

    async fn read(&self, kind: FileKind) -> Result<Option<Blob>, Error> {
        let StashRequest { context, key } = self.request;
        self.shared.storage.read(context, &key.module, &self.version, kind).await
    }

    fn ending(&self, footing: Option<Footing>, found: Found) -> (Ending, LockWait) {
        match (footing, found) {
            (None, Found { stashed: Some(stashed), .. }) => {
                self.note(SpanEvent::LockStoredElsewhere, Vec::new());
                (Ending::Stored(Box::new(stashed)), LockWait::Stored)
            }
            (None, Found { verdict: Some(verdict), .. }) => {
                self.note(SpanEvent::LockSettledElsewhere, Vec::new());
                (Ending::Settled(verdict), LockWait::Settled)
            }
            (Some(Footing::Locked), Found { holding: Some(holding), .. }) => {
                (Ending::Granted(holding), LockWait::Granted)
            }
            (footing, found) => {
                let why = match footing {
                    Some(Footing::Unlocked(why)) => why,
                    _ => Why::Silent,
                };
                self.degrade(why, found.error);
                (Ending::Degraded, LockWait::Degraded)
            }
        }
    }

    fn degrade(&self, why: Why, error: Option<LockError>) {
        self.note(SpanEvent::LockDegraded, vec![(SpanAttribute::Reason, why.as_str().into())]);
        if why == Why::Overdue {
            tracing::warn!(request_id = %self.request.context.id, key = %self.claim.key,
                "another replica held the lock for the whole StashTimeout: fetched without it");
        }
        if let (Why::Silent, Some(error)) = (why, error) {
            self.shared.service.mark_down(&error);
        }
    }

    /// An attempt whose answer was lost may have been granted, and a busy service may come to it only now: nobody
    /// shall wait for that.
    fn give_back(&self) {
        let Shared { service, tasks, .. } = self.shared;
        let (service, claim) = (Arc::clone(service), self.claim.clone());
        tasks.spawn(async move {
            for attempt in 1..=RELEASE_ATTEMPTS {
                if attempt > 1 {
                    sleep(RELEASE_PAUSE).await;
                }
                // Not ours may mean not yet; and failing is what the service does now. Then the lock lapses.
                if let Ok(true) = service.release(&claim).await {
                    return;
                }
            }
        });
    }

    fn note(&self, event: SpanEvent, attributes: Attributes) {
        self.request.context.trace.event(event, attributes);
    }
}

stage!(Locked<S>: StashRequest => Stashed, over StashRequest => Stashed);
