use std::sync::Arc;
use std::time::Duration;

use http::Response;

use super::state::Places;
use crate::body::{self, Body};
use crate::error::{Error, ErrorKind};
use crate::request::EdgeRequest;
use crate::stack::{Stage, stage};

/// Lets a bounded number of requests into `S`.
#[derive(Clone, Debug)]
pub struct Admission<S> {
    pub(super) inner: S,
    pub(super) places: Arc<Places>,
}

impl<S: Stage<EdgeRequest, Reply = Response<Body>>> Admission<S> {
    async fn handle(&self, request: EdgeRequest) -> Result<Response<Body>, Error> {
        let place = self.places.take().ok_or_else(|| {
            Error::new(
                ErrorKind::Overloaded,
                "the gateway serves as many requests as it may; ask again",
            )
            .with_retry_after(Duration::from_secs(1))
        })?;
        let response = self.inner.run(request).await?;
        Ok(response.map(|inner| body::holding(inner, place)))
    }
}

stage!(Admission<S>: EdgeRequest => Response<Body>, over EdgeRequest => Response<Body>);
