//! Where the processor's time goes: samples of all threads, by a timer of the system.

use std::time::Duration;

use bytes::Bytes;
use pprof::protos::Message as _;

/// Samples a second.
const FREQUENCY: i32 = 99;

/// A profile of the coming `length`, as `go tool pprof` reads it.
///
/// # Errors
/// When samples are being taken already, or cannot be.
pub(super) async fn profile(length: Duration) -> Result<Bytes, String> {
    let report = sample(length).await.map_err(|error| error.to_string())?;
    let profile = report.pprof().map_err(|error| error.to_string())?;
    Ok(profile.encode_to_vec().into())
}

/// What is drawn where no sample was taken: no graph is an empty answer.
const IDLE: &[u8] = b"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"600\" height=\"40\"><text x=\"10\" y=\"25\">\
    no samples: the process was idle, or nearly so</text></svg>\n";

/// The same as a flame graph in SVG.
///
/// # Errors
/// As [`profile`].
pub(super) async fn flame_graph(length: Duration) -> Result<Bytes, String> {
    let report = sample(length).await.map_err(|error| error.to_string())?;
    let mut svg = Vec::new();
    report.flamegraph(&mut svg).map_err(|error| error.to_string())?;
    Ok(if svg.is_empty() { Bytes::from_static(IDLE) } else { svg.into() })
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
