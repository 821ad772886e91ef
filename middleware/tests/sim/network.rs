//! What the replicas share: the lock service and the storage.

use crate::plan::Millis;

/// How long what was found stands.
pub(crate) const VERDICT_LIFE: Millis = 10_000;

/// Who wants a lock: a replica's number, which is never used again after a crash.
pub(crate) type Owner = usize;

/// A question to the lock service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    Acquire,
    /// The same, of who was told at this moment that another has it.
    AskAgain(Millis),
    Renew,
    Release,
    /// The same, and there is nothing to fetch.
    Settle,
}

/// Its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Granted,
    /// Another has it, for so long, seen at this moment.
    Held(Millis, Millis),
    /// It was found at this moment that there is nothing to fetch.
    Settled(Millis),
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
    /// When a holder said last that there is nothing to fetch.
    found: Option<Millis>,
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
        let owns = holder.is_some_and(|(holder, _)| holder == owner);
        match question {
            Question::Acquire | Question::AskAgain(_) => match (holder, self.told(now, question)) {
                (Some((_, lapses)), _) if !owns => Answer::Held(lapses - now, now),
                (None, Some(found)) => Answer::Settled(found),
                _ => {
                    self.held = Some((owner, now + lease));
                    Answer::Granted
                }
            },
            Question::Renew if owns => {
                self.held = Some((owner, now + lease));
                Answer::Yes
            }
            Question::Release | Question::Settle if owns => {
                self.held = None;
                if question == Question::Settle {
                    self.found = Some(now);
                }
                Answer::Yes
            }
            Question::Renew | Question::Release | Question::Settle => Answer::No,
        }
    }

    /// What was found since this question's asker was told of a holder, and stands.
    pub(crate) fn told(&self, now: Millis, question: Question) -> Option<Millis> {
        let Question::AskAgain(since) = question else { return None };
        self.found.filter(|found| *found >= since && now < found + VERDICT_LIFE)
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
