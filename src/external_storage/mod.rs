//! Serves any [`Storage`] over Athens's external storage protocol, for Athens and for ourselves.
//!
//! [`serve`] is all that a program with a store of its own needs; `examples/external_storage.rs` is one to
//! copy. [`ExternalStorage`] is the same as a tower service, for a server of one's own.
//!
//! ```text
//! GET, HEAD /<escaped module>/@v/list
//!                                <version>.info  .mod  .zip    Range, ETag
//! POST                           <version>.save                multipart: mod.info, mod.mod, mod.zip
//! DELETE                         <version>.delete              501: no saved version ever changes
//! GET       /healthz /readyz /version /metrics
//! ```
//!
//! Beyond Athens's protocol, for clients of ours, which find its header in every answer: `/catalog`,
//! `/.dipylon/check` and the extras below `/.dipylon/extras/`; and what became of a save.
//!
//! Zips stream in both directions: one on its way in is a spool on the disk, of which there are
//! [`MAX_SAVES`] at a time. Small files are held whole, and counted as long as they are ([`MAX_ANSWER_BYTES`],
//! [`MAX_ARRIVING_BYTES`]). Lists and catalogue pages are made [`MAX_WALKS`] at a time. A body must keep moving
//! ([`MIN_BODY_BYTES`] in each [`BODY_WINDOW`]). What is saved was looked at: the `.info` names the version, the
//! `.mod` has text, the zip has its end.
//!
//! Statuses: 404 for what is not there, 400 for a path or a form that cannot be, the error table's for what
//! the store says.

mod budget;
mod form;
mod leaf;
mod options;
mod pace;
mod route;
mod save;
mod turns;

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use dipylon_middleware::access_log::AccessLogLayer;
use dipylon_middleware::auth::AuthLayer;
use dipylon_middleware::body::Body;
use dipylon_middleware::catch_panic::CatchPanicLayer;
use dipylon_middleware::deadline::DeadlineLayer;
use dipylon_middleware::error::{Error, ErrorKind};
use dipylon_middleware::ports::{BoxFuture, Storage};
use dipylon_middleware::render;
use dipylon_middleware::request::EdgeRequest;
use dipylon_middleware::request_context::RequestContextLayer;
use dipylon_middleware::spool::Spools;
use dipylon_middleware::stack::{Border, Stack};
use dipylon_middleware::storage_io::{StorageHandle, StorageIo};
use dipylon_middleware::telemetry::{LayerName, Telemetry};
use http::{Request, Response};
use tokio_util::sync::CancellationToken;
use tower::{Layer as _, Service};

use crate::http::{Bodies, Connections, Edge, Listener, RequestBody, Server, ServerConfig};
use leaf::Leaf;

pub use budget::{MAX_ANSWER_BYTES, MAX_ARRIVING_BYTES};
pub use form::{MAX_PART_HEAD_BYTES, MAX_PARTS};
pub use leaf::MAX_WALKS;
pub use options::Options;
pub use pace::{BODY_MAX, BODY_WINDOW, MIN_BODY_BYTES};
pub use save::{MAX_EXTRA_WRITES, MAX_FORM_BYTES, MAX_SAVES, SAVE_WAIT_MAX};
pub use turns::{WAIT_MAX, WALK_WAIT_MAX};

/// Serves `storage` on `listener` until `stop` resolves, and then waits for the requests that are open, as
/// long as [`Options::drain_timeout`] allows.
///
/// # Errors
/// `Storage` where no directory for spools can be had; `DeadlineExceeded` where requests were still open
/// when the drain's time was over.
pub async fn serve(
    storage: Arc<dyn Storage>,
    listener: Listener,
    options: Options,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Error> {
    let service = ExternalStorage::new(storage, &options)?;
    service.run(listener, &options, stop).await
}

/// The protocol as a tower service over a store. Clones share the store; it is always ready.
///
/// Give it bodies: a save without one is refused. Errors are answers.
#[derive(Clone)]
pub struct ExternalStorage {
    edge: Edge,
    telemetry: Telemetry,
}

impl ExternalStorage {
    /// Over a store. Spools lie in [`Options::spool_dir`], else where the store can take them over without
    /// copying, else in the temporary directory.
    ///
    /// # Errors
    /// `Storage` where no directory for spools can be had.
    pub fn new(storage: Arc<dyn Storage>, options: &Options) -> Result<Self, Error> {
        let telemetry = Telemetry::new().map_err(|error| {
            Error::new(ErrorKind::Internal, format!("the metrics cannot be set up: {error}"))
        })?;
        let spools = options.spools(storage.staging_directory(), &telemetry)?;
        let stack = Stack::new(&telemetry)
            .push(
                LayerName::StorageDeadline,
                DeadlineLayer::new("storage", options.call_timeout, ErrorKind::StorageUnavailable),
            )
            .over(
                LayerName::StorageIo,
                StorageIo::new(storage, &telemetry).within(options.call_timeout),
            );
        Ok(Self::over(StorageHandle::new(stack), spools, options, &telemetry))
    }

    /// Over a storage stack, with spools.
    pub(crate) fn over(
        storage: StorageHandle,
        spools: Spools,
        options: &Options,
        telemetry: &Telemetry,
    ) -> Self {
        let leaf = Leaf::new(storage, spools, options.call_timeout, telemetry);
        let serving = tower::service_fn(move |request: EdgeRequest| {
            let leaf = leaf.clone();
            Box::pin(async move { Ok(leaf.answer(request).await) }) as BoxFuture<'static, _>
        });
        let prefixed = !options.path_prefix.is_empty();
        let auth = options.credentials.map(|pair| AuthLayer::new(pair, prefixed));
        let inside = Stack::new(telemetry)
            // Outermost with a context: its clock and its count cover everything, refusals included.
            .push(LayerName::AccessLog, AccessLogLayer::new(options.log_access, telemetry))
            // Below the log, so that a panic is still an answer with a log line.
            .push(LayerName::CatchPanic, CatchPanicLayer)
            // Nothing of the store is reached without it.
            .push_if(LayerName::Auth, auth)
            .over(LayerName::Route, serving);
        // Each call of the store has a deadline of its own; a save may take as long as it moves.
        let context =
            RequestContextLayer::new(&options.path_prefix, options.call_timeout, telemetry);
        Self { edge: Border::new(context.layer(inside)), telemetry: telemetry.clone() }
    }

    /// Serves on `listener` until `stop` resolves, then drains.
    pub(crate) async fn run(
        self,
        listener: Listener,
        options: &Options,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), Error> {
        let connections = Connections::new(options.max_connections);
        let config = ServerConfig { connections, tls: options.tls.clone() };
        let server = Server::new(config, self.edge, &self.telemetry).keeping_bodies(Bodies::OfAll);
        let stopping = CancellationToken::new();
        let (told, ended) = (stopping.clone(), stopping.clone());
        let mut serving = std::pin::pin!(server.run(listener, async move {
            stop.await;
            told.cancel();
        }));
        let drain_timeout = options.drain_timeout;
        tokio::select! {
            () = &mut serving => Ok(()),
            () = async move {
                ended.cancelled().await;
                tokio::time::sleep(drain_timeout).await;
            } => {
                let text = format!("requests were still open {drain_timeout:?} after the stop");
                Err(Error::new(ErrorKind::DeadlineExceeded, text))
            }
        }
    }
}

impl fmt::Debug for ExternalStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ExternalStorage")
    }
}

impl<B> Service<Request<B>> for ExternalStorage
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let answer = self.edge.send(RequestBody::apart(request).into());
        Box::pin(async move { Ok(answer.await.unwrap_or_else(|error| render::error(&error))) })
    }
}
