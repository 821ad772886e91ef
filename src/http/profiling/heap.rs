//! What holds the memory, where the allocator can tell: jemalloc can, mimalloc and the system's cannot.

use bytes::Bytes;

/// What is allocated now and was sampled when it was, by stack, as `go tool pprof` reads it.
///
/// # Errors
/// When the allocator was not told at start to sample, another profile is being written, or it cannot be
/// written to the temporary directory.
#[cfg(feature = "jemalloc")]
pub(super) async fn profile() -> Result<Bytes, String> {
    let Some(control) = jemalloc_pprof::PROF_CTL.as_ref() else {
        return Err(format!("the allocator takes no samples: start with {SAMPLING}"));
    };
    // One at a time, as of the processor: whoever asks again meanwhile would hold a thread.
    let Ok(mut control) = std::sync::Arc::clone(control).try_lock_owned() else {
        return Err("a profile is being written already".to_owned());
    };
    let take = move || control.dump_pprof();
    match tokio::task::spawn_blocking(take).await {
        Ok(Ok(profile)) => Ok(profile.into()),
        Ok(Err(error)) => Err(format!("{error:#}")),
        Err(error) => Err(error.to_string()),
    }
}

/// What makes jemalloc sample: one allocation in 512 KiB on average.
#[cfg(feature = "jemalloc")]
const SAMPLING: &str = "_RJEM_MALLOC_CONF=prof:true,lg_prof_sample:19";

/// Without the feature `jemalloc` there is nothing to tell.
///
/// # Errors
/// Always.
#[cfg(not(feature = "jemalloc"))]
#[expect(clippy::unused_async, reason = "as the other")]
pub(super) async fn profile() -> Result<Bytes, String> {
    Err("this build's allocator has no profile: build with `--features jemalloc`".to_owned())
}
