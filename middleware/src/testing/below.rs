//! What stands below the layer under test, and what every layer is asked about it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Response;
use tower::Service;

use super::{SECOND, call, error, settle};
use crate::body::{self, Body};
use crate::error::{Error, ErrorKind};
use crate::ports::{BoxFuture, Fetched, Fetcher};
use crate::request::{EdgeRequest, FetchRequest};
use crate::stack::Border;

/// The error of what stands below: its text and its time to ask again are not those of a layer.
pub(crate) fn error_from_below(kind: ErrorKind) -> Error {
    error(kind).with_retry_after(7 * SECOND)
}

/// Fails each call with [`error_from_below`].
pub(crate) fn failing<Request, Reply>(kind: ErrorKind) -> Border<Request, Reply>
where
    Request: Send + 'static,
    Reply: Send + 'static,
{
    Border::new(tower::service_fn(move |_: Request| {
        std::future::ready(Err(error_from_below(kind)))
    }))
}

/// Answers each call by a function, after a while.
pub(crate) fn late<Request, Reply>(
    by: Duration,
    answer: impl Fn(Request) -> Result<Reply, Error> + Clone + Send + Sync + 'static,
) -> Border<Request, Reply>
where
    Request: Send + 'static,
    Reply: Send + 'static,
{
    Border::new(tower::service_fn(move |request: Request| {
        let answer = answer.clone();
        async move {
            tokio::time::sleep(by).await;
            answer(request)
        }
    }))
}

/// An edge that says hello.
pub(crate) fn hello() -> Border<EdgeRequest, Response<Body>> {
    late(Duration::ZERO, |_| Ok(Response::new(body::full("hello"))))
}

/// The error from below is the answer, with nothing added or left out.
pub(crate) async fn assert_passes_unchanged<S, Request>(
    service: &S,
    request: Request,
    kind: ErrorKind,
) where
    S: Service<Request, Error = Error> + Clone,
{
    let passed = call(service, request).await.map(drop).expect_err("what lies below fails");
    let sent = error_from_below(kind);
    assert_eq!(passed.kind(), sent.kind());
    assert_eq!(passed.message(), sent.message());
    assert_eq!(passed.retry_after(), sent.retry_after());
    assert_eq!(passed.outcome(), sent.outcome());
}

/// Calls that never end by themselves.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    begun: Arc<AtomicUsize>,
    held: Arc<AtomicUsize>,
}

impl Held {
    /// Holds a call until its caller goes away.
    pub(crate) async fn hold<T>(&self) -> T {
        struct Gone<'a>(&'a AtomicUsize);
        impl Drop for Gone<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.held.fetch_add(1, Ordering::SeqCst);
        let _gone = Gone(&self.held);
        std::future::pending().await
    }

    /// Calls that have begun, and those of them that are still held.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.begun.load(Ordering::SeqCst), self.held.load(Ordering::SeqCst))
    }

    /// A service whose calls are held.
    pub(crate) fn service<Request, Reply>(&self) -> Border<Request, Reply>
    where
        Request: Send + 'static,
        Reply: Send + 'static,
    {
        let held = self.clone();
        Border::new(tower::service_fn(move |_: Request| {
            let held = held.clone();
            async move { held.hold().await }
        }))
    }

    /// Calls `service` until the call is held below, and goes away: then nothing is held any more.
    pub(crate) async fn assert_ends_with_its_caller<S, Request>(
        &self,
        service: &S,
        request: Request,
    ) where
        S: Service<Request, Error = Error> + Clone,
    {
        let (begun, held) = self.counts();
        let mut calling = Box::pin(call(service, request));
        // A layer may look elsewhere before it calls.
        while self.counts().0 == begun {
            assert!(futures::poll!(&mut calling).is_pending(), "answered without a call below");
            tokio::task::yield_now().await;
        }
        assert_eq!(self.counts(), (begun + 1, held + 1));
        drop(calling);
        settle().await;
        assert_eq!(self.counts(), (begun + 1, held), "the call goes on below without its caller");
    }
}

/// An upstream whose calls are held.
impl Fetcher for Held {
    fn name(&self) -> Arc<str> {
        "held".into()
    }

    fn fetch(&self, _: FetchRequest) -> BoxFuture<'_, Result<Fetched, Error>> {
        Box::pin(self.hold())
    }
}
