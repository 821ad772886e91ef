//! The scheduler: events in the order of their times, and what follows from each.

mod holder;

use std::collections::BTreeMap;

use dipylon_middleware::lock::{Footing, Hold, Next, Tend, Why};

use crate::network::{Answer, LockService, Owner, Question, Storage};
use crate::plan::{Fault, Millis, Plan};
use crate::replica::{End, Replica};

/// Events of one schedule, at most: a loop without an end is a finding.
const MAX_EVENTS: usize = 200_000;
/// What the layer waits for one answer.
pub(crate) const OPERATION_TIMEOUT: Millis = 2_000;
/// How often a service that is down is checked.
const CHECK_PAUSE: Millis = 1_000;
/// The slowest answer of the network, each way, of a look in storage and of a save.
const NETWORK_MAX: Millis = 20;
pub(crate) const LOOK_MAX: Millis = 50;
const SAVE_MAX: Millis = 500;

/// Something that is due.
#[derive(Clone, Copy, Debug)]
enum Event {
    Asked(Owner),
    Arrives(Owner, Question),
    Answered(Owner, Question, Answer),
    Waited(Owner, u64),
    Looked(Owner),
    Fetched(Owner),
    Saved(Owner),
    Tended(Owner),
    Checked(Owner),
    Fault(Fault),
}

/// What is counted.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) fetches: usize,
    /// Fetches that crashed or failed.
    pub(crate) broken: usize,
    pub(crate) lost: usize,
    pub(crate) unlocked: usize,
    pub(crate) forgotten: usize,
    /// Fetches that were answered for good that there is nothing.
    pub(crate) refused: usize,
    /// Replicas that were told so by another.
    pub(crate) told: usize,
}

/// One schedule under way.
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) now: Millis,
    /// By time, and in the order in which they came about.
    queue: BTreeMap<(Millis, u64), Event>,
    events: u64,
    pub(crate) service: LockService,
    pub(crate) storage: Storage,
    pub(crate) replicas: Vec<Replica>,
    pub(crate) counts: Counts,
    /// When a replica that had the lock died, until another has it.
    widowed: Option<Millis>,
    pub(crate) broken: Option<String>,
    /// Kept only where somebody will read it.
    tells: bool,
    story: Vec<String>,
}

impl World {
    pub(crate) fn new(plan: Plan, tells: bool) -> Self {
        let replicas = plan.replicas.iter().map(|(_, rate)| Replica::new(*rate)).collect();
        let mut world = Self {
            now: 0,
            queue: BTreeMap::new(),
            events: 0,
            service: LockService::default(),
            storage: Storage::default(),
            replicas,
            counts: Counts::default(),
            widowed: None,
            broken: None,
            story: vec![format!("seed {}: {:?}", plan.seed, plan.limits)],
            tells,
            plan,
        };
        for (owner, (at, _)) in world.plan.replicas.clone().into_iter().enumerate() {
            world.at(at, Event::Asked(owner));
        }
        for (at, fault) in world.plan.faults.clone() {
            world.at(at, Event::Fault(fault));
        }
        world
    }

    fn at(&mut self, time: Millis, event: Event) {
        self.events += 1;
        self.queue.insert((time, self.events), event);
    }

    /// Until nothing is due any more.
    pub(crate) fn run(&mut self) {
        let mut left = MAX_EVENTS;
        while let Some(((time, _), event)) = self.queue.pop_first() {
            self.now = time;
            self.handle(event);
            self.watch();
            left -= 1;
            if left == 0 {
                self.broken = Some("invariant 3: the schedule has no end".to_owned());
                return;
            }
        }
    }

    pub(crate) fn fetches(&self) -> usize {
        self.counts.fetches
    }

    /// What happened, one line each.
    pub(crate) fn story(&self) -> String {
        self.story.join("\n")
    }

    fn tell(&mut self, what: impl FnOnce() -> String) {
        if self.tells {
            let line = format!("{:>7} ms {}", self.now, what());
            self.story.push(line);
        }
    }

    fn break_off(&mut self, invariant: &str) {
        let now = self.now;
        self.broken.get_or_insert_with(|| format!("invariant {invariant} (at {now} ms)"));
    }

    // === What holds at every moment ===

    fn watch(&mut self) {
        let excused = self.plan.drifts() || self.plan.forgets();
        let believers = self.replicas.iter().filter(|replica| self.is_sure(replica)).count();
        if believers > 1 && !excused {
            self.break_off("4: two believe to have the lock");
        }
    }

    /// Whether it would say, asked now, that it has the lock: one that stands still says nothing.
    fn is_sure(&self, replica: &Replica) -> bool {
        let awake = replica.stalled_until <= self.now;
        let holds = replica.hold.as_ref().is_some_and(|(hold, asked)| {
            let now = replica.local(self.now).saturating_sub(replica.local(*asked));
            !matches!(hold.tend(now), Tend::Lost(_))
        });
        awake && replica.believes() && holds
    }

    // === Events ===

    fn handle(&mut self, event: Event) {
        if let Event::Fault(fault) = event {
            return self.suffer(fault);
        }
        if let Event::Arrives(owner, question) = event {
            return self.arrive(owner, question);
        }
        let owner = match event {
            Event::Asked(owner)
            | Event::Answered(owner, ..)
            | Event::Waited(owner, _)
            | Event::Looked(owner)
            | Event::Fetched(owner)
            | Event::Saved(owner)
            | Event::Tended(owner)
            | Event::Checked(owner) => owner,
            Event::Fault(_) | Event::Arrives(..) => return,
        };
        let replica = &self.replicas[owner];
        if replica.is_dead {
            return;
        }
        if replica.stalled_until > self.now {
            return self.at(self.replicas[owner].stalled_until, event);
        }
        match event {
            Event::Asked(_) => {
                let seed = self.plan.dice.between(0, u64::MAX - 1);
                let next = self.replicas[owner].begin(self.now, &self.plan, seed);
                self.tell(|| format!("replica {owner} wants it"));
                self.follow(owner, next);
            }
            Event::Answered(_, question, answer) => self.answered(owner, question, answer),
            Event::Waited(_, wait) => self.waited(owner, wait),
            Event::Looked(_) => {
                let is_stored = self.storage.stored.is_some();
                let next = self.contest(owner, |contest, _| contest.looked(is_stored));
                self.follow(owner, next);
            }
            Event::Fetched(_) => self.fetched(owner),
            Event::Saved(_) => self.saved(owner),
            Event::Tended(_) => self.tend(owner),
            Event::Checked(_) => self.check(owner),
            Event::Fault(_) | Event::Arrives(..) => {}
        }
    }

    fn suffer(&mut self, fault: Fault) {
        self.tell(|| format!("{fault:?}"));
        match fault {
            Fault::Crash(owner) => self.crash(owner),
            Fault::Stall(owner, long) => self.replicas[owner].stalled_until = self.now + long,
            Fault::Partition(owner, long) => self.replicas[owner].cut_off_until = self.now + long,
            Fault::Outage(long) => self.service.unreachable_until = self.now + long,
            Fault::Forget => {
                if self.service.holder(self.now).is_some() {
                    self.counts.forgotten += 1;
                }
                self.service.forget();
            }
        }
    }

    fn crash(&mut self, owner: Owner) {
        let replica = &mut self.replicas[owner];
        if replica.is_dead {
            return;
        }
        replica.is_dead = true;
        if replica.fetching.is_some() && replica.end.is_none() {
            self.counts.broken += 1;
        }
        let waits = self.replicas.iter().any(|one| !one.is_dead && one.is_waiting);
        if waits && self.service.holder(self.now).is_some_and(|(holder, _)| holder == owner) {
            self.widowed = Some(self.now);
        }
    }

    // === The lock service ===

    fn ask(&mut self, owner: Owner, question: Question) {
        self.replicas[owner].asked = self.now;
        let latency = self.plan.dice.between(0, NETWORK_MAX);
        self.at(self.now + latency, Event::Arrives(owner, question));
    }

    fn arrive(&mut self, owner: Owner, question: Question) {
        let replica = &self.replicas[owner];
        let unreachable = self.service.unreachable_until.max(replica.cut_off_until) > self.now;
        let timeout = self.replicas[owner].asked + OPERATION_TIMEOUT;
        if unreachable {
            let at = if self.plan.swallows { timeout } else { self.now + 1 };
            return self.at(at, Event::Answered(owner, question, Answer::Failed));
        }
        let lease = u64::try_from(self.plan.limits.lease.as_millis()).unwrap_or(u64::MAX);
        let answer = self.service.ask(self.now, lease, owner, question);
        let gives_back = matches!(question, Question::Release | Question::Settle);
        if gives_back && answer == Answer::Yes && self.plan.pushes {
            self.push();
        }
        if answer == Answer::Granted {
            self.replaced(owner);
        }
        if self.plan.dice.chance(self.plan.lost_answers) {
            return self.at(timeout, Event::Answered(owner, question, Answer::Failed));
        }
        let latency = self.plan.dice.between(0, NETWORK_MAX);
        self.at(self.now + latency, Event::Answered(owner, question, answer));
    }

    /// Who waits hears of a release.
    fn push(&mut self) {
        for owner in 0..self.replicas.len() {
            if self.replicas[owner].is_waiting {
                let wait = self.replicas[owner].waits;
                let latency = self.plan.dice.between(0, NETWORK_MAX);
                self.at(self.now + latency, Event::Waited(owner, wait));
            }
        }
    }

    /// A holder that died has been replaced.
    fn replaced(&mut self, owner: Owner) {
        let Some(died) = self.widowed.take() else { return };
        let limits = &self.plan.limits;
        let allowed = u64::try_from((limits.lease + limits.poll).as_millis()).unwrap_or(u64::MAX);
        let took = self.now - died;
        self.tell(|| format!("replica {owner} takes over {took} ms after the holder died"));
        let is_calm =
            self.plan.faults.len() == 1 && !self.plan.drifts() && !self.plan.can_be_unreachable();
        if is_calm && took > allowed + LOOK_MAX + 3 * NETWORK_MAX {
            self.break_off("6: the dead holder was replaced too late");
        }
    }

    fn answered(&mut self, owner: Owner, question: Question, answer: Answer) {
        match question {
            Question::Acquire | Question::AskAgain(_) => self.acquired(owner, answer),
            Question::Renew => self.renewed(owner, answer),
            // Lost, or nobody knows.
            Question::Release | Question::Settle if answer != Answer::Yes => self.counts.lost += 1,
            Question::Release | Question::Settle => {}
        }
    }

    fn acquired(&mut self, owner: Owner, answer: Answer) {
        let next = match answer {
            Answer::Granted => {
                self.tell(|| format!("replica {owner} has the lock"));
                let asked = self.replicas[owner].asked;
                let hold = Hold::new(self.plan.limits, std::time::Duration::ZERO);
                self.replicas[owner].hold = Some((hold, asked));
                self.at(self.now, Event::Tended(owner));
                self.contest(owner, |contest, _| contest.granted())
            }
            Answer::Held(lapses, seen) => {
                self.replicas[owner].since.get_or_insert(seen);
                self.contest(owner, |contest, now| {
                    contest.held(now, Some(std::time::Duration::from_millis(lapses)))
                })
            }
            Answer::Settled(found) => {
                if found < self.replicas[owner].began {
                    self.break_off("8: told what was found before it asked");
                }
                self.contest(owner, |contest, _| contest.settled())
            }
            Answer::Yes | Answer::No | Answer::Failed => {
                self.contest(owner, |contest, now| contest.failed(now))
            }
        };
        self.follow(owner, next);
    }

    // === The waiter ===

    fn contest(
        &mut self,
        owner: Owner,
        step: impl FnOnce(&mut dipylon_middleware::lock::Contest, std::time::Duration) -> Next,
    ) -> Next {
        let replica = &mut self.replicas[owner];
        let now = replica.local(self.now);
        let contest = replica.contest.as_mut().expect("a wish that has begun");
        step(contest, now)
    }

    fn follow(&mut self, owner: Owner, next: Next) {
        match next {
            Next::Acquire => {
                let again = self.replicas[owner].since.map(Question::AskAgain);
                self.ask(owner, again.unwrap_or(Question::Acquire));
            }
            Next::Look => {
                let latency = self.plan.dice.between(0, LOOK_MAX);
                self.at(self.now + latency, Event::Looked(owner));
            }
            Next::Wait(pause) => {
                let replica = &mut self.replicas[owner];
                replica.waits += 1;
                replica.is_waiting = true;
                let (wait, pause) = (replica.waits, replica.real(pause));
                self.at(self.now + pause, Event::Waited(owner, wait));
            }
            Next::Serve => self.finish(owner, End::Served),
            Next::Tell => {
                self.counts.told += 1;
                self.finish(owner, End::Told);
            }
            Next::Fetch(footing) => self.fetch(owner, footing),
        }
    }

    fn waited(&mut self, owner: Owner, wait: u64) {
        let replica = &mut self.replicas[owner];
        if replica.waits != wait || !replica.is_waiting {
            return;
        }
        replica.is_waiting = false;
        let next = self.contest(owner, |contest, _| contest.waited());
        self.follow(owner, next);
    }

    fn fetch(&mut self, owner: Owner, footing: Footing) {
        self.tell(|| format!("replica {owner} fetches: {footing:?}"));
        self.counts.fetches += 1;
        let replica = &mut self.replicas[owner];
        replica.wait_ended = Some(self.now);
        if replica.fetching.replace(footing).is_some() {
            self.break_off("1: two fetches of one replica");
        }
        if let Footing::Unlocked(why) = footing {
            self.counts.unlocked += 1;
            self.gave_up(owner, why);
        }
        let again = self.replicas[owner].since.map(Question::AskAgain);
        let told = again.and_then(|question| self.service.told(self.now, question));
        if footing == Footing::Locked && told.is_some() && !self.plan.can_be_unreachable() {
            self.break_off("8: it waited, and asks what was answered for good");
        }
        let long = self.plan.dice.between(1, self.plan.fetch_max);
        self.at(self.now + long, Event::Fetched(owner));
    }

    fn gave_up(&mut self, owner: Owner, why: Why) {
        let unreachable = self.plan.can_be_unreachable();
        if matches!(why, Why::Silent | Why::Down) && !unreachable {
            self.break_off("5: a service that works counts as down");
        }
        let waited = self.now - self.replicas[owner].began;
        if why == Why::Overdue && waited * 11 / 10 + 1 < self.plan.patience {
            self.break_off("5: patience was over too soon");
        }
        if why == Why::Silent {
            self.replicas[owner].is_down = true;
            self.at(self.now + CHECK_PAUSE, Event::Checked(owner));
            // An answer that was lost may have been a grant.
            self.ask(owner, Question::Release);
        }
    }

    fn check(&mut self, owner: Owner) {
        let replica = &mut self.replicas[owner];
        if self.service.unreachable_until.max(replica.cut_off_until) > self.now {
            return self.at(self.now + CHECK_PAUSE, Event::Checked(owner));
        }
        replica.is_down = false;
    }

    // === The fetch ===

    fn fetched(&mut self, owner: Owner) {
        if self.plan.dice.chance(self.plan.failures) {
            return self.finish(owner, End::Failed);
        }
        if self.plan.refuses {
            return self.finish(owner, End::Refused);
        }
        let long = self.plan.dice.between(1, SAVE_MAX);
        self.at(self.now + long, Event::Saved(owner));
    }

    fn saved(&mut self, owner: Owner) {
        if self.plan.dice.chance(self.plan.failures) {
            return self.finish(owner, End::Failed);
        }
        self.storage.save(owner);
        self.finish(owner, End::Saved);
    }

    fn finish(&mut self, owner: Owner, end: End) {
        self.tell(|| format!("replica {owner}: {end:?}"));
        let replica = &mut self.replicas[owner];
        replica.end = Some(end);
        replica.wait_ended.get_or_insert(self.now);
        match end {
            End::Failed => self.counts.broken += 1,
            End::Refused => self.counts.refused += 1,
            End::Served | End::Told | End::Saved => {}
        }
        if self.replicas[owner].hold.take().is_some() {
            let settles = end == End::Refused;
            self.ask(owner, if settles { Question::Settle } else { Question::Release });
        }
    }
}
