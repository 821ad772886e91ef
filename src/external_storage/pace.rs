//! A body that must keep moving.
//!
//! Only the time that a client is waited for counts, not that of our own disk: in each
//! [`BODY_WINDOW`] of it at least [`MIN_BODY_BYTES`] must come. A body of fewer bytes in all has one window
//! to arrive in, and none takes longer than [`BODY_MAX`].

use std::time::Duration;

use bytes::Bytes;
use dipylon_middleware::error::Error;
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use tokio::time::Instant;

use super::route::bad;
use crate::http::Incoming;

/// What the least rate of a body is averaged over.
pub const BODY_WINDOW: Duration = Duration::from_secs(60);
/// Bytes that must come in each window.
pub const MIN_BODY_BYTES: u64 = 1 << 20;
/// The longest time for one body, the wait for a place included.
pub const BODY_MAX: Duration = Duration::from_secs(30 * 60);

/// The body of a request.
pub(super) struct Paced {
    body: Incoming,
    bytes_max: u64,
    bytes: u64,
    deadline: Instant,
    /// How long the client was waited for in this window, and what came in it.
    waited: Duration,
    window_bytes: u64,
}

impl Paced {
    /// A body of at most `bytes_max` bytes; its time begins now.
    ///
    /// # Errors
    /// `BadRequest` where it says that it is larger.
    pub(super) fn new(body: Incoming, bytes_max: u64) -> Result<Self, Error> {
        if body.size_hint().lower() > bytes_max {
            return Err(too_large(bytes_max));
        }
        let deadline = Instant::now() + BODY_MAX;
        let (waited, window_bytes) = (Duration::ZERO, 0);
        Ok(Self { body, bytes_max, bytes: 0, deadline, waited, window_bytes })
    }

    /// The next bytes, or `None` at the end.
    ///
    /// # Errors
    /// `BadRequest` where it is cut, too large or too slow.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let begun = Instant::now();
            if begun >= self.deadline {
                return Err(bad(&format!("the body took longer than {BODY_MAX:?}")));
            }
            let until = begun + BODY_WINDOW.saturating_sub(self.waited);
            let frame = tokio::time::timeout_at(until.min(self.deadline), self.body.frame()).await;
            self.waited += begun.elapsed();
            match frame {
                Err(_) => self.end_window()?,
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Err(bad(&format!("the body broke off: {error}"))),
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => return self.count(data).map(Some),
                    // Trailers and empty frames carry nothing for us.
                    _ => {}
                },
            }
        }
    }

    fn count(&mut self, data: Bytes) -> Result<Bytes, Error> {
        self.bytes += data.len() as u64;
        self.window_bytes += data.len() as u64;
        if self.bytes > self.bytes_max { Err(too_large(self.bytes_max)) } else { Ok(data) }
    }

    /// The client was waited for in vain: because of the deadline, or because a window is over.
    fn end_window(&mut self) -> Result<(), Error> {
        if self.waited < BODY_WINDOW {
            return Ok(());
        }
        match self.window_bytes {
            0 => Err(bad(&format!("the body stood still for {BODY_WINDOW:?}"))),
            1..MIN_BODY_BYTES => {
                let text =
                    format!("fewer than {MIN_BODY_BYTES} bytes of it came in {BODY_WINDOW:?}");
                Err(bad(&format!("the body is too slow: {text}")))
            }
            _ => {
                (self.waited, self.window_bytes) = (Duration::ZERO, 0);
                Ok(())
            }
        }
    }
}

fn too_large(bytes_max: u64) -> Error {
    bad(&format!("the body is larger than {bytes_max} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt as _;
    use http_body_util::StreamBody;
    use hyper::body::Frame;

    const SECOND: Duration = Duration::from_secs(1);

    /// A body of which `bytes` bytes come each `pause`, for ever.
    fn dripping(bytes: usize, pause: Duration) -> Incoming {
        let drops =
            futures::stream::repeat(Bytes::from(vec![b'x'; bytes])).then(move |chunk| async move {
                tokio::time::sleep(pause).await;
                Ok(Frame::data(chunk))
            });
        StreamBody::new(drops).boxed_unsync()
    }

    /// When and how a body ends, with our own disk taking its time for each chunk.
    async fn end(body: Incoming, ours: Duration) -> (Duration, String) {
        let begun = Instant::now();
        let mut body = Paced::new(body, u64::MAX).unwrap();
        loop {
            match body.next().await {
                Ok(_) => tokio::time::sleep(ours).await,
                Err(error) => return (begun.elapsed(), error.message().to_owned()),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_is_given_up_after_one_window() {
        let (after, said) = end(dripping(1, 5 * SECOND), Duration::ZERO).await;
        assert!(after <= BODY_WINDOW + SECOND, "{after:?}");
        assert!(said.contains("too slow: fewer than 1048576 bytes"), "{said}");
        let (after, said) = end(dripping(1, 1_000 * SECOND), Duration::ZERO).await;
        assert_eq!((after, said.contains("stood still for 60s")), (BODY_WINDOW, true), "{said}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_moves_has_its_time_and_no_more() {
        let (after, said) = end(dripping(250_000, 10 * SECOND), Duration::ZERO).await;
        assert_eq!((after, said.contains("longer than 1800s")), (BODY_MAX, true), "{said}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_of_our_own_disk_is_not_the_clients() {
        let (after, said) = end(dripping(1_000, SECOND / 1_000), 100 * SECOND).await;
        assert!(after >= BODY_MAX && said.contains("longer than"), "{after:?} {said}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_larger_than_it_may_be_is_refused_announced_or_not() {
        let whole = |bytes: usize| http_body_util::Full::new(Bytes::from(vec![0; bytes]));
        let boxed = |bytes| whole(bytes).map_err(|never| match never {}).boxed_unsync();
        assert!(Paced::new(boxed(10), 10).is_ok());
        let error = Paced::new(boxed(11), 10).map(drop).unwrap_err();
        assert!(error.message().contains("larger than 10 bytes"), "{error}");
        let mut body = Paced::new(dripping(4, SECOND), 10).unwrap();
        assert!(body.next().await.is_ok() && body.next().await.is_ok());
        let error = body.next().await.unwrap_err();
        assert!(error.message().contains("larger than 10 bytes"), "{error}");
    }
}
