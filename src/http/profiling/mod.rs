//! Profiles on a port of their own, in the manner of Go's `net/http/pprof`: no authentication, off
//! unless `EnablePprof` is set.

use std::io;
#[cfg(feature = "profiling")]
use std::sync::Arc;

#[cfg(feature = "profiling")]
use tokio::sync::Semaphore;

use super::listener::Listener;

#[cfg(feature = "profiling")]
mod cpu;
#[cfg(feature = "profiling")]
mod heap;
#[cfg(feature = "profiling")]
mod pages;

/// Connections at once; whoever comes then waits.
#[cfg(feature = "profiling")]
const CONNECTIONS_MAX: usize = 16;

/// Serves profiles until the process ends.
///
/// # Errors
/// When the build has no profiler.
#[cfg(feature = "profiling")]
pub async fn serve_profiles(listener: Listener) -> io::Result<()> {
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper_util::rt::{TokioIo, TokioTimer};
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Ok(place) = Arc::clone(&room).acquire_owned().await {
        let (stream, _) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection for profiles");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service_fn(pages::serve));
        tokio::spawn(async move {
            let _place = place;
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection for profiles broke off");
            }
        });
    }
    Ok(())
}

/// Without the feature `profiling` there is nothing to serve.
///
/// # Errors
/// Always.
#[cfg(not(feature = "profiling"))]
pub async fn serve_profiles(_: Listener) -> io::Result<()> {
    Err(io::Error::other("this build has no profiler: it lacks the cargo feature `profiling`"))
}
