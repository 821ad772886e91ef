use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Response};
use tower::util::ServiceExt as _;

use super::layer::Credentials;
use crate::body::Body;
use crate::error::{Error, ErrorKind};
use crate::request::EdgeRequest;
use crate::stack::{Stage, stage};

/// Lets who has the credentials, and health checks, into `S`.
#[derive(Clone, Debug)]
pub struct Auth<S> {
    pub(super) inner: S,
    pub(super) credentials: Credentials,
    pub(super) prefixed: bool,
}

impl<S: Stage<EdgeRequest, Reply = Response<Body>>> Auth<S> {
    async fn handle(self, request: EdgeRequest) -> Result<Response<Body>, Error> {
        if !request.is_health_check(self.prefixed) {
            let pair = basic(&request.head.headers).ok_or_else(|| unauthorized("missing"))?;
            if !self.credentials.are(&pair) {
                return Err(unauthorized("wrong"));
            }
        }
        self.inner.oneshot(request).await
    }
}

/// `user:password` of the `Authorization` header (RFC 7617); the scheme's letter case does not matter.
fn basic(headers: &HeaderMap) -> Option<Vec<u8>> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    STANDARD.decode(encoded.trim()).ok()
}

fn unauthorized(what: &str) -> Error {
    let text = format!(
        "credentials are {what}: put this gateway's user and password into ~/.netrc, or into the \
         GOPROXY URL"
    );
    Error::new(ErrorKind::Unauthorized, text)
}

stage!(Auth<S>: EdgeRequest => Response<Body>, over EdgeRequest => Response<Body>);
