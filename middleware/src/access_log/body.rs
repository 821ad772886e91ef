use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::service::Record;
use crate::body::Body;
use crate::error::Error;

/// Counts what is sent; the record is written when the body ends or is dropped.
pub(super) struct LoggedBody {
    inner: Body,
    record: Record,
}

impl LoggedBody {
    pub(super) fn new(inner: Body, record: Record) -> Self {
        Self { inner, record }
    }
}

impl http_body::Body for LoggedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                self.record.sent_bytes += bytes as u64;
            }
            Some(Err(error)) => self.record.cut_by(error),
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
