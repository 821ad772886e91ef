use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tower::Service;
use tower::util::ServiceExt as _;

use crate::error::{Error, ErrorKind};
use crate::ports::BoxFuture;
use crate::request::HasContext;
use crate::stack::Stage;

/// Ends calls of `S` that take too long.
#[derive(Clone, Debug)]
pub struct Deadline<S> {
    pub(super) inner: S,
    pub(super) limit: Duration,
    pub(super) kind: ErrorKind,
    pub(super) what: &'static str,
}

impl<S, Request> Service<Request> for Deadline<S>
where
    S: Stage<Request>,
    Request: HasContext + Send + 'static,
{
    type Response = S::Reply;
    type Error = Error;
    type Future = BoxFuture<'static, Result<S::Reply, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let Self { inner, limit, kind, what } = self.clone();
        let started = Instant::now();
        let own = started + limit;
        // Where the caller's patience ends first, what is called is not to blame.
        let kind =
            if own <= request.context().deadline { kind } else { ErrorKind::DeadlineExceeded };
        let deadline = request.context().deadline.min(own);
        request.context_mut().deadline = deadline;
        Box::pin(async move {
            timeout_at(deadline, inner.oneshot(request)).await.unwrap_or_else(|_| {
                let seconds = started.elapsed().as_secs_f32();
                Err(Error::new(kind, format!("{what} took longer than {seconds:.1} s")))
            })
        })
    }
}
