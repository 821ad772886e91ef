//! Profiles on a port of their own, in the manner of Go's `net/http/pprof`: no authentication, off
//! unless `EnablePprof` is set.

use std::io;

use super::listener::Listener;

#[cfg(feature = "profiling")]
mod cpu;
#[cfg(feature = "profiling")]
mod heap;
#[cfg(feature = "profiling")]
mod pages;

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
                .serve_connection(TokioIo::new(stream), service_fn(pages::serve)),
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
