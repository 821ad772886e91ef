use std::time::Duration;

use tokio::time::Instant;
use tower::{Layer as _, Service as _, service_fn};

use super::DeadlineLayer;
use crate::error::{Error, ErrorKind};
use crate::ports::StorageCall;
use crate::request::{HasContext as _, RequestContext, StorageRequest};

fn request(deadline: Duration) -> StorageRequest {
    let context = RequestContext::detached(Instant::now() + deadline);
    StorageRequest { context, operation: StorageCall::Check }
}

fn layer(limit: Duration) -> DeadlineLayer {
    DeadlineLayer::new("storage", limit, ErrorKind::Storage)
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_call_that_takes_too_long_fails_with_the_given_kind() {
    let hang =
        service_fn(async |_: StorageRequest| std::future::pending::<Result<(), Error>>().await);
    let error = layer(2 * SECOND).layer(hang).call(request(60 * SECOND)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert_eq!(error.message(), "storage took longer than 2.0 s");
}

#[tokio::test(start_paused = true)]
async fn an_earlier_deadline_of_the_request_stays() {
    let look =
        service_fn(async |request: StorageRequest| Ok::<_, Error>(request.context().deadline));
    let started = Instant::now();
    let seen = layer(60 * SECOND).layer(look).call(request(SECOND)).await.unwrap();
    assert_eq!(seen, started + SECOND);
    let seen = layer(SECOND).layer(look).call(request(60 * SECOND)).await.unwrap();
    assert_eq!(seen, started + SECOND);
}

#[tokio::test(start_paused = true)]
async fn the_caller_s_own_deadline_is_nobody_else_s_fault() {
    let hang =
        service_fn(async |_: StorageRequest| std::future::pending::<Result<(), Error>>().await);
    let error = layer(60 * SECOND).layer(hang).call(request(SECOND)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
}
