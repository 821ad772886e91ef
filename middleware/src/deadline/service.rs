use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::error::{Error, ErrorKind};
use crate::request::HasContext;
use crate::stack::{Stage, stage};

/// Ends calls of `S` that take too long.
#[derive(Clone, Debug)]
pub struct Deadline<S> {
    pub(super) inner: S,
    pub(super) limit: Duration,
    pub(super) kind: ErrorKind,
    pub(super) what: &'static str,
}

impl<S> Deadline<S> {
    async fn handle<Request>(&self, mut request: Request) -> Result<S::Reply, Error>
    where
        S: Stage<Request>,
        Request: HasContext + Send + 'static,
    {
        let Self { inner, limit, kind, what } = self;
        let started = Instant::now();
        let own = started + *limit;
        // Where the caller's patience ends first, what is called is not to blame.
        let kind =
            if own <= request.context().deadline { *kind } else { ErrorKind::DeadlineExceeded };
        let deadline = request.context().deadline.min(own);
        request.context_mut().deadline = deadline;
        timeout_at(deadline, inner.run(request)).await.unwrap_or_else(|_| {
            let seconds = started.elapsed().as_secs_f32();
            Err(Error::new(kind, format!("{what} took longer than {seconds:.1} s")))
        })
    }
}

stage!(Deadline<S>: any Request);
