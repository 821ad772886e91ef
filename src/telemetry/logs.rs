//! Log events as lines, in Athens's three forms.
//!
//! A line is handed to a thread that writes: a standard output that nobody reads, or slowly, costs lines, which are
//! counted, and no request any time.

use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use dipylon_middleware::telemetry::trace::current;
use dipylon_middleware::telemetry::{IntCounter, LogFate, Telemetry};
use parking_lot::Mutex;
use tracing::callsite::Identifier;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

pub use super::lines::Form;
use super::lines::Line;
use super::repeats::Repeats;

/// Lines that wait to be written; one more is lost.
pub const LINES_QUEUED_MAX: usize = 8_192;

/// How long lines are gathered before they are written.
const GATHERED_FOR: Duration = Duration::from_millis(10);

/// Bytes that are written at once, and one line more.
const WRITE_BYTES: usize = 1 << 20;

/// How long the end of the program waits until what waits is written.
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// The event of each request, which is never left out: it is there once.
const REQUEST_TARGET: &str = "dipylon_middleware::access_log::service";

/// Lines that are on their way; dropped at the end of the program, it waits for them.
#[derive(Debug)]
pub struct Logs {
    writing: Option<SyncSender<Piece>>,
    ended: Receiver<()>,
}

enum Piece {
    Line(String),
    End,
}

/// Sends every event of ours at `level` or louder, and warnings of libraries, to standard output.
///
/// # Errors
/// When a subscriber is installed already, or the thread that writes cannot be started.
pub fn init(form: Form, level: LevelFilter) -> Result<Logs, String> {
    let ours = Targets::new()
        .with_default(LevelFilter::WARN.min(level))
        .with_target("dipylon", level)
        .with_target("dipylon_middleware", level);
    let (writing, waiting) = sync_channel(LINES_QUEUED_MAX);
    let (ends, ended) = sync_channel(1);
    let thread = std::thread::Builder::new().name("log".to_owned());
    let writes = move || {
        write_all(&waiting);
        // Nobody may be there any more to hear it.
        let _ = ends.send(());
    };
    thread.spawn(writes).map_err(|error| format!("cannot start the thread that logs: {error}"))?;
    let lines =
        Lines { form, writing: writing.clone(), repeats: Mutex::default(), began: Instant::now() };
    let layer = lines.with_filter(ours);
    tracing_subscriber::registry().with(layer).try_init().map_err(|error| error.to_string())?;
    Ok(Logs { writing: Some(writing), ended })
}

/// Lines of this process from now on are counted there.
pub fn count_in(telemetry: &Telemetry) {
    let counter = |fate| telemetry.metrics.log_lines.get((fate,)).clone();
    let counters = [LogFate::Written, LogFate::LeftOut, LogFate::Lost].map(counter);
    // A process has one log, and one telemetry to count in.
    let _ = COUNTERS.set(counters);
}

/// One write for all that waits, so that a busy log costs few; a closed standard output is nobody's to mend here.
fn write_all(waiting: &Receiver<Piece>) {
    let mut text = String::new();
    while let Ok(first) = waiting.recv() {
        // Who waits for each line is woken by each request, which costs that request more than its line.
        std::thread::sleep(GATHERED_FOR);
        let mut next = Some(first);
        while let Some(Piece::Line(line)) = next {
            text.push_str(&line);
            let is_enough = text.len() >= WRITE_BYTES;
            next = if is_enough { None } else { waiting.try_recv().ok() };
        }
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        text.clear();
        if matches!(next, Some(Piece::End)) {
            return;
        }
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        let Some(writing) = self.writing.take() else { return };
        let until = Instant::now() + FLUSH_MAX;
        // Where the queue is full, somebody reads, or the time is over.
        let mut end = Piece::End;
        while let Err(TrySendError::Full(back)) = writing.try_send(end) {
            if Instant::now() >= until {
                return;
            }
            end = back;
            std::thread::sleep(Duration::from_millis(5));
        }
        let left = until.saturating_duration_since(Instant::now());
        let _: Result<(), RecvTimeoutError> = self.ended.recv_timeout(left);
    }
}

/// Of lines that are written, left out and lost, once there is something to count in.
static COUNTERS: OnceLock<[IntCounter; 3]> = OnceLock::new();

fn count(fate: LogFate) {
    if let Some([written, left_out, lost]) = COUNTERS.get() {
        match fate {
            LogFate::Written => written.inc(),
            LogFate::LeftOut => left_out.inc(),
            LogFate::Lost => lost.inc(),
        }
    }
}

struct Lines {
    form: Form,
    writing: SyncSender<Piece>,
    repeats: Mutex<Repeats<Identifier>>,
    began: Instant,
}

impl Lines {
    /// How many like it were left out before; nothing where this one is left out too.
    fn admit(&self, event: &Event<'_>) -> Option<u64> {
        let metadata = event.metadata();
        // Of an error, which a breach of security is too, each line may be the one that somebody looks for.
        if metadata.target() == REQUEST_TARGET
            || !matches!(*metadata.level(), Level::WARN | Level::INFO)
        {
            return Some(0);
        }
        self.repeats.lock().admit(metadata.callsite(), self.began.elapsed())
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let Some(left_out) = self.admit(event) else { return count(LogFate::LeftOut) };
        let mut line = Line::of(event, self.form);
        if let Some(trace) = current::trace() {
            line.add_trace(&trace);
        }
        if left_out > 0 {
            line.add_left_out(left_out);
        }
        let text = line.render(time::OffsetDateTime::now_utc());
        count(match self.writing.try_send(Piece::Line(text)) {
            Ok(()) => LogFate::Written,
            Err(_) => LogFate::Lost,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_nobody_reads_loses_lines_and_costs_no_time() {
        let (writing, waiting) = sync_channel(3);
        let (repeats, began) = (Mutex::default(), Instant::now());
        let lines = Lines { form: Form::Json, writing, repeats, began };
        let subscriber = tracing_subscriber::registry().with(lines);
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..10 {
                tracing::info!(number, "said");
            }
        });
        let kept: Vec<String> = waiting
            .try_iter()
            .map(|piece| match piece {
                Piece::Line(line) => line,
                Piece::End => panic!("nobody has ended it"),
            })
            .collect();
        assert_eq!(kept.len(), 3);
        assert!(kept[0].contains("\"number\":0") && kept[2].contains("\"number\":2"), "{kept:?}");
    }

    #[test]
    fn warnings_said_too_often_are_left_out_and_errors_and_breaches_of_security_never() {
        let (writing, waiting) = sync_channel(1_000);
        let (repeats, began) = (Mutex::default(), Instant::now());
        let lines = Lines { form: Form::Json, writing, repeats, began };
        let subscriber = tracing_subscriber::registry().with(lines);
        let said = 3 * super::super::repeats::LINES_PER_WINDOW;
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..said {
                tracing::warn!(number, "often");
                tracing::error!(number, "SECURITY: as often");
            }
        });
        let lines: Vec<String> = waiting
            .try_iter()
            .map(|piece| match piece {
                Piece::Line(line) => line,
                Piece::End => panic!("nobody has ended it"),
            })
            .collect();
        let of = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
        assert_eq!(of("SECURITY: as often"), said as usize);
        assert_eq!(of("\"often\""), super::super::repeats::LINES_PER_WINDOW as usize);
    }

    #[test]
    fn the_end_waits_until_what_was_said_is_written_and_not_for_ever() {
        let (writing, waiting) = sync_channel(1);
        let (ends, ended) = sync_channel(1);
        let writer = std::thread::spawn(move || {
            write_all(&waiting);
            ends.send(()).expect("somebody waits");
        });
        drop(Logs { writing: Some(writing), ended });
        writer.join().expect("it has ended");
        // Nobody takes what waits there.
        let (writing, _waiting) = sync_channel(1);
        writing.try_send(Piece::Line("in the way".to_owned())).expect("there is room for one");
        let (_ends, ended) = sync_channel(1);
        let began = Instant::now();
        drop(Logs { writing: Some(writing), ended });
        assert!(began.elapsed() >= FLUSH_MAX, "{:?}", began.elapsed());
    }
}
