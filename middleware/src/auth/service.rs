use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CACHE_CONTROL};
use http::{HeaderMap, HeaderValue, Response};

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
    async fn handle(&self, request: EdgeRequest) -> Result<Response<Body>, Error> {
        if !request.is_health_check(self.prefixed) {
            let pair = basic(&request.head.headers).ok_or_else(|| unauthorized("missing"))?;
            if !self.credentials.are(&pair) {
                return Err(unauthorized("wrong"));
            }
        }
        let mut response = self.inner.run(request).await?;
        keep_from_shared_caches(response.headers_mut());
        Ok(response)
    }
}

/// What needs credentials may be kept by the client that has them, and by nobody in between (RFC 9111
/// §3.5: `public` would allow it).
fn keep_from_shared_caches(headers: &mut HeaderMap) {
    let private = headers
        .get(CACHE_CONTROL)
        .and_then(|value| value.to_str().ok()?.strip_prefix("public"))
        .and_then(|rest| HeaderValue::from_str(&format!("private{rest}")).ok());
    if let Some(private) = private {
        headers.insert(CACHE_CONTROL, private);
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
