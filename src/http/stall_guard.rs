//! A client that stops reading is let go: it would hold a spool, a slot and a drain for ever.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// A connection whose writes must get on.
#[derive(Debug)]
pub(super) struct StallGuard<S> {
    inner: S,
    stall_max: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> StallGuard<S> {
    /// Fails writes of `inner` that take nothing for `stall_max`. A slow client is no stalled one.
    pub(super) fn new(inner: S, stall_max: Duration) -> Self {
        Self { inner, stall_max, stalled: None }
    }

    /// Passes a finished write on; a pending one starts the clock, or ends with it.
    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if write.is_ready() {
            self.stalled = None;
            return write;
        }
        let stall_max = self.stall_max;
        let clock = self.stalled.get_or_insert_with(|| Box::pin(sleep(stall_max)));
        if clock.deadline() <= Instant::now() || clock.as_mut().poll(cx).is_ready() {
            let text = "the client has stopped reading";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, text)));
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for StallGuard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for StallGuard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.watch(cx, write)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.inner).poll_write_vectored(cx, buffers);
        self.watch(cx, write)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let write = Pin::new(&mut self.inner).poll_flush(cx);
        self.watch(cx, write)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let write = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.watch(cx, write)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stops_reading_is_let_go() {
        let (ours, _theirs) = tokio::io::duplex(4);
        let mut guarded = StallGuard::new(ours, MINUTE);
        let error = guarded.write_all(b"more than fits").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_is_served() {
        let (ours, mut theirs) = tokio::io::duplex(1);
        let mut guarded = StallGuard::new(ours, MINUTE);
        let reading = tokio::spawn(async move {
            for _ in 0..10 {
                sleep(MINUTE / 2).await;
                theirs.read_u8().await.unwrap();
            }
        });
        guarded.write_all(b"0123456789").await.unwrap();
        reading.await.unwrap();
    }
}
