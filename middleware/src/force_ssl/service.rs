use http::header::HOST;
use http::uri::Authority;
use http::{Response, StatusCode};

use crate::body::Body;
use crate::error::{Error, ErrorKind};
use crate::render;
use crate::request::EdgeRequest;
use crate::stack::{Stage, stage};

/// The longest host with its port that a redirect repeats, in bytes: a DNS name and a port.
const MAX_HOST_BYTES: usize = 253 + 6;

/// Lets requests that came over TLS, and health checks, into `S`; redirects the rest.
#[derive(Clone, Debug)]
pub struct ForceSsl<S> {
    pub(super) inner: S,
    pub(super) prefixed: bool,
}

impl<S: Stage<EdgeRequest, Reply = Response<Body>>> ForceSsl<S> {
    async fn handle(&self, request: EdgeRequest) -> Result<Response<Body>, Error> {
        if is_secure(&request) || request.is_health_check(self.prefixed) {
            return self.inner.run(request).await;
        }
        let host = host(&request).ok_or_else(|| {
            let text = "only https is served here, and the Host header names no host to send you to: \
                        use an https:// URL";
            Error::new(ErrorKind::BadRequest, text)
        })?;
        let target = request.head.uri.path_and_query().map_or("/", |target| target.as_str());
        render::redirect(&format!("https://{host}{target}"), StatusCode::MOVED_PERMANENTLY)
    }
}

fn is_secure(request: &EdgeRequest) -> bool {
    let forwarded = request.head.headers.get("x-forwarded-proto");
    request.secure || forwarded.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"https"))
}

/// What the client calls us: the URL's authority (HTTP/2), else `Host`. Only a name or an address with
/// an optional port is taken, so that nothing else gets into a URL we send.
fn host(request: &EdgeRequest) -> Option<&str> {
    let named = request.head.uri.authority().map(Authority::as_str);
    let header = || {
        let mut values = request.head.headers.get_all(HOST).iter();
        // Two of them leave open which one we are.
        let (one, another) = (values.next()?, values.next());
        one.to_str().ok().filter(|_| another.is_none())
    };
    let host = named.or_else(header)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    let legal = host.len() <= MAX_HOST_BYTES
        && host.chars().all(plain)
        && host.parse::<Authority>().is_ok_and(|authority| !authority.host().is_empty());
    legal.then_some(host)
}

stage!(ForceSsl<S>: EdgeRequest => Response<Body>, over EdgeRequest => Response<Body>);
