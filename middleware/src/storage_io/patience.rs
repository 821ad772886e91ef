//! How long a call of the backend is waited for.
//!
//! A small call has a fixed time, counted anew whenever the backend says that it has come further. A walk may
//! take long as a whole; a backend that does not answer a check meanwhile hangs.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::error::{Error, ErrorKind};

/// Longest wait for a call that moves little (a read until its bytes can be had, an extra, a check), or for
/// its next step, where the backend notes them. Then storage counts as hanging.
pub const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Longest wait for a list or a page of the catalogue, which may take a hundred questions.
pub const WALK_MAX: Duration = Duration::from_secs(120);

/// How long a list or a page of the catalogue is waited for before the backend is checked, again and again,
/// and how long each check may take. One that hangs is given up after [`ANSWER_MAX`] as well.
pub const CHECK_EACH: Duration = Duration::from_secs(5);

/// Waits for a call as long as it comes further at least each `most`; else the cause is returned. `moved` says
/// when it last did.
pub(super) async fn while_it_moves<T>(
    call: impl Future<Output = T>,
    most: Duration,
    moved: impl Fn() -> Instant,
) -> Result<T, String> {
    let mut call = pin!(call);
    loop {
        let until = moved() + most;
        match timeout_at(until, &mut call).await {
            Ok(answer) => return Ok(answer),
            Err(_) if moved() + most > until => {}
            Err(_) => return Err(silence(most)),
        }
    }
}

/// Waits for a walk for `most`, as long as the backend answers a check each [`CHECK_EACH`] and does not fail two
/// in a row; else the cause is returned. A backend that refuses the check answers all the same.
pub(super) async fn while_it_works<T, C>(
    walk: impl Future<Output = T>,
    most: Duration,
    check: impl Fn() -> C,
) -> Result<T, String>
where
    C: Future<Output = Result<(), Error>>,
{
    let hangs = async {
        let mut has_failed = false;
        loop {
            sleep(CHECK_EACH).await;
            match timeout(CHECK_EACH, check()).await {
                Err(_) => return format!("{}, nor to a check", silence(2 * CHECK_EACH)),
                // Once may be a balancer's moment: the walk cannot be made again, so it gets another chance.
                Ok(Err(error)) if error.kind() == ErrorKind::StorageUnavailable => {
                    if std::mem::replace(&mut has_failed, true) {
                        let cause = error.cause().map_or("it cannot be reached", |cause| cause);
                        return format!("checks of it fail: {cause}");
                    }
                }
                Ok(_) => has_failed = false,
            }
        }
    };
    tokio::select! {
        biased;
        answer = timeout(most, walk) => answer.map_err(|_| silence(most)),
        cause = hangs => Err(cause),
    }
}

fn silence(most: Duration) -> String {
    format!("no answer within {} s", most.as_secs_f32())
}
