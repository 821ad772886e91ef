//! From the threads of requests to the collector: a bounded queue, and one task that empties it in batches.
//! Nothing here makes a request wait; what has no room is counted.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dipylon_middleware::telemetry::trace::{FinishedSpan, FinishedTrace, SpanSink};
use dipylon_middleware::telemetry::{SpanFate, Telemetry};
use opentelemetry_sdk::trace::SpanExporter;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::Tally;
use super::convert::span_data;

/// How spans are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    /// Spans that may wait, those on their way included.
    pub(super) queued_max: usize,
    /// Spans sent at once, at most.
    pub(super) spans_max: usize,
    /// How long the first of a batch waits for others.
    pub(super) every: Duration,
    /// How long sending one may take, attempts made again included.
    pub(super) patience: Duration,
}

/// Where the recorder leaves spans.
struct Queue {
    batch: Batch,
    sender: mpsc::UnboundedSender<Vec<FinishedSpan>>,
    /// Spans in the channel and in the hands of the task; the channel is bounded by it.
    queued: AtomicUsize,
    telemetry: Telemetry,
}

impl Queue {
    fn count(&self, fate: SpanFate, spans: usize) {
        if spans > 0 {
            self.telemetry.metrics.trace_spans.get((fate,)).inc_by(spans as u64);
        }
    }

    /// These spans are settled, and make room. At the end whoever hands spans in and whoever counts what is left may
    /// both have the same in hand: the first counts them, and there are never less than none.
    fn settle(&self, fate: SpanFate, spans: usize) {
        let taken = self.queued.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |queued| {
            Some(queued.saturating_sub(spans))
        });
        // It always has a next value, so both arms are what there was before.
        let before = taken.unwrap_or_else(|queued| queued);
        self.count(fate, before.min(spans));
    }
}

impl SpanSink for Queue {
    fn take(&self, finished: FinishedTrace) {
        let FinishedTrace { kept, has_root, over, spans } = finished;
        if has_root {
            self.telemetry.metrics.traces_kept.get((kept,)).inc();
        }
        self.count(SpanFate::OverLimit, over as usize);
        let more = spans.len();
        let room = self.queued.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |queued| {
            queued.checked_add(more).filter(|queued| *queued <= self.batch.queued_max)
        });
        if room.is_err() {
            self.count(SpanFate::QueueFull, more);
        } else if self.sender.send(spans).is_err() {
            self.settle(SpanFate::LeftBehind, more);
        }
    }
}

/// The task that sends.
#[derive(Debug)]
pub(super) struct Sending {
    queue: Arc<Queue>,
    closing: CancellationToken,
    task: JoinHandle<()>,
}

impl Sending {
    pub(super) fn begin<E: SpanExporter + 'static>(
        exporter: E,
        batch: Batch,
        telemetry: &Telemetry,
    ) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let (queued, telemetry) = (AtomicUsize::new(0), telemetry.clone());
        let queue = Arc::new(Queue { batch, sender, queued, telemetry });
        let closing = CancellationToken::new();
        let (waiting, lost_in_a_row) = (VecDeque::new(), 0);
        let worker = Worker {
            exporter,
            queue: Arc::clone(&queue),
            receiver,
            closing: closing.clone(),
            waiting,
            lost_in_a_row,
        };
        Self { queue, closing, task: tokio::spawn(worker.run()) }
    }

    pub(super) fn sink(&self) -> Arc<dyn SpanSink> {
        Arc::clone(&self.queue) as _
    }

    /// Sends what is left within `patience`; what is left then is lost.
    pub(super) async fn end(self, patience: Duration) -> Tally {
        let Self { queue, closing, mut task } = self;
        closing.cancel();
        if timeout(patience, &mut task).await.is_err() {
            task.abort();
            // It ends at its next pause, and settles nothing after it.
            let _ = task.await;
        }
        queue.settle(SpanFate::LeftBehind, queue.queued.load(Ordering::Relaxed));
        Tally::of(&queue.telemetry)
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Queue({} spans)", self.queued.load(Ordering::Relaxed))
    }
}

struct Worker<E> {
    exporter: E,
    queue: Arc<Queue>,
    receiver: mpsc::UnboundedReceiver<Vec<FinishedSpan>>,
    closing: CancellationToken,
    waiting: VecDeque<FinishedSpan>,
    /// Spans that the collector did not take since it last took some.
    lost_in_a_row: usize,
}

impl<E: SpanExporter> Worker<E> {
    async fn run(mut self) {
        while self.fill().await {
            let spans_max = self.queue.batch.spans_max.min(self.waiting.len());
            let batch: Vec<_> = self.waiting.drain(..spans_max).map(span_data).collect();
            self.send(batch).await;
        }
    }

    /// Waits for the first span, then for as many as go at once or until that has waited long enough; not
    /// at all once the end has come. False at the end.
    async fn fill(&mut self) -> bool {
        if self.waiting.is_empty() {
            tokio::select! {
                spans = self.receiver.recv() => self.waiting.extend(spans.unwrap_or_default()),
                () = self.closing.cancelled() => {}
            }
        }
        let until = Instant::now() + self.queue.batch.every;
        while self.waiting.len() < self.queue.batch.spans_max && !self.closing.is_cancelled() {
            tokio::select! {
                spans = timeout_at(until, self.receiver.recv()) => match spans {
                    Ok(spans) => self.waiting.extend(spans.unwrap_or_default()),
                    Err(_) => break,
                },
                () = self.closing.cancelled() => {}
            }
        }
        if self.closing.is_cancelled() {
            // From here on what comes is counted where it comes from.
            self.receiver.close();
            while let Ok(spans) = self.receiver.try_recv() {
                self.waiting.extend(spans);
            }
        }
        !self.waiting.is_empty() || !self.closing.is_cancelled()
    }

    async fn send(&mut self, batch: Vec<opentelemetry_sdk::trace::SpanData>) {
        let spans = batch.len();
        if spans == 0 {
            return;
        }
        let why = match timeout(self.queue.batch.patience, self.exporter.export(batch)).await {
            Ok(Ok(())) => {
                self.queue.settle(SpanFate::Sent, spans);
                let lost = std::mem::take(&mut self.lost_in_a_row);
                if lost > 0 {
                    tracing::info!(lost, "the collector takes traces again");
                }
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {:?}", self.queue.batch.patience),
        };
        self.queue.settle(SpanFate::NotTaken, spans);
        if self.lost_in_a_row == 0 {
            tracing::warn!(error = why, spans, "the collector takes no traces: they are lost");
        }
        self.lost_in_a_row += spans;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_have_in_hand_at_the_end_is_counted_once_and_never_leaves_less_than_none() {
        let telemetry = Telemetry::new().expect("a registry");
        let (sender, _) = mpsc::unbounded_channel();
        let second = Duration::from_secs(1);
        let batch = Batch { queued_max: 5, spans_max: 5, every: second, patience: second };
        let queued = AtomicUsize::new(3);
        let queue = Queue { batch, sender, queued, telemetry: telemetry.clone() };
        // The end counts all that is left, among them two whose giver is still about to find the channel closed.
        queue.settle(SpanFate::LeftBehind, 3);
        queue.settle(SpanFate::LeftBehind, 2);
        assert_eq!(queue.queued.load(Ordering::Relaxed), 0);
        assert_eq!(telemetry.metrics.trace_spans.get((SpanFate::LeftBehind,)).get(), 3);
    }
}
