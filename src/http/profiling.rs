//! Profiles on a port of their own, in the manner of Go's `net/http/pprof`: no authentication, off
//! unless `EnablePprof` is set.

use std::io;

use super::listener::Listener;

#[cfg(feature = "profiling")]
mod cpu {
    use std::time::Duration;

    use bytes::Bytes;
    use http::{Request, Response, StatusCode};
    use http_body_util::Full;
    use hyper::body::Incoming;
    use pprof::protos::Message as _;

    use super::super::query;

    /// Samples a second.
    const FREQUENCY: i32 = 99;
    /// A profile's length where the client does not say, as in Go.
    const SECONDS: u64 = 30;
    /// A profile's length at most.
    const SECONDS_MAX: u64 = 300;

    const INDEX: &str = "profiles of this process:\n\
        /debug/pprof/profile?seconds=30     CPU, as go tool pprof reads it\n\
        /debug/pprof/flamegraph?seconds=30  CPU, as an SVG flame graph\n";

    pub(super) async fn serve(
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
        let parameters = query::parse(request.uri().query());
        let seconds = parameters.get("seconds").and_then(|text| text.parse().ok());
        let seconds = Duration::from_secs(seconds.unwrap_or(SECONDS).clamp(1, SECONDS_MAX));
        let profile = match request.uri().path() {
            "/debug/pprof/" | "/debug/pprof" => Ok(("text/plain; charset=utf-8", INDEX.into())),
            "/debug/pprof/profile" => sample(seconds)
                .await
                .and_then(|report| protobuf(&report))
                .map(|p| ("application/octet-stream", p)),
            "/debug/pprof/flamegraph" => sample(seconds)
                .await
                .and_then(|report| flame_graph(&report))
                .map(|svg| ("image/svg+xml", svg)),
            _ => {
                return Ok(answer(
                    StatusCode::NOT_FOUND,
                    "text/plain",
                    "404 page not found\n".into(),
                ));
            }
        };
        Ok(match profile {
            Ok((content_type, bytes)) => answer(StatusCode::OK, content_type, bytes),
            Err(error) => {
                let text = format!("cannot take a profile: {error}\n");
                answer(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", text.into())
            }
        })
    }

    async fn sample(length: Duration) -> pprof::Result<pprof::Report> {
        // The guard stops the sampling when it is dropped, also if the client goes away.
        let guard = pprof::ProfilerGuardBuilder::default()
            .frequency(FREQUENCY)
            .blocklist(&["libc", "libgcc", "pthread", "vdso"])
            .build()?;
        tokio::time::sleep(length).await;
        guard.report().build()
    }

    fn protobuf(report: &pprof::Report) -> pprof::Result<Bytes> {
        Ok(report.pprof()?.encode_to_vec().into())
    }

    fn flame_graph(report: &pprof::Report) -> pprof::Result<Bytes> {
        let mut svg = Vec::new();
        report.flamegraph(&mut svg)?;
        Ok(svg.into())
    }

    fn answer(
        status: StatusCode,
        content_type: &'static str,
        body: Bytes,
    ) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        let value = http::HeaderValue::from_static(content_type);
        response.headers_mut().insert(http::header::CONTENT_TYPE, value);
        response
    }
}

/// Serves profiles until the process ends.
///
/// # Errors
/// When the build has no profiler.
#[cfg(feature = "profiling")]
pub async fn serve_profiles(listener: Listener) -> io::Result<()> {
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper_util::rt::{TokioIo, TokioTimer};
    loop {
        let (stream, _) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection for profiles");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        tokio::spawn(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service_fn(cpu::serve)),
        );
    }
}

/// Without the feature `profiling` there is nothing to serve.
///
/// # Errors
/// Always.
#[cfg(not(feature = "profiling"))]
pub async fn serve_profiles(_: Listener) -> io::Result<()> {
    Err(io::Error::other("this build has no profiler: it lacks the cargo feature `profiling`"))
}
