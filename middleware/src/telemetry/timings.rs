//! Where the time of one request went: the phases of `Server-Timing`, of the log event and of the metrics.
//!
//! At each moment a request is in one phase, so the phases add up to its duration. Where several are true at once,
//! because work for it goes on side by side, the moment belongs to the one that is declared last: the closest to what
//! is really waited for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::labels::{Label, label};

label! {
    /// A part of a request's time; each moment belongs to one.
    Phase = "phase" {
        /// What is no other phase: the gateway's own work.
        Gateway = "gateway",
        /// Waiting for a fetch, one's own or another request's, where nothing closer is known.
        Stash = "stash",
        /// Waiting for the validator hook.
        Policy = "policy",
        /// Waiting for storage.
        Storage = "storage",
        /// Waiting for a slot, or for a turn at an upstream host.
        Queue = "queue",
        /// Waiting for a lock among replicas.
        Lock = "lock",
        /// Waiting for what the checksum database says.
        Verify = "verify",
        /// Waiting until an upstream's answer begins.
        Upstream = "upstream",
        /// The answer's body is on its way to the client.
        Send = "send",
    }
}

/// How many phases there are.
pub const PHASES: usize = Phase::ALL.len();

/// The time of one request so far, by phase. A pure machine: the caller brings the time.
#[derive(Clone, Debug)]
struct Timeline {
    since: Instant,
    active: [u16; PHASES],
    spent: [Duration; PHASES],
}

impl Timeline {
    fn new(started: Instant) -> Self {
        Self { since: started, active: [0; PHASES], spent: [Duration::ZERO; PHASES] }
    }

    /// What has passed since the last change belongs to the phase that it was in.
    fn advance(&mut self, now: Instant) {
        let phase = self.active.iter().rposition(|count| *count > 0).unwrap_or_default();
        self.spent[phase] += now.saturating_duration_since(self.since);
        self.since = self.since.max(now);
    }

    fn enter(&mut self, phase: Phase, now: Instant) {
        self.advance(now);
        let active = &mut self.active[phase.index()];
        *active = active.saturating_add(1);
    }

    fn leave(&mut self, phase: Phase, now: Instant) {
        self.advance(now);
        let active = &mut self.active[phase.index()];
        *active = active.saturating_sub(1);
    }
}

/// What was spent until some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent([Duration; PHASES]);

impl Spent {
    /// In one phase.
    pub fn of(&self, phase: Phase) -> Duration {
        self.0[phase.index()]
    }

    /// Altogether.
    pub fn total(&self) -> Duration {
        self.0.iter().sum()
    }

    /// The header's value: each phase that took time, then the total, in milliseconds with three decimals. Those add
    /// up as written: what one is rounded down by counts for the next.
    pub fn server_timing(&self) -> String {
        let mut text = String::with_capacity(64);
        let (mut passed, mut told) = (Duration::ZERO, 0);
        for phase in Phase::ALL {
            passed += self.of(*phase);
            let until = passed.as_micros();
            if until > told {
                text.push_str(phase.as_str());
                push_milliseconds(&mut text, until - told);
                text.push_str(", ");
                told = until;
            }
        }
        text.push_str("total");
        push_milliseconds(&mut text, told);
        text
    }
}

/// Three decimals. Each answer has a few of these, and general formatting costs as much as all else in the header.
fn push_milliseconds(text: &mut String, micros: u128) {
    text.push_str(";dur=");
    match micros / 1_000 {
        0 => text.push('0'),
        whole => text.push_str(&whole.to_string()),
    }
    let rest = (micros % 1_000) as u16;
    let digits = [rest / 100, rest / 10 % 10, rest % 10].map(|digit| b'0' + digit as u8);
    text.push('.');
    // Digits are text.
    text.push_str(std::str::from_utf8(&digits).unwrap_or_default());
}

/// The time of one request; shared by all layers that handle it.
#[derive(Debug)]
pub struct Timings(Mutex<Timeline>);

impl Default for Timings {
    fn default() -> Self {
        Self::new(Instant::now())
    }
}

impl Timings {
    /// Of a request that began then.
    pub fn new(started: Instant) -> Self {
        Self(Mutex::new(Timeline::new(started)))
    }

    /// The request is in this phase until what is returned is dropped.
    #[must_use]
    pub fn enter(self: &Arc<Self>, phase: Phase) -> InPhase {
        self.0.lock().enter(phase, Instant::now());
        InPhase { timings: Arc::clone(self), phase }
    }

    /// The request is in this phase from `now` on, to its end: nobody leaves it.
    pub fn enter_last(&self, phase: Phase, now: Instant) {
        self.0.lock().enter(phase, now);
    }

    /// What was spent until `now`, which is no earlier than any change.
    pub fn spent(&self, now: Instant) -> Spent {
        let mut timeline = self.0.lock();
        timeline.advance(now);
        Spent(timeline.spent)
    }
}

/// A phase that a request is in.
#[derive(Debug)]
pub struct InPhase {
    timings: Arc<Timings>,
    phase: Phase,
}

impl Drop for InPhase {
    fn drop(&mut self) {
        self.timings.0.lock().leave(self.phase, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A request that enters (`true`) and leaves phases at these seconds; what was spent by the last.
    fn run(steps: &[(u32, bool, Phase)], end: u32) -> Timeline {
        let started = Instant::now();
        let mut timeline = Timeline::new(started);
        for (at, enters, phase) in steps {
            let now = started + *at * SECOND;
            if *enters { timeline.enter(*phase, now) } else { timeline.leave(*phase, now) }
        }
        timeline.advance(started + end * SECOND);
        timeline
    }

    fn seconds(timeline: &Timeline) -> Vec<(Phase, u64)> {
        let spent = |phase: &Phase| (*phase, timeline.spent[phase.index()].as_secs());
        Phase::ALL.iter().map(spent).filter(|(_, seconds)| *seconds > 0).collect()
    }

    #[test]
    fn each_moment_belongs_to_one_phase_and_the_rest_to_the_gateway() {
        let steps = [(1, true, Phase::Storage), (3, false, Phase::Storage), (4, true, Phase::Send)];
        let timeline = run(&steps, 9);
        assert_eq!(
            seconds(&timeline),
            [(Phase::Gateway, 2), (Phase::Storage, 2), (Phase::Send, 5)]
        );
    }

    #[test]
    fn of_phases_side_by_side_the_closest_to_what_is_waited_for_has_the_moment() {
        let steps = [
            (0, true, Phase::Stash),
            (1, true, Phase::Queue),
            (2, true, Phase::Upstream),
            (2, true, Phase::Upstream),
            (3, false, Phase::Queue),
            (4, false, Phase::Upstream),
            (6, true, Phase::Verify),
            (7, false, Phase::Upstream),
            (8, false, Phase::Verify),
            (9, false, Phase::Stash),
        ];
        let timeline = run(&steps, 10);
        let wanted = [
            (Phase::Gateway, 1),
            (Phase::Stash, 2),
            (Phase::Queue, 1),
            (Phase::Verify, 1),
            (Phase::Upstream, 5),
        ];
        assert_eq!(seconds(&timeline), wanted);
        assert_eq!(Spent(timeline.spent).total(), 10 * SECOND);
    }

    #[test]
    fn what_is_written_adds_up_as_it_is_written() {
        let nanoseconds = [1_900, 999, 0, 1_500_700, 300, 0, 0, 2_000_000_999, 77];
        let spent = Spent(nanoseconds.map(Duration::from_nanos));
        let text = spent.server_timing();
        assert_eq!(
            text,
            "gateway;dur=0.001, stash;dur=0.001, storage;dur=1.501, upstream;dur=2000.001, total;dur=2001.504"
        );
        let micros = |part: &str| -> u64 {
            part.split_once("dur=").unwrap().1.replace('.', "").parse().unwrap()
        };
        let (total, phases) = text
            .split(", ")
            .map(micros)
            .collect::<Vec<_>>()
            .split_last()
            .map(|(total, phases)| (*total, phases.iter().sum::<u64>()))
            .unwrap();
        assert_eq!(total, phases);
    }

    #[test]
    fn the_last_phase_lasts_until_the_request_is_asked_what_it_spent() {
        let started = Instant::now();
        let timings = Timings::new(started);
        timings.enter_last(Phase::Send, Instant::now());
        let spent = timings.spent(started + 60 * SECOND);
        assert!(spent.of(Phase::Send) > 50 * SECOND, "{spent:?}");
        assert_eq!(spent.total(), 60 * SECOND);
    }

    #[test]
    fn a_phase_ends_with_its_guard_and_a_request_that_did_nothing_has_a_total() {
        let timings = Arc::new(Timings::new(Instant::now()));
        assert_eq!(timings.spent(Instant::now()).of(Phase::Lock), Duration::ZERO);
        let entered = timings.enter(Phase::Lock);
        let middle = Instant::now() + SECOND;
        let spent = timings.spent(middle);
        assert!(spent.of(Phase::Lock) >= SECOND / 2, "{spent:?}");
        drop(entered);
        let later = timings.spent(middle + SECOND);
        assert_eq!(later.of(Phase::Lock), spent.of(Phase::Lock));
        assert!(later.server_timing().contains("total;dur="));
    }
}
