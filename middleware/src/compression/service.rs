use std::sync::Arc;

use http::header::ACCEPT_ENCODING;
use http::{HeaderValue, Method, Request, Response};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use tower::service_fn;
use tower::util::ServiceExt as _;
use tower_http::compression::predicate::SizeAbove;

use crate::body::Body;
use crate::error::{Error, ErrorKind};
use crate::render::Served;
use crate::request::EdgeRequest;
use crate::stack::{Stage, stage};
use crate::telemetry::RouteName;

/// Bytes below which a page is sent as it is.
pub const COMPRESSED_BYTES_MIN: u64 = 1024;

/// Compresses the pages that `S` answers with.
#[derive(Clone, Debug)]
pub struct Compression<S> {
    pub(super) inner: S,
}

impl<S: Stage<EdgeRequest, Reply = Response<Body>>> Compression<S> {
    async fn handle(&self, request: EdgeRequest) -> Result<Response<Body>, Error> {
        let accepted = request.head.headers.get(ACCEPT_ENCODING).cloned();
        // A head has no body to compress, and the length it names is that of the plain one.
        let accepted = accepted.filter(|_| request.head.method != Method::HEAD);
        let response = self.inner.run(request).await?;
        match accepted {
            Some(accepted) if is_page(&response) => compressed(accepted, response).await,
            _ => Ok(response),
        }
    }
}

fn is_page(response: &Response<Body>) -> bool {
    let served = response.extensions().get::<Served>();
    served.is_some_and(|served| {
        matches!(served.route, RouteName::Admin | RouteName::Catalog | RouteName::Index)
    })
}

/// `tower-http` negotiates, encodes, and says so in the headers.
async fn compressed(
    accepted: HeaderValue,
    response: Response<Body>,
) -> Result<Response<Body>, Error> {
    let response = Arc::new(Mutex::new(Some(response)));
    let made = service_fn(move |_: Request<()>| {
        let response = response.lock().take();
        async move { response.ok_or_else(|| internal("a page was asked for twice")) }
    });
    let service = tower_http::compression::Compression::new(made)
        .compress_when(SizeAbove::new(COMPRESSED_BYTES_MIN));
    let mut request = Request::new(());
    request.headers_mut().insert(ACCEPT_ENCODING, accepted);
    let response = service.oneshot(request).await?;
    Ok(response.map(|body| {
        let plain = |error: tower::BoxError| match error.downcast::<Error>() {
            Ok(error) => *error,
            Err(error) => internal(&format!("a page could not be compressed: {error}")),
        };
        body.map_err(plain).boxed_unsync()
    }))
}

fn internal(text: &str) -> Error {
    Error::new(ErrorKind::Internal, text)
}

stage!(Compression<S>: EdgeRequest => Response<Body>, over EdgeRequest => Response<Body>);
