//! The paths of Go's `net/http/pprof` that this process can answer.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;

use super::super::query;
use super::{cpu, heap};

/// A profile's length where the client does not say, as in Go.
const SECONDS: u64 = 30;
/// A profile's length at most.
const SECONDS_MAX: u64 = 300;

const TEXT: &str = "text/plain; charset=utf-8";
const PROFILE: &str = "application/octet-stream";

const INDEX: &str = "profiles of this process:\n\
    /debug/pprof/profile?seconds=30     CPU, as go tool pprof reads it\n\
    /debug/pprof/flamegraph?seconds=30  CPU, as an SVG flame graph\n\
    /debug/pprof/heap                   memory, as go tool pprof reads it (builds with jemalloc)\n";

pub(super) async fn serve(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let parameters = query::parse(request.uri().query());
    let seconds = parameters.get("seconds").and_then(|text| text.parse().ok());
    let length = Duration::from_secs(seconds.unwrap_or(SECONDS).clamp(1, SECONDS_MAX));
    let (media_type, taken) = match request.uri().path() {
        "/debug/pprof/" | "/debug/pprof" => (TEXT, Ok(Bytes::from_static(INDEX.as_bytes()))),
        "/debug/pprof/profile" => (PROFILE, cpu::profile(length).await),
        "/debug/pprof/flamegraph" => ("image/svg+xml", cpu::flame_graph(length).await),
        "/debug/pprof/heap" => (PROFILE, heap::profile().await),
        _ => return Ok(answer(StatusCode::NOT_FOUND, TEXT, "404 page not found\n".into())),
    };
    Ok(match taken {
        Ok(bytes) => answer(StatusCode::OK, media_type, bytes),
        Err(reason) => {
            let text = format!("cannot take a profile: {reason}\n");
            answer(StatusCode::INTERNAL_SERVER_ERROR, TEXT, text.into())
        }
    })
}

fn answer(status: StatusCode, media_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}
