use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;
use http::Response;

use crate::body::Body;
use crate::error::{Error, ErrorKind};
use crate::request::EdgeRequest;
use crate::stack::{Stage, stage};

/// Turns panics of `S` into errors.
#[derive(Clone, Debug)]
pub struct CatchPanic<S> {
    pub(super) inner: S,
}

impl<S: Stage<EdgeRequest, Reply = Response<Body>>> CatchPanic<S> {
    async fn handle(&self, request: EdgeRequest) -> Result<Response<Body>, Error> {
        let id = request.context.id.clone();
        // Safe to assert: the future and all it owns is dropped with the panic.
        AssertUnwindSafe(self.inner.run(request)).catch_unwind().await.unwrap_or_else(|panic| {
            let text = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            tracing::error!(request_id = %id, panic = text, "a request panicked");
            let text = "the gateway made a mistake; its log has the request id";
            Err(Error::new(ErrorKind::Internal, text))
        })
    }
}

stage!(CatchPanic<S>: EdgeRequest => Response<Body>, over EdgeRequest => Response<Body>);
