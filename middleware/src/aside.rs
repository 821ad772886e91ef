//! Work behind an answer, on threads that leave the processors to those whom somebody waits for.
//!
//! What checks a zip or writes to a disk would else take its half of the processors from the very clients whose
//! requests it comes from: a burst of misses would slow itself down. Where nobody else wants a processor, these threads
//! are as fast as any.

use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// Threads that work aside at a time: more than all who use them may have under way.
pub const ASIDE_THREADS_MAX: usize = 256;

/// Where somebody else wants the processor too, a thread with this has a tenth of what the other has.
const NICENESS: i32 = 10;

/// Only its threads for blocking work are used; they come with the work, and go when there is none.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_current_thread()
        .max_blocking_threads(ASIDE_THREADS_MAX)
        .thread_name("aside")
        .on_thread_start(|| {
            // It works at the usual pace where the kernel does not let it be nicer.
            let _ = rustix::process::nice(NICENESS);
        })
        .build()
        .expect("a runtime without timers and sockets needs nothing of the system")
});

/// Does blocking work on such a thread.
pub fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    RUNTIME.spawn_blocking(work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_works_aside_is_nicer_than_who_waits_for_it() {
        let nice = || rustix::process::nice(0).expect("a look at one's own");
        let (ours, theirs) = (nice(), aside(nice).await.expect("no panic"));
        assert!(theirs >= (ours + NICENESS).min(19), "{theirs} beside {ours}");
    }

    #[tokio::test]
    async fn a_panic_is_its_own() {
        assert!(aside(|| panic!("as planned")).await.is_err());
        assert_eq!(aside(|| 7).await.expect("another thread, or the same"), 7);
    }
}
