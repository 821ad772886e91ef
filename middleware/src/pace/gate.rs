use std::sync::Arc;

use tower::util::ServiceExt as _;

use super::service::Shared;
use crate::error::Error;
use crate::ports::Fetched;
use crate::request::FetchRequest;
use crate::stack::{Stage, stage};

/// Calls `S`, the upstream itself, unless its host wants to be left alone; hears when it does.
#[derive(Clone, Debug)]
pub struct Gate<S> {
    pub(super) inner: S,
    pub(super) shared: Arc<Shared>,
}

impl<S: Stage<FetchRequest, Reply = Fetched>> Gate<S> {
    async fn handle(self, request: FetchRequest) -> Result<Fetched, Error> {
        let Self { inner, shared } = self;
        if let Some(left) = shared.pause_left() {
            return Err(shared.left_alone(left));
        }
        let result = inner.oneshot(request).await;
        if let Err(error) = &result {
            shared.heed(error);
        }
        result
    }
}

stage!(Gate<S>: FetchRequest => Fetched, over FetchRequest => Fetched);
