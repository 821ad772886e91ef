//! Bodies that come slowly, stop, or break off.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::time::Sleep;

use crate::server::ServerBody;
use crate::upstream::log::Flight;

/// Bytes of a frame: small enough that a slow client is felt, and a broken one noticed.
const CHUNK_BYTES: usize = 64 * 1024;
/// What was sent before a cut gets so long to leave for the client.
const BEFORE_CUT: Duration = Duration::from_millis(30);
/// The longest that a silent answer keeps its connection.
pub(crate) const MAX_HANG: Duration = Duration::from_secs(600);

/// What happens where a body stops before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Nothing more comes.
    Hang,
    /// The connection ends.
    Cut,
}

/// A body with its pace and its end.
#[derive(Debug)]
pub(crate) struct Sending {
    left: Bytes,
    stop: Option<(usize, Stop)>,
    pace: Option<(usize, Duration)>,
    pause: Option<Pin<Box<Sleep>>>,
    stopping: bool,
    flight: Flight,
}

impl Sending {
    pub(crate) fn new(bytes: Bytes, flight: Flight) -> Self {
        Self { left: bytes, stop: None, pace: None, pause: None, stopping: false, flight }
    }

    /// Stops after so many bytes; a body that is shorter stops at its end.
    pub(crate) fn stop_after(mut self, bytes: usize, stop: Stop) -> Self {
        self.stop = Some((bytes, stop));
        self
    }

    pub(crate) fn pace(mut self, bytes_per_tick: usize, tick: Duration) -> Self {
        assert!(bytes_per_tick > 0, "a trickle of no bytes never ends: use StallAfter(0)");
        self.pace = Some((bytes_per_tick, tick));
        self
    }

    pub(crate) fn boxed(self) -> ServerBody {
        self.boxed_unsync()
    }

    /// Bytes that may go out now; 0 at the end or the stop.
    fn allowance(&self) -> usize {
        let until_stop = self.stop.map_or(usize::MAX, |(bytes, _)| bytes);
        let per_tick = self.pace.map_or(CHUNK_BYTES, |(bytes, _)| bytes);
        self.left.len().min(until_stop).min(per_tick)
    }

    fn rest(&mut self, time: Duration) {
        self.pause = Some(Box::pin(tokio::time::sleep(time)));
    }

    fn send(&mut self, bytes: usize) -> Frame<Bytes> {
        let chunk = self.left.split_to(bytes);
        if let Some((until_stop, _)) = &mut self.stop {
            *until_stop -= bytes;
        }
        if let Some((_, tick)) = self.pace {
            self.rest(tick);
        }
        // With a known length the server asks for no further frame after the last byte.
        if self.is_end_stream() {
            self.flight.complete();
        }
        Frame::data(chunk)
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            if self.stopping {
                return Poll::Ready(Some(Err(io::Error::other("cut as the test asked"))));
            }
            let bytes = self.allowance();
            if bytes > 0 {
                return Poll::Ready(Some(Ok(self.send(bytes))));
            }
            match self.stop {
                None => {
                    self.flight.complete();
                    return Poll::Ready(None);
                }
                Some((_, stop)) => {
                    self.stopping = true;
                    self.rest(if stop == Stop::Cut { BEFORE_CUT } else { MAX_HANG });
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty() && self.stop.is_none()
    }
}
