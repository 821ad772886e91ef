//! What the replicas share: the lock service and the storage.

use crate::plan::Millis;

/// Who wants a lock: a replica's number, which is never used again after a crash.
pub(crate) type Owner = usize;

/// A question to the lock service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    Acquire,
    Renew,
    Release,
}

/// Its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Granted,
    /// Another has it, for so long.
    Held(Millis),
    /// It is the owner's, or was until now.
    Yes,
    /// It is not.
    No,
    /// None came.
    Failed,
}

/// A lock with a lease.
#[derive(Debug, Default)]
pub(crate) struct LockService {
    held: Option<(Owner, Millis)>,
    pub(crate) unreachable_until: Millis,
}

impl LockService {
    pub(crate) fn ask(
        &mut self,
        now: Millis,
        lease: Millis,
        owner: Owner,
        question: Question,
    ) -> Answer {
        let holder = self.holder(now);
        match question {
            Question::Acquire => match holder {
                Some((other, lapses)) if other != owner => Answer::Held(lapses - now),
                _ => {
                    self.held = Some((owner, now + lease));
                    Answer::Granted
                }
            },
            Question::Renew | Question::Release => match holder {
                Some((holder, _)) if holder == owner => {
                    let is_renewed = question == Question::Renew;
                    self.held = is_renewed.then_some((owner, now + lease));
                    Answer::Yes
                }
                _ => Answer::No,
            },
        }
    }

    /// Who has the lock now, and until when.
    pub(crate) fn holder(&self, now: Millis) -> Option<(Owner, Millis)> {
        self.held.filter(|(_, lapses)| *lapses > now)
    }

    pub(crate) fn forget(&mut self) {
        self.held = None;
    }
}

/// One version, created if absent.
#[derive(Debug, Default)]
pub(crate) struct Storage {
    /// Whose bytes are stored.
    pub(crate) stored: Option<Owner>,
    pub(crate) created: usize,
    pub(crate) existed: usize,
}

impl Storage {
    pub(crate) fn save(&mut self, owner: Owner) {
        if self.stored.is_some() {
            self.existed += 1;
        } else {
            self.stored = Some(owner);
            self.created += 1;
        }
    }
}
