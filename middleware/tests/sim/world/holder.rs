//! What a replica does while it has the lock.

use dipylon_middleware::lock::{Loss, Tend};

use super::{Event, World};
use crate::network::{Answer, Owner, Question};

impl World {
    pub(super) fn tend(&mut self, owner: Owner) {
        let replica = &self.replicas[owner];
        let Some((hold, asked)) = &replica.hold else { return };
        let now = replica.local(self.now).saturating_sub(replica.local(*asked));
        match hold.tend(now) {
            Tend::Lost(loss) => {
                self.tell(|| format!("replica {owner} has lost the lock: {loss:?}"));
                self.counts.lost += 1;
                self.replicas[owner].hold = None;
                if loss == Loss::Ttl {
                    self.ask(owner, Question::Release);
                }
            }
            Tend::RenewAt(at) if at > now => {
                let pause = replica.real(at - now).max(1);
                self.at(self.now + pause, Event::Tended(owner));
            }
            Tend::RenewAt(_) if !replica.is_renewing => {
                self.replicas[owner].is_renewing = true;
                self.ask(owner, Question::Renew);
            }
            Tend::RenewAt(_) => {}
        }
    }

    pub(super) fn renewed(&mut self, owner: Owner, answer: Answer) {
        let replica = &mut self.replicas[owner];
        replica.is_renewing = false;
        let (sent, now) = (replica.local(replica.asked), replica.local(self.now));
        let Some((mut hold, asked)) = replica.hold.take() else { return };
        let began = replica.local(asked);
        match answer {
            Answer::Yes => hold.renewed(sent.saturating_sub(began)),
            Answer::No => hold.refused(),
            Answer::Granted | Answer::Held(..) | Answer::Settled(_) | Answer::Failed => {
                hold.failed(now.saturating_sub(began));
            }
        }
        self.replicas[owner].hold = Some((hold, asked));
        self.tend(owner);
    }
}
