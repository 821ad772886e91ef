//! The judgement: what must hold when nothing is due any more.

use crate::network::{Owner, Storage};
use crate::replica::Replica;
use crate::world::{Counts, LOOK_MAX, OPERATION_TIMEOUT, World};

impl World {
    /// Which invariant was broken, if any.
    pub(crate) fn judge(&self) -> Result<(), String> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        let Counts { fetches, broken, lost, unlocked, forgotten, refused, told } = self.counts;
        // Who asks after an answer for good, and did not wait for it, asks upstream too.
        let excused = 1 + broken + lost + unlocked + forgotten + refused;
        if fetches > excused {
            return Err(format!("invariant 1: {fetches} fetches, {:?}", self.counts));
        }
        let Storage { created, stored, .. } = &self.storage;
        if *created > 1 || (*created == 1) != stored.is_some() {
            return Err(format!("invariant 2: {:?}", self.storage));
        }
        if told > 0 && refused == 0 && broken == 0 {
            return Err(format!("invariant 8: told what nobody found, {:?}", self.counts));
        }
        for (owner, replica) in self.replicas.iter().enumerate().filter(|(_, one)| !one.is_dead) {
            self.judge_end(owner, replica)?;
        }
        // Long after the last event.
        if self.service.holder(self.now + 60_000).is_some() {
            return Err("invariant 7: a lock is left".to_owned());
        }
        Ok(())
    }

    fn judge_end(&self, owner: Owner, replica: &Replica) -> Result<(), String> {
        if replica.end.is_none() || replica.hold.is_some() || replica.is_waiting {
            return Err(format!("invariant 3: replica {owner} has no end: {replica:?}"));
        }
        let waited = replica.wait_ended.unwrap_or(self.now) - replica.began;
        let slack = self.plan.stalls() + 2 * OPERATION_TIMEOUT + LOOK_MAX + 1_000;
        let allowed = self.plan.patience * 10 / 9 + slack;
        if waited > allowed {
            return Err(format!("invariant 3: replica {owner} waited {waited} of {allowed} ms"));
        }
        Ok(())
    }
}
