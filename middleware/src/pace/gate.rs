use std::sync::Arc;

use tower::Layer;

use super::service::Shared;
use crate::error::Error;
use crate::ports::Fetched;
use crate::request::{FetchRequest, SumDbFetch, TakesTurns};
use crate::stack::{Stage, stage};

/// Calls `S`, the upstream, no faster than it may be asked, and not while its host wants to be left alone; hears
/// when it does.
#[derive(Clone, Debug)]
pub struct Gate<S> {
    pub(super) inner: S,
    pub(super) shared: Arc<Shared>,
}

impl<S> Gate<S> {
    async fn handle<Request>(&self, request: Request) -> Result<Fetched, Error>
    where
        S: Stage<Request, Reply = Fetched>,
        Request: TakesTurns,
    {
        let Self { inner, shared } = self;
        shared.passes()?;
        if shared.leave(&request).await? {
            // A pause may have begun meanwhile.
            shared.passes()?;
        }
        let result = inner.run(request).await;
        if let Err(error) = &result {
            shared.heed(error);
        }
        result
    }
}

/// Puts a [`Gate`] around what stands below the slots.
#[derive(Clone, Debug)]
pub struct GateLayer {
    pub(super) shared: Arc<Shared>,
}

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate { inner, shared: Arc::clone(&self.shared) }
    }
}

stage!(Gate<S>: FetchRequest => Fetched, over FetchRequest => Fetched);
stage!(Gate<S>: SumDbFetch => Fetched, over SumDbFetch => Fetched);
