//! `SingleFlightType = "azureblob"`: a lease on a blob, as Athens has it.
//!
//! The blob is `lease/<module>@<version>`, one byte long, and Athens's too: whoever has its lease has the
//! lock, so both wait for each other. A holder that dies stops renewing, and its lease ends. The blob stays
//! when the lease is given back, as Athens leaves it: Athens asks for a lease on a blob that it has just seen,
//! and one that is gone by then fails the request of whoever waits there.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dipylon_middleware::ports::{Acquired, BoxFuture, Held, Lock, LockClaim, LockError};
use http::header::IF_NONE_MATCH;
use http::{Method, StatusCode};
use std::hash::{BuildHasher as _, RandomState};

use super::super::wakers::Wakers;
use super::check::Check;
use super::hash::uuid;
use super::removals::Removals;
use super::wire::{Call, Errand, Lane, Wire, code_of, in_path, refused};
use crate::storage::object::{Access, Answer};

/// The bounds of a lease that Azure grants.
pub const MIN_LEASE: Duration = Duration::from_secs(15);
/// See [`MIN_LEASE`].
pub const MAX_LEASE: Duration = Duration::from_secs(60);

/// Where Athens has its leases.
const PREFIX: &str = "lease/";
/// Where a blob lies whose lease is asked for to see whether that works.
const CHECK_PREFIX: &str = ".dipylon/lock-check/";
/// What Athens writes into a blob that is only leased.
const CONTENT: &[u8] = &[1];
/// A blob may be removed between two requests so often.
const MAX_ROUNDS: usize = 3;

/// Locks in a container.
pub struct AzureLock {
    leases: Arc<Leases>,
    check: Check,
    removals: Removals,
    wakers: Arc<Wakers>,
}

/// Questions about leases.
struct Leases {
    wire: Wire,
    seconds: u64,
    check_name: String,
}

/// What a question about a lease came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leased {
    /// It is as was asked.
    Done,
    /// The lease is another's, or nobody's.
    Refused,
    /// The same, but it was sent twice: the first may have been done.
    Unsure,
    /// There is no such blob.
    Missing,
}

impl AzureLock {
    /// Locks that lapse after `lease`, brought within what Azure grants. Connects nowhere.
    pub fn open(access: Access, lease: Duration) -> Self {
        let wire = Wire::new(access);
        let random = RandomState::new().hash_one(std::process::id());
        let check_name = wire.name(CHECK_PREFIX, &format!("{random:016x}"));
        let seconds = lease.clamp(MIN_LEASE, MAX_LEASE).as_secs();
        let leases = Arc::new(Leases { wire, seconds, check_name });
        let (check, removals, wakers) = (Check::default(), Removals::default(), Arc::default());
        Self { leases, check, removals, wakers }
    }

    async fn try_acquire(&self, claim: &LockClaim) -> Result<Acquired, LockError> {
        let errand = Errand::new(Lane::Question);
        let waker = self.wakers.register(&claim.key);
        let leases = &self.leases;
        let name = leases.name(&claim.key);
        for _ in 0..MAX_ROUNDS {
            match leases.take(errand, &name, &claim.owner).await? {
                Leased::Done => {
                    let fencing = leases.wire.clock.token(0);
                    return Ok(Acquired::Granted { fencing });
                }
                Leased::Refused | Leased::Unsure => {
                    let released = Box::pin(waker.woken());
                    // A lease does not say whose it is.
                    let (by, lapses_in, since) = (None, None, None);
                    return Ok(Acquired::Held(Held { by, lapses_in, released, since }));
                }
                Leased::Missing => leases.make(errand, &name).await?,
            }
        }
        Err(LockError::new("the blob of a lease is removed as soon as it is made"))
    }

    async fn ours(&self, claim: &LockClaim, action: &'static str) -> Result<Leased, LockError> {
        let (name, id) = (self.leases.name(&claim.key), [("x-ms-lease-id", uuid(&claim.owner))]);
        self.leases.lease(Errand::new(Lane::Upkeep), &name, action, &id).await
    }

    async fn try_release(&self, claim: &LockClaim) -> Result<bool, LockError> {
        let is_first = self.removals.send(claim);
        let is_ours = match self.ours(claim, "release").await? {
            Leased::Done | Leased::Unsure => true,
            // One whose answer was lost has done it.
            Leased::Refused => !is_first,
            Leased::Missing => false,
        };
        self.removals.are_over(claim);
        if is_ours {
            self.wakers.wake(&claim.key);
        }
        Ok(is_ours)
    }

    async fn try_check(&self) -> Result<(), LockError> {
        let leases = Arc::clone(&self.leases);
        let prove = || async move { leases.prove().await };
        self.check.outcome(Errand::new(Lane::Upkeep), prove).await
    }
}

impl Leases {
    fn name(&self, key: &str) -> String {
        self.wire.name(PREFIX, key)
    }

    fn url(&self, name: &str) -> String {
        format!("{}/{}", self.wire.access.base, in_path(name))
    }

    async fn lease(
        &self,
        errand: Errand,
        name: &str,
        action: &'static str,
        more: &[(&'static str, String)],
    ) -> Result<Leased, LockError> {
        let url = format!("{}?comp=lease", self.url(name));
        let mut call = Call::new(Method::PUT, url).with("x-ms-lease-action", action);
        call.headers.extend(more.iter().cloned());
        let (answer, is_repeat) = self.wire.send_noting(errand, &call).await?;
        let refusal = if is_repeat { Leased::Unsure } else { Leased::Refused };
        match answer.status {
            status if status.is_success() => Ok(Leased::Done),
            StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED if is_of_the_lease(&answer) => {
                Ok(refusal)
            }
            StatusCode::NOT_FOUND if is_of_the_blob(&answer) => Ok(Leased::Missing),
            _ => Err(refused(&format!("{action} a lease"), &answer)),
        }
    }

    /// The lease for this owner, asked for again as often as wanted.
    async fn take(&self, errand: Errand, name: &str, owner: &str) -> Result<Leased, LockError> {
        let wanted = [
            ("x-ms-proposed-lease-id", uuid(owner)),
            ("x-ms-lease-duration", self.seconds.to_string()),
        ];
        self.lease(errand, name, "acquire", &wanted).await
    }

    /// Makes the blob unless it is there.
    async fn make(&self, errand: Errand, name: &str) -> Result<(), LockError> {
        let call = Call::new(Method::PUT, self.url(name))
            .with("x-ms-blob-type", "BlockBlob")
            .with(IF_NONE_MATCH.as_str(), "*");
        let call = call.with_body(Bytes::from_static(CONTENT));
        let answer = self.wire.send(errand, &call).await?;
        match answer.status {
            status if status.is_success() => Ok(()),
            // It is there, or leased by now.
            StatusCode::PRECONDITION_FAILED => Ok(()),
            StatusCode::CONFLICT if is_there(&answer) => Ok(()),
            _ => Err(refused("make the blob of a lease", &answer)),
        }
    }

    /// Proves that a lease could be had now.
    async fn prove(&self) -> Result<(), LockError> {
        let (errand, name) = (|| Errand::new(Lane::Upkeep), &self.check_name);
        self.make(errand(), name).await?;
        match self.take(errand(), name, name).await? {
            Leased::Done => {}
            state => {
                return Err(LockError::new(format!("a lease was not to be had: {state:?}")));
            }
        }
        let remove = Call::new(Method::DELETE, self.url(name)).with("x-ms-lease-id", uuid(name));
        let answer = self.wire.send(errand(), &remove).await?;
        let is_gone = answer.status == StatusCode::NOT_FOUND && is_of_the_blob(&answer);
        match answer.status.is_success() || is_gone {
            true => Ok(()),
            false => Err(refused("remove the blob of a lease", &answer)),
        }
    }
}

/// The server's own name for what is wrong: in a header, and mostly in the body too.
fn code(answer: &Answer) -> Option<String> {
    let header = answer.headers.get("x-ms-error-code").and_then(|code| code.to_str().ok());
    header.map(str::to_owned).or_else(|| code_of(&answer.body))
}

/// Whether a refusal is about the lease: others, of an account that is being moved or of what stands before the
/// store, say nothing of it.
fn is_of_the_lease(answer: &Answer) -> bool {
    code(answer).is_some_and(|code| code.starts_with("Lease"))
}

/// Whether a 404 is the store's, and about the blob.
fn is_of_the_blob(answer: &Answer) -> bool {
    code(answer).is_some_and(|code| matches!(code.as_str(), "BlobNotFound" | "ResourceNotFound"))
}

fn is_there(answer: &Answer) -> bool {
    code(answer).is_some_and(|code| code == "BlobAlreadyExists" || code.starts_with("Lease"))
}

impl Lock for AzureLock {
    fn kind(&self) -> &'static str {
        "azureblob"
    }

    fn acquire<'a>(&'a self, claim: &'a LockClaim) -> BoxFuture<'a, Result<Acquired, LockError>> {
        Box::pin(self.try_acquire(claim))
    }

    fn renew<'a>(&'a self, claim: &'a LockClaim) -> BoxFuture<'a, Result<bool, LockError>> {
        Box::pin(async move { Ok(self.ours(claim, "renew").await? == Leased::Done) })
    }

    fn release<'a>(&'a self, claim: &'a LockClaim) -> BoxFuture<'a, Result<bool, LockError>> {
        Box::pin(self.try_release(claim))
    }

    fn check(&self) -> BoxFuture<'_, Result<(), LockError>> {
        Box::pin(self.try_check())
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn answer(status: StatusCode, code: &str) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert("x-ms-error-code", code.parse().unwrap());
        Answer { status, headers, body: Bytes::new() }
    }

    #[test]
    fn a_conflict_is_another_holder_only_where_it_is_about_the_lease() {
        let conflict = |code| answer(StatusCode::CONFLICT, code);
        assert!(is_of_the_lease(&conflict("LeaseAlreadyPresent")));
        assert!(is_of_the_lease(&conflict("LeaseIdMismatchWithLeaseOperation")));
        assert!(!is_of_the_lease(&conflict("AccountBeingCreated")));
        assert!(!is_of_the_lease(&conflict("ContainerBeingDeleted")));
    }

    #[test]
    fn a_missing_container_is_no_missing_blob() {
        assert!(is_of_the_blob(&answer(StatusCode::NOT_FOUND, "BlobNotFound")));
        assert!(!is_of_the_blob(&answer(StatusCode::NOT_FOUND, "ContainerNotFound")));
    }

    #[test]
    fn what_stands_before_the_store_says_nothing_of_a_blob_or_a_lease() {
        let page = |status| Answer {
            status,
            headers: HeaderMap::new(),
            body: Bytes::from_static(b"<html>not here</html>"),
        };
        assert!(!is_of_the_blob(&page(StatusCode::NOT_FOUND)));
        assert!(!is_of_the_lease(&page(StatusCode::PRECONDITION_FAILED)));
    }
}
