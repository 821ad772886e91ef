//! A request's body on its way through layers that look at heads alone.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use parking_lot::Mutex;

/// The body as it comes in; an error ends it.
pub type Incoming = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// An extension of a request: its body, to be taken once. What is not taken is discarded.
#[derive(Clone)]
pub struct RequestBody(Arc<Mutex<Option<Incoming>>>);

impl RequestBody {
    /// Puts the body of a request among its extensions.
    pub fn apart<B>(request: Request<B>) -> Request<()>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        let body = body.map_err(Into::into).boxed_unsync();
        let mut request = Request::from_parts(head, ());
        request.extensions_mut().insert(Self(Arc::new(Mutex::new(Some(body)))));
        request
    }

    /// The body; nothing the second time.
    pub fn take(&self) -> Option<Incoming> {
        self.0.lock().take()
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestBody")
    }
}
