//! Log events as lines, in Athens's three forms.
//!
//! A line is handed to a thread that writes: a standard output that nobody reads, or slowly, costs lines, which are
//! counted, and no request any time.

use std::cell::Cell;
use std::io::{ErrorKind, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use dipylon_middleware::telemetry::trace::current;
use dipylon_middleware::telemetry::{IntCounter, LogFate, RequestLine, RequestLog, Telemetry};
use parking_lot::{Condvar, Mutex};
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

/// Bytes that they may have together; a line that would be one more is lost.
const BYTES_QUEUED_MAX: usize = 16 << 20;

/// Bytes of memory for what waits that are kept while nothing does.
const BYTES_KEPT: usize = 1 << 20;

/// How long lines are gathered before they are written.
const GATHERED_FOR: Duration = Duration::from_millis(10);

/// How long the end of the program waits until what waits is written.
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// Lines that are on their way; dropped at the end of the program, it waits for them.
#[derive(Debug)]
pub struct Logs {
    waiting: Arc<Waiting>,
    ended: Receiver<()>,
}

/// Lines that wait for the thread that writes, one behind the other.
#[derive(Debug)]
struct Waiting {
    gathered: Mutex<Gathered>,
    changed: Condvar,
    lines_max: usize,
}

#[derive(Debug, Default)]
struct Gathered {
    text: Vec<u8>,
    lines: usize,
    /// Nothing that comes later is written.
    is_last: bool,
}

impl Waiting {
    fn new(lines_max: usize) -> Self {
        Self { gathered: Mutex::default(), changed: Condvar::new(), lines_max }
    }

    /// Says whether there is room for the line.
    fn put(&self, line: &[u8]) -> bool {
        let mut gathered = self.gathered.lock();
        let has_room = gathered.text.len() + line.len() <= BYTES_QUEUED_MAX;
        if gathered.lines >= self.lines_max || !has_room {
            return false;
        }
        gathered.text.extend_from_slice(line);
        gathered.lines += 1;
        let is_first = gathered.lines == 1;
        drop(gathered);
        if is_first {
            self.changed.notify_one();
        }
        true
    }

    fn end(&self) {
        self.gathered.lock().is_last = true;
        self.changed.notify_one();
    }

    /// Waits for lines and takes them; says how many they are, and whether they are the last.
    fn take(&self, text: &mut Vec<u8>) -> (u64, bool) {
        let mut gathered = self.gathered.lock();
        self.changed.wait_while(&mut gathered, |gathered| gathered.lines == 0 && !gathered.is_last);
        if !gathered.is_last {
            // Who waits for each line is woken by each request, which costs that request more than its line.
            self.changed.wait_for(&mut gathered, GATHERED_FOR);
        }
        let lines = std::mem::take(&mut gathered.lines);
        std::mem::swap(&mut gathered.text, text);
        (lines as u64, gathered.is_last)
    }
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
    let waiting = Arc::new(Waiting::new(LINES_QUEUED_MAX));
    let written = Arc::clone(&waiting);
    let (ends, ended) = sync_channel(1);
    let thread = std::thread::Builder::new().name("log".to_owned());
    let writes = move || {
        write_all(&written, &mut std::io::stdout(), count);
        // Nobody may be there any more to hear it.
        let _ = ends.send(());
    };
    thread.spawn(writes).map_err(|error| format!("cannot start the thread that logs: {error}"))?;
    let (repeats, began) = (Mutex::default(), Instant::now());
    let lines = Lines { form, waiting: Arc::clone(&waiting), repeats, began };
    // What is left out is left out for all: a filter of one layer alone asks and notes more for each event.
    tracing_subscriber::registry()
        .with(lines)
        .with(ours)
        .try_init()
        .map_err(|error| error.to_string())?;
    // As the subscriber: a process has one log.
    let _ = REQUESTS.set(Arc::new(Requests { form, level, waiting: Arc::clone(&waiting) }));
    Ok(Logs { waiting, ended })
}

/// The log of requests, once [`init`] has been called.
static REQUESTS: OnceLock<Arc<Requests>> = OnceLock::new();

/// The same telemetry, with lines of this process from now on counted there, and those of requests written.
#[must_use]
pub fn log_of(telemetry: Telemetry) -> Telemetry {
    let counter = |fate| telemetry.metrics.log_lines.get((fate,)).clone();
    let counters = [LogFate::Written, LogFate::LeftOut, LogFate::Lost].map(counter);
    // A process has one log, and one telemetry to count in.
    let _ = COUNTERS.set(counters);
    match REQUESTS.get() {
        Some(requests) => telemetry.logging_to(Arc::clone(requests) as Arc<dyn RequestLog>),
        None => telemetry,
    }
}

/// One write for all that waits, so that a busy log costs few. What cannot be written is nobody's to mend here: it
/// is counted, and the next is tried.
fn write_all(waiting: &Waiting, out: &mut impl Write, count: impl Fn(LogFate, u64)) {
    let mut text = Vec::new();
    loop {
        let (all, is_last) = waiting.take(&mut text);
        let lost = lines_in(write(out, &text));
        count(LogFate::Written, all - lost);
        count(LogFate::Lost, lost);
        if is_last {
            return;
        }
        text.clear();
        text.shrink_to(BYTES_KEPT);
    }
}

/// Writes as much as can be, and gives back the rest: from the line on that could not be written whole.
fn write<'a>(out: &mut impl Write, text: &'a [u8]) -> &'a [u8] {
    let mut left = text;
    while !left.is_empty() {
        match out.write(left) {
            Ok(0) => return left,
            Ok(bytes) => left = &left[bytes.min(left.len())..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return left,
        }
    }
    // What it has taken may wait there: whether that is written is known now, and of which lines is not.
    if out.flush().is_ok() { left } else { text }
}

fn lines_in(text: &[u8]) -> u64 {
    text.iter().filter(|byte| **byte == b'\n').count() as u64
}

impl Drop for Logs {
    fn drop(&mut self) {
        self.waiting.end();
        let _: Result<(), RecvTimeoutError> = self.ended.recv_timeout(FLUSH_MAX);
    }
}

/// Of lines that are written, left out and lost, once there is something to count in.
static COUNTERS: OnceLock<[IntCounter; 3]> = OnceLock::new();

fn count(fate: LogFate, lines: u64) {
    if let Some([written, left_out, lost]) = COUNTERS.get() {
        match fate {
            LogFate::Written => written.inc_by(lines),
            LogFate::LeftOut => left_out.inc_by(lines),
            LogFate::Lost => lost.inc_by(lines),
        }
    }
}

struct Lines {
    form: Form,
    waiting: Arc<Waiting>,
    repeats: Mutex<Repeats<Identifier>>,
    began: Instant,
}

impl Lines {
    /// How many like it were left out before; nothing where this one is left out too.
    fn admit(&self, event: &Event<'_>) -> Option<u64> {
        let metadata = event.metadata();
        // Of an error, which a breach of security is too, each line may be the one that somebody looks for.
        if !matches!(*metadata.level(), Level::WARN | Level::INFO) {
            return Some(0);
        }
        self.repeats.lock().admit(metadata.callsite(), self.began.elapsed())
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let Some(left_out) = self.admit(event) else { return count(LogFate::LeftOut, 1) };
        put(&self.waiting, |line| {
            line.say(event, self.form);
            if let Some(trace) = current::trace() {
                line.add_trace(&trace);
            }
            if left_out > 0 {
                line.add_left_out(left_out);
            }
        });
    }
}

/// Lines of requests, of which none is left out: each is there once.
struct Requests {
    form: Form,
    level: LevelFilter,
    waiting: Arc<Waiting>,
}

impl RequestLog for Requests {
    fn write(&self, request: &RequestLine<'_>) {
        let level = request.level();
        if level <= self.level {
            put(&self.waiting, |line| line.say_request(request, self.form, level));
        }
    }
}

/// Puts a line to those that wait; it is counted as lost where there is no room. One that waits is counted when it is
/// written.
fn put(waiting: &Waiting, say: impl FnOnce(&mut Line)) {
    // Whatever is said while this is said has a line of its own.
    let mut line = LINE.try_with(Cell::take).unwrap_or_default();
    say(&mut line);
    if !waiting.put(line.render(time::OffsetDateTime::now_utc())) {
        count(LogFate::Lost, 1);
    }
    // Where the thread ends, so does its line.
    let _ = LINE.try_with(|kept| kept.set(line));
}

thread_local! {
    /// The memory of the line before.
    static LINE: Cell<Line> = Cell::default();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What waits, by its lines.
    fn kept(waiting: &Waiting) -> Vec<String> {
        let mut text = Vec::new();
        waiting.end();
        assert!(waiting.take(&mut text).1);
        let text = String::from_utf8(text).expect("lines are text");
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_log_that_nobody_reads_loses_lines_and_costs_no_time() {
        let waiting = Arc::new(Waiting::new(3));
        let (repeats, began) = (Mutex::default(), Instant::now());
        let lines = Lines { form: Form::Json, waiting: Arc::clone(&waiting), repeats, began };
        let subscriber = tracing_subscriber::registry().with(lines);
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..10 {
                tracing::info!(number, "said");
            }
        });
        let lines = kept(&waiting);
        assert_eq!(lines.len(), 3);
        assert!(
            lines[0].contains("\"number\":0") && lines[2].contains("\"number\":2"),
            "{lines:?}"
        );
        let long = vec![b'x'; BYTES_QUEUED_MAX];
        assert!(waiting.put(&long));
        assert!(!waiting.put(b"x"), "there is no room");
    }

    #[test]
    fn warnings_said_too_often_are_left_out_and_errors_and_breaches_of_security_never() {
        let waiting = Arc::new(Waiting::new(1_000));
        let (repeats, began) = (Mutex::default(), Instant::now());
        let lines = Lines { form: Form::Json, waiting: Arc::clone(&waiting), repeats, began };
        let subscriber = tracing_subscriber::registry().with(lines);
        let said = 3 * super::super::repeats::LINES_PER_WINDOW;
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..said {
                tracing::warn!(number, "often");
                tracing::error!(number, "SECURITY: as often");
            }
        });
        let lines = kept(&waiting);
        let of = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
        assert_eq!(of("SECURITY: as often"), said as usize);
        assert_eq!(of("\"often\""), super::super::repeats::LINES_PER_WINDOW as usize);
    }

    /// Takes its time for each write; or so many bytes, and no more.
    #[derive(Default)]
    struct Output {
        takes: Duration,
        bytes_max: Option<usize>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            std::thread::sleep(self.takes);
            let mut written = self.written.lock();
            let room = self.bytes_max.map_or(bytes.len(), |most| most - written.len());
            if room == 0 {
                return Err(ErrorKind::BrokenPipe.into());
            }
            let taken = &bytes[..room.min(bytes.len())];
            written.extend_from_slice(taken);
            Ok(taken.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_end_waits_until_what_was_said_is_written_and_not_for_ever() {
        let waiting = Arc::new(Waiting::new(1));
        assert!(waiting.put(b"the last\n"));
        let taken = Arc::clone(&waiting);
        let (ends, ended) = sync_channel(1);
        let mut output = Output { takes: FLUSH_MAX / 4, ..Output::default() };
        let written = Arc::clone(&output.written);
        std::thread::spawn(move || {
            write_all(&taken, &mut output, |_, _| ());
            ends.send(()).expect("somebody waits");
        });
        let began = Instant::now();
        drop(Logs { waiting, ended });
        assert_eq!(*written.lock(), b"the last\n");
        assert!(began.elapsed() < FLUSH_MAX, "no longer than that takes: {:?}", began.elapsed());
        // Nobody takes what waits there.
        let waiting = Arc::new(Waiting::new(1));
        assert!(waiting.put(b"in the way\n"));
        let (_ends, ended) = sync_channel(1);
        let began = Instant::now();
        drop(Logs { waiting, ended });
        assert!(began.elapsed() >= FLUSH_MAX, "{:?}", began.elapsed());
    }

    #[test]
    fn lines_that_cannot_be_written_whole_are_counted_as_lost() {
        for (bytes_max, want) in
            [(None, (3, 0)), (Some(6), (2, 1)), (Some(4), (1, 2)), (Some(0), (0, 3))]
        {
            let waiting = Waiting::new(3);
            for line in ["a\n", "bc\n", "d\n"] {
                assert!(waiting.put(line.as_bytes()));
            }
            waiting.end();
            let mut output = Output { bytes_max, ..Output::default() };
            let (written, lost) = (Cell::new(0), Cell::new(0));
            write_all(&waiting, &mut output, |fate, lines| match fate {
                LogFate::Written => written.set(written.get() + lines),
                LogFate::Lost => lost.set(lost.get() + lines),
                LogFate::LeftOut => panic!("nothing is left out here"),
            });
            assert_eq!((written.get(), lost.get()), want, "{bytes_max:?}");
        }
    }
}
