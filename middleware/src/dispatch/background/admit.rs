//! How versions come into the queue: for clients that do not wait for them, and ahead of any client.

use std::sync::Arc;

use dipylon_protocol::path::ModulePath;
use dipylon_protocol::query::VersionQuery;

use super::super::state::{Key, Offer};
use super::{Background, Cause, Shared};
use crate::flight::{NoLanding, Role};
use crate::request::{FileRequest, RequestContext};
use crate::telemetry::Kept;

/// What came of a version that was to be fetched before a client asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ahead {
    /// It waits for its turn, and the store, where there is one, has it.
    Accepted,
    /// It waits for its turn, and the store has not taken it: a crash would lose it.
    Unkept,
    /// It waits or runs already.
    Queued,
    /// There is no room.
    Full,
    /// It is remembered that it cannot be had.
    KnownAbsent,
    /// Policy forbids to fetch it.
    Forbidden,
    /// The store did not say in time whether it has it. It may be fetched all the same, and is not promised.
    Unsure,
}

impl Background {
    /// Takes the version of a request into the queue, but for one of which is remembered that it cannot be had,
    /// and says whether policy allows to fetch it. When this returns, the store, where there is one, has it.
    pub(in crate::dispatch) async fn accept(&self, request: &FileRequest) -> bool {
        let FileRequest { context, module, version, .. } = request;
        self.ahead(context, module, version).await != Ahead::Forbidden
    }

    /// Takes a version into the queue that a client need not have asked for, by the same rules.
    pub async fn ahead(
        &self,
        context: &RequestContext,
        module: &ModulePath,
        version: &VersionQuery,
    ) -> Ahead {
        if !(self.0.ports.may_fetch)(module, version) {
            return Ahead::Forbidden;
        }
        if self.0.ports.negatives.knows(module, version) {
            return Ahead::KnownAbsent;
        }
        self.enqueue(context, Key { module: module.clone(), version: version.clone() }).await
    }

    async fn enqueue(&self, context: &RequestContext, key: Key) -> Ahead {
        let shared = &self.0;
        // What goes on in the background links to it.
        context.trace.keep(Kept::Miss);
        let span = context.trace.span();
        let cause = Cause { request_id: Arc::clone(&context.id), span };
        if shared.ports.store.is_none() {
            let offer = shared.offer(&key, cause);
            if offer == Offer::Accepted {
                shared.queue.lock().release(&key, shared.now());
            }
            shared.note(offer, &key);
            Shared::start_workers(shared);
            return told(offer, true);
        }
        // On a task of its own: a client that goes away leaves no entry that only the memory knows.
        let (this, wanted) = (Arc::clone(shared), key.clone());
        let landed = shared
            .keeping
            .join(key.clone(), context.deadline, |landing| async move {
                let offer = this.offer(&wanted, cause);
                let mut is_kept = false;
                if offer == Offer::Accepted {
                    is_kept = this.keep(&wanted).await;
                    if is_kept {
                        this.queue.lock().kept(&wanted);
                    }
                    this.queue.lock().release(&wanted, this.now());
                }
                landing.land((offer, is_kept));
                drop(landing);
                Shared::start_workers(&this);
            })
            .await;
        match landed {
            Ok(((offer, is_kept), role)) => {
                let offer = match (offer, role) {
                    (Offer::Accepted, Role::Follower) => Offer::Duplicate,
                    (offer, _) => offer,
                };
                shared.note(offer, &key);
                told(offer, is_kept)
            }
            Err(NoLanding::Overdue) => {
                tracing::error!(module = %key.module, version = %key.version,
                    "the queue's directory did not take a background fetch in time");
                Ahead::Unsure
            }
            Err(NoLanding::Crashed) => {
                shared.queue.lock().end(&key);
                Ahead::Unsure
            }
        }
    }
}

fn told(offer: Offer, is_kept: bool) -> Ahead {
    match offer {
        Offer::Accepted if is_kept => Ahead::Accepted,
        Offer::Accepted => Ahead::Unkept,
        Offer::Duplicate => Ahead::Queued,
        Offer::Full => Ahead::Full,
    }
}
