//! The labels of locks across replicas.

use super::super::labels::label;

label! {
    /// What came of the wait for a lock.
    LockWait = "result" {
        /// This replica got the lock.
        Granted = "granted",
        /// Another replica had stored the version meanwhile.
        Stored = "stored",
        /// Another replica found for good that there is nothing to fetch.
        Settled = "settled",
        /// Neither: the fetch goes on without the lock.
        Degraded = "degraded",
    }
}

label! {
    /// What a lock service was asked for.
    LockOperation = "operation" {
        /// To give a lock.
        Acquire = "acquire",
        /// To let it be held for longer.
        Renew = "renew",
        /// To take it back.
        Release = "release",
        /// Whether it works again.
        Check = "check",
    }
}

label! {
    /// What a lock service answered.
    LockAnswer = "result" {
        /// It is done.
        Done = "done",
        /// Another has the lock.
        Held = "held",
        /// Who had the lock found for good that there is nothing to fetch.
        Settled = "settled",
        /// The lock is not ours any more.
        Gone = "gone",
        /// Nothing, or an error.
        Failed = "failed",
    }
}

label! {
    /// Why a lock was lost before the end of the work under it. The work goes on without it.
    LockLoss = "reason" {
        /// The service says that it is not ours any more.
        Gone = "gone",
        /// The service did not let us renew it for a whole lease.
        Silent = "silent",
        /// It was held for as long as `TTL` allows.
        Ttl = "ttl",
    }
}
