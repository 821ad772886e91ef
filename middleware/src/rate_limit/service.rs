use std::sync::Arc;
use std::time::Duration;

use http::Response;
use http::header::AUTHORIZATION;

use super::buckets::Buckets;
use super::state::Client;
use crate::body::Body;
use crate::budget::Rate;
use crate::error::{Error, ErrorKind};
use crate::request::EdgeRequest;
use crate::stack::{Stage, stage};

/// Lets each client into `S` as often as it may.
#[derive(Clone, Debug)]
pub struct RateLimit<S> {
    pub(super) inner: S,
    pub(super) rate: Rate,
    pub(super) prefixed: bool,
    pub(super) buckets: Arc<Buckets>,
}

impl<S: Stage<EdgeRequest, Reply = Response<Body>>> RateLimit<S> {
    async fn handle(&self, request: EdgeRequest) -> Result<Response<Body>, Error> {
        if !is_exempt(&request, self.prefixed) {
            let client = Client::new(request.peer.map(|peer| peer.ip()));
            self.buckets.take(client).map_err(|wait| refusal(client, self.rate, wait))?;
        }
        self.inner.run(request).await
    }
}

/// Who watches the gateway comes at a pace of its own, and must see it most when clients are too many.
/// Who brings credentials may be guessing at them.
fn is_exempt(request: &EdgeRequest, prefixed: bool) -> bool {
    let watches = request.is_health_check(prefixed) || request.path.as_deref() == Some("/metrics");
    watches && !request.head.headers.contains_key(AUTHORIZATION)
}

fn refusal(client: Client, rate: Rate, wait: Duration) -> Error {
    let text = format!(
        "too many requests from {client}: this gateway takes {} a second from a client, and {} at \
         once; ask again later",
        rate.per_second, rate.burst
    );
    Error::new(ErrorKind::RateLimited, text).with_retry_after(wait)
}

stage!(RateLimit<S>: EdgeRequest => Response<Body>, over EdgeRequest => Response<Body>);
