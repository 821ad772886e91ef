//! `SingleFlightType = "redis"` and `"redis-sentinel"`: a key with an expiry.
//!
//! The key is Athens's, and so is its meaning: who sets it first has the lock. Ours expires with a
//! lease and is renewed; a release is published on one channel, to which each process listens on one
//! connection of its own. The fencing token is the server's clock in microseconds, so that no counter
//! stays behind for each version: it grows as long as that clock does. A verdict lies beside the key, in the
//! same slot of a cluster, with the moment of that clock at which it was found, and expires; where it cannot be
//! written or read, for want of rights or because the server is too old, who waits gets the lock.
//!
//! A user of Redis with limited rights needs: `EVAL`, `EVALSHA`, `SCRIPT|LOAD`, `GET`, `SET`, `DEL`,
//! `PEXPIRE`, `PTTL`, `TIME`, and for the push `PUBLISH` and `SUBSCRIBE` on `dipylon:released`.

mod address;
mod link;
mod listener;

use std::sync::Arc;
use std::time::Duration;

use dipylon_middleware::ports::{
    Acquired, BoxFuture, Held, Lock, LockClaim, LockError, Moment, VERDICT_LIFE, Verdict,
};
use redis::Script;
use tokio::task::AbortHandle;

pub use self::address::Servers;
use self::link::Link;
use self::listener::{CHANNEL, listen};
use super::verdicts;
use super::wakers::Wakers;

/// The lock is set, found to be ours, or another's: then when it lapses. Or, for who asks again, what was found
/// since. The clock is read last: old servers write nothing after they have read it. Of another's lock the owner is
/// told, as much of it as one of ours has.
const ACQUIRE: &str = "
local granted, lapses = 1, -1
local owner = redis.call('GET', KEYS[1])
if owner == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
elseif owner then
  granted, lapses = 0, redis.call('PTTL', KEYS[1])
else
  if ARGV[3] ~= '' then
    local found = redis.pcall('GET', ARGV[4] .. ':{' .. KEYS[1] .. '}')
    local moment, verdict = string.match(type(found) == 'string' and found or '', '^(%d+) (.*)$')
    if moment and tonumber(moment) >= tonumber(ARGV[3]) then
      return {2, -1, 0, verdict, ''}
    end
  end
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
local time = redis.call('TIME')
return {granted, lapses, time[1] * 1000000 + time[2], '', string.sub(owner or '', 1, 128)}";

const RENEW: &str = "
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0";

/// A user that may not publish, or write a verdict, still gives its locks back. Those who wait are told when the
/// script has ended.
const RELEASE: &str = "
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
  redis.pcall('PUBLISH', ARGV[2], KEYS[1])
  if ARGV[3] ~= '' then
    local time = redis.call('TIME')
    local moment = string.format('%.0f', time[1] * 1000000 + time[2])
    redis.pcall('SET', ARGV[4] .. ':{' .. KEYS[1] .. '}', moment .. ' ' .. ARGV[3], 'PX', ARGV[5])
  end
  return 1
end
return 0";

const CHECK: &str = "
redis.call('SET', KEYS[1], '', 'PX', 1000)
return redis.call('DEL', KEYS[1])";

/// What the script that acquires says first; else the lock is another's.
const GRANTED: i64 = 1;
const FOUND: i64 = 2;

/// How long a verdict stands.
const VERDICT_MILLIS: u128 = VERDICT_LIFE.as_millis();

/// The key that a check sets and deletes.
const CHECK_KEY: &str = "dipylon:check";

/// Locks in Redis.
pub struct RedisLock {
    kind: &'static str,
    lease_millis: u64,
    link: Arc<Link>,
    wakers: Arc<Wakers>,
    scripts: Scripts,
    listener: AbortHandle,
}

struct Scripts {
    acquire: Script,
    renew: Script,
    release: Script,
    check: Script,
}

impl RedisLock {
    /// Locks that lapse after `lease`. Connects when it is first needed, but for the push, which is
    /// listened to from now on. Must be called within a runtime.
    pub fn open(kind: &'static str, servers: Servers, lease: Duration) -> Self {
        let link = Arc::new(Link::new(servers));
        let wakers = Arc::new(Wakers::default());
        let listener = tokio::spawn(listen(Arc::clone(&link), Arc::clone(&wakers))).abort_handle();
        let scripts = Scripts {
            acquire: Script::new(ACQUIRE),
            renew: Script::new(RENEW),
            release: Script::new(RELEASE),
            check: Script::new(CHECK),
        };
        let lease_millis = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX).max(1);
        Self { kind, lease_millis, link, wakers, scripts, listener }
    }

    async fn try_acquire(
        &self,
        claim: &LockClaim,
        since: Option<Moment>,
    ) -> Result<Acquired, LockError> {
        let mut since = since;
        loop {
            // Before the question, so that no release after it is missed.
            let waker = self.wakers.register(&claim.key);
            let mut call = self.scripts.acquire.key(&*claim.key);
            call.arg(&*claim.owner).arg(self.lease_millis);
            call.arg(since.map(|Moment(micros)| micros.to_string()).unwrap_or_default());
            call.arg(verdicts::NAME);
            let (state, lapses, micros, found, by): (i64, i64, u64, Vec<u8>, Vec<u8>) =
                self.link.run(&call).await?;
            match state {
                GRANTED => return Ok(Acquired::Granted { fencing: micros }),
                FOUND => match verdicts::read(&found) {
                    Some(verdict) => return Ok(Acquired::Settled(verdict)),
                    // Nor is it asked for once more.
                    None => since = None,
                },
                _ => {
                    // Negative where it does not expire, which is no lock of ours or of Athens's.
                    let lapses_in = u64::try_from(lapses).ok().map(Duration::from_millis);
                    let (released, since) = (Box::pin(waker.woken()), Some(Moment(micros)));
                    let by = std::str::from_utf8(&by).ok().map(Arc::from);
                    return Ok(Acquired::Held(Held { by, lapses_in, released, since }));
                }
            }
        }
    }

    async fn give_back(
        &self,
        claim: &LockClaim,
        verdict: Option<String>,
    ) -> Result<bool, LockError> {
        let mut call = self.scripts.release.key(&*claim.key);
        call.arg(&*claim.owner).arg(CHANNEL).arg(verdict.unwrap_or_default());
        call.arg(verdicts::NAME).arg(VERDICT_MILLIS);
        self.link.run(&call).await
    }

    /// Keys that are waited for now.
    pub fn waiting(&self) -> usize {
        self.wakers.len()
    }
}

impl Drop for RedisLock {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Lock for RedisLock {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn acquire<'a>(&'a self, claim: &'a LockClaim) -> BoxFuture<'a, Result<Acquired, LockError>> {
        Box::pin(self.try_acquire(claim, None))
    }

    fn ask_again<'a>(
        &'a self,
        claim: &'a LockClaim,
        since: Moment,
    ) -> BoxFuture<'a, Result<Acquired, LockError>> {
        Box::pin(self.try_acquire(claim, Some(since)))
    }

    fn renew<'a>(&'a self, claim: &'a LockClaim) -> BoxFuture<'a, Result<bool, LockError>> {
        Box::pin(async move {
            let mut call = self.scripts.renew.key(&*claim.key);
            call.arg(&*claim.owner).arg(self.lease_millis);
            self.link.run(&call).await
        })
    }

    fn release<'a>(&'a self, claim: &'a LockClaim) -> BoxFuture<'a, Result<bool, LockError>> {
        Box::pin(self.give_back(claim, None))
    }

    fn settle<'a>(
        &'a self,
        claim: &'a LockClaim,
        verdict: &'a Verdict,
    ) -> BoxFuture<'a, Result<bool, LockError>> {
        Box::pin(self.give_back(claim, verdicts::write(verdict)))
    }

    fn check(&self) -> BoxFuture<'_, Result<(), LockError>> {
        Box::pin(async move {
            let call = self.scripts.check.key(CHECK_KEY);
            let _deleted: i64 = self.link.run(&call).await?;
            Ok(())
        })
    }
}
