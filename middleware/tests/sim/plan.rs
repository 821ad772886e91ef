//! What will happen in one schedule: drawn from its seed before it begins.

use std::time::Duration;

use dipylon_middleware::lock::LockLimits;

/// Milliseconds of simulated time.
pub(crate) type Millis = u64;

/// A small generator (SplitMix64): equal seeds, equal schedules, on every machine.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `least` to `most`, both included.
    pub(crate) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.next() % (most - least + 1)
    }

    /// True so many times in a hundred.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.between(1, 100) <= percent
    }
}

/// Something that happens to a replica, or to all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The replica is gone.
    Crash(usize),
    /// The replica does nothing for so long.
    Stall(usize, Millis),
    /// The replica does not reach the lock service for so long.
    Partition(usize, Millis),
    /// Nobody reaches the lock service for so long.
    Outage(Millis),
    /// The lock service forgets who has the lock, as in a failover.
    Forget,
}

/// One schedule.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) dice: Dice,
    pub(crate) limits: LockLimits,
    pub(crate) patience: Millis,
    /// When each replica is asked for the version, and how fast its clock runs, in thousandths.
    pub(crate) replicas: Vec<(Millis, u64)>,
    pub(crate) faults: Vec<(Millis, Fault)>,
    /// A release is pushed to who waits.
    pub(crate) pushes: bool,
    /// An unreachable service swallows questions instead of refusing them.
    pub(crate) swallows: bool,
    /// Of a hundred answers of the service so many are lost.
    pub(crate) lost_answers: u64,
    /// Of a hundred fetches, and of a hundred saves, so many fail.
    pub(crate) failures: u64,
    /// The longest fetch.
    pub(crate) fetch_max: Millis,
    /// Upstream has nothing, for good.
    pub(crate) refuses: bool,
}

impl Plan {
    /// No fault at all.
    pub(crate) fn healthy(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let limits = LockLimits {
            lease: Duration::from_secs(10),
            renewal: Duration::from_secs(3),
            poll: Duration::from_millis(dice.between(50, 250)),
            ttl: Duration::from_secs(900),
            timeout: Duration::from_secs(15),
            max_retries: 10,
        };
        let replicas = dice.between(2, 6);
        let replicas = (0..replicas).map(|_| (dice.between(0, 5_000), 1_000)).collect();
        Self {
            seed,
            limits,
            patience: 600_000,
            replicas,
            faults: Vec::new(),
            pushes: dice.chance(50),
            swallows: dice.chance(50),
            lost_answers: 0,
            failures: 0,
            // Most are short, as in life; the long ones outlast a lease.
            fetch_max: if dice.chance(80) { 4_000 } else { 30_000 },
            refuses: false,
            dice,
        }
    }

    /// Everything that can go wrong.
    pub(crate) fn faulty(seed: u64) -> Self {
        let mut plan = Self::healthy(seed);
        let (mut dice, count) = (plan.dice.clone(), plan.replicas.len() as u64 - 1);
        plan.patience = dice.between(20_000, 600_000);
        plan.limits.ttl = Duration::from_millis(dice.between(20_000, 900_000));
        plan.lost_answers = dice.between(0, 5);
        plan.failures = dice.between(0, 20);
        for _ in 0..dice.between(0, 5) {
            let (at, long) = (dice.between(0, 60_000), dice.between(100, 40_000));
            let whose = dice.between(0, count) as usize;
            let fault = match dice.between(0, 4) {
                0 => Fault::Crash(whose),
                1 => Fault::Stall(whose, long),
                2 => Fault::Partition(whose, long),
                3 => Fault::Outage(long),
                _ => Fault::Forget,
            };
            plan.faults.push((at, fault));
        }
        plan.dice = dice;
        plan
    }

    /// Upstream has nothing, and nothing else goes wrong.
    pub(crate) fn absent(seed: u64) -> Self {
        Self { refuses: true, ..Self::healthy(seed) }
    }

    /// Upstream has nothing, and everything goes wrong.
    pub(crate) fn absent_and_faulty(seed: u64) -> Self {
        Self { refuses: true, ..Self::faulty(seed) }
    }

    /// Everything that can go wrong, and clocks that run up to a tenth too fast or too slow.
    pub(crate) fn drifting(seed: u64) -> Self {
        let mut plan = Self::faulty(seed);
        let mut dice = plan.dice.clone();
        for (_, rate) in &mut plan.replicas {
            *rate = dice.between(900, 1_100);
        }
        plan.dice = dice;
        plan
    }

    /// One replica dies, and nothing else happens.
    pub(crate) fn dying_holder(seed: u64) -> Self {
        let mut plan = Self::healthy(seed);
        let mut dice = plan.dice.clone();
        let count = plan.replicas.len() as u64 - 1;
        let first = (0..plan.replicas.len()).min_by_key(|number| plan.replicas[*number].0);
        // Mostly the one that was asked first, which leads.
        let whose = match first {
            Some(first) if dice.chance(80) => first,
            _ => dice.between(0, count) as usize,
        };
        let at = plan.replicas[whose].0 + dice.between(0, plan.fetch_max);
        plan.faults.push((at, Fault::Crash(whose)));
        plan.dice = dice;
        plan
    }

    pub(crate) fn drifts(&self) -> bool {
        self.replicas.iter().any(|(_, rate)| *rate != 1_000)
    }

    pub(crate) fn forgets(&self) -> bool {
        self.faults.iter().any(|(_, fault)| *fault == Fault::Forget)
    }

    /// Whether anything keeps a question from being answered.
    pub(crate) fn can_be_unreachable(&self) -> bool {
        let cuts = |fault: &Fault| matches!(fault, Fault::Partition(..) | Fault::Outage(_));
        self.lost_answers > 0 || self.faults.iter().any(|(_, fault)| cuts(fault))
    }

    /// How long replicas do nothing, in all.
    pub(crate) fn stalls(&self) -> Millis {
        let long = |fault: &Fault| if let Fault::Stall(_, long) = fault { *long } else { 0 };
        self.faults.iter().map(|(_, fault)| long(fault)).sum()
    }
}
