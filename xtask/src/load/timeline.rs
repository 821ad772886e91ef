//! What clients saw, second by second: k6's samples, read from a pipe while it runs and never kept as text.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Answers whose times are kept; beyond it they are counted and no more.
const MAX_TIMES: usize = 4_000_000;
/// What we write behind k6's last line.
const END: &str = "dipylon-end";
/// How long the reader has to reach the end, once k6 has ended.
const READ_LIMIT: Duration = Duration::from_secs(20);

/// One second of one kind of request.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Second {
    pub(super) answers: u64,
    pub(super) failed: u64,
    pub(super) wrong: u64,
    /// Milliseconds from the request to the last byte.
    pub(super) times: Vec<f32>,
}

/// All of it, by kind and second of the load.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Timeline {
    /// Milliseconds of the epoch of the first answer.
    pub(super) began_ms: Option<f64>,
    pub(super) kinds: BTreeMap<String, BTreeMap<u32, Second>>,
    kept: usize,
    columns: Option<Columns>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Columns {
    metric: usize,
    time: usize,
    value: usize,
    tags: usize,
}

impl Timeline {
    /// Takes a line of k6's CSV. A line that is none of ours is left out; the first one names the columns.
    fn take(&mut self, line: &str) {
        let Some(columns) = self.columns else {
            let names: Vec<&str> = line.split(',').collect();
            let at = |name: &str| names.iter().position(|column| *column == name);
            self.columns = (|| {
                Some(Columns {
                    metric: at("metric_name")?,
                    time: at("timestamp")?,
                    value: at("metric_value")?,
                    tags: at("extra_tags")?,
                })
            })();
            return;
        };
        let metric = line.split(',').nth(columns.metric).unwrap_or_default();
        if !matches!(metric, "answers" | "answer_ms" | "failed" | "wrong") {
            return;
        }
        let fields = fields(line);
        let number = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
        let (Some(time), Some(value)) = (number(columns.time), number(columns.value)) else {
            return;
        };
        let tags = fields.get(columns.tags).map(String::as_str).unwrap_or_default();
        let kind = tags.split('&').find_map(|tag| tag.strip_prefix("kind=")).unwrap_or_default();
        self.add(metric, kind, time, value);
    }

    fn add(&mut self, metric: &str, kind: &str, time_ms: f64, value: f64) {
        let began = *self.began_ms.get_or_insert(time_ms);
        let second = ((time_ms - began) / 1000.0).max(0.0) as u32;
        if !self.kinds.contains_key(kind) {
            self.kinds.insert(kind.to_owned(), BTreeMap::new());
        }
        let Some(seconds) = self.kinds.get_mut(kind) else { return };
        let second = seconds.entry(second).or_default();
        match metric {
            "answers" => second.answers += 1,
            "failed" => second.failed += u64::from(value > 0.0),
            "wrong" => second.wrong += u64::from(value > 0.0),
            _ if self.kept < MAX_TIMES => {
                self.kept += 1;
                second.times.push(value as f32);
            }
            _ => {}
        }
    }

    /// One second of one kind.
    #[cfg(test)]
    pub(super) fn of(kind: &str, second: Second) -> Self {
        Self { kinds: [(kind.to_owned(), [(0, second)].into())].into(), ..Self::default() }
    }

    /// All kinds whose name this takes, as one, second by second.
    pub(super) fn seconds(&self, takes: impl Fn(&str) -> bool) -> BTreeMap<u32, Second> {
        let mut all: BTreeMap<u32, Second> = BTreeMap::new();
        for (_, seconds) in self.kinds.iter().filter(|(kind, _)| takes(kind)) {
            for (second, one) in seconds {
                let sum = all.entry(*second).or_default();
                sum.answers += one.answers;
                sum.failed += one.failed;
                sum.wrong += one.wrong;
                sum.times.extend(&one.times);
            }
        }
        all
    }

    /// All of the load as one second.
    pub(super) fn whole(&self, takes: impl Fn(&str) -> bool) -> Second {
        let mut whole = Second::default();
        for one in self.seconds(takes).into_values() {
            whole.answers += one.answers;
            whole.failed += one.failed;
            whole.wrong += one.wrong;
            whole.times.extend(one.times);
        }
        whole
    }

    /// The first second with a failure, and the end of the last.
    pub(super) fn trouble(&self) -> Option<(u32, u32)> {
        let seconds = self.seconds(|_| true);
        let mut failed = seconds.iter().filter(|(_, one)| one.failed > 0).map(|(at, _)| *at);
        let first = failed.next()?;
        Some((first, failed.next_back().unwrap_or(first) + 1))
    }
}

impl Second {
    /// The time that this share of the answers kept below, in milliseconds.
    pub(super) fn quantile(&self, share: f64) -> Option<f64> {
        let mut times = self.times.clone();
        times.sort_by(f32::total_cmp);
        let at = (share * times.len() as f64).ceil() as usize;
        times.get(at.max(1) - 1).map(|time| f64::from(*time))
    }
}

/// The fields of a line of CSV; a quoted one may hold commas.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => {
                if let Some(last) = fields.last_mut() {
                    last.push(c);
                }
            }
        }
    }
    fields
}

/// A pipe that k6 writes to, and the thread that reads it.
pub(super) struct Pipe {
    path: PathBuf,
    /// Both ends at once: neither k6 nor the reader waits for the other to open it.
    file: File,
    reader: JoinHandle<Timeline>,
    done: std::sync::mpsc::Receiver<()>,
}

impl Pipe {
    /// Makes it. `first` hears of the load's first answer.
    ///
    /// # Errors
    /// One line: it cannot be made.
    pub(super) fn at(path: &Path, first: Sender<Instant>) -> Result<Self, String> {
        let told = |error: std::io::Error| format!("{}: {error}", path.display());
        if path.exists() {
            std::fs::remove_file(path).map_err(told)?;
        }
        let made = Command::new("mkfifo").arg(path).status().map_err(told)?;
        if !made.success() {
            return Err(format!("{}: mkfifo cannot make it", path.display()));
        }
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(told)?;
        let reading = file.try_clone().map_err(told)?;
        let (ended, done) = channel();
        let reader = std::thread::spawn(move || read(reading, &first, &ended));
        Ok(Self { path: path.to_path_buf(), file, reader, done })
    }

    /// Once k6 has ended: what came through.
    ///
    /// # Errors
    /// One line: the reader did not reach the end.
    pub(super) fn finish(mut self) -> Result<Timeline, String> {
        let told = |error: std::io::Error| format!("k6's samples: {error}");
        writeln!(self.file, "\n{END}").map_err(told)?;
        self.done
            .recv_timeout(READ_LIMIT)
            .map_err(|_| "k6's samples could not be read to their end".to_owned())?;
        std::fs::remove_file(&self.path).map_err(told)?;
        self.reader.join().map_err(|_| "the reader of k6's samples ended badly".to_owned())
    }
}

fn read(file: File, first: &Sender<Instant>, done: &Sender<()>) -> Timeline {
    let mut timeline = Timeline::default();
    for line in BufReader::new(file).lines().map_while(Result::ok) {
        if line == END {
            break;
        }
        let waited = timeline.began_ms.is_none();
        timeline.take(&line);
        if waited && timeline.began_ms.is_some() {
            // Nobody listens where no fault is wanted.
            let _ = first.send(Instant::now());
        }
    }
    let _ = done.send(());
    timeline
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSV: &str = "metric_name,timestamp,metric_value,error,extra_tags,metadata\n\
        http_reqs,1000,1,,,\n\
        answers,2000,1,,kind=hit,\n\
        failed,2000,0,,kind=hit&a=b,\n\
        answer_ms,2100,12.5,,kind=hit,\n\
        answers,3500,1,\"a, b\",kind=miss,\n\
        failed,3500,1,\"a, b\",kind=miss,\n\
        wrong,3600,1,,kind=miss,\n";

    #[test]
    fn samples_are_added_up_by_second_and_kind() {
        let mut timeline = Timeline::default();
        CSV.lines().for_each(|line| timeline.take(line));
        assert_eq!(timeline.began_ms, Some(2000.0));
        let whole = timeline.whole(|_| true);
        assert_eq!((whole.answers, whole.failed, whole.wrong), (2, 1, 1));
        assert_eq!(timeline.whole(|kind| kind == "hit").failed, 0);
        assert_eq!(timeline.trouble(), Some((1, 2)));
        assert_eq!(whole.quantile(0.99), Some(12.5));
    }

    #[test]
    fn quantiles_are_of_the_values() {
        let times = (1..=100).map(|time| time as f32).collect();
        let second = Second { times, ..Second::default() };
        assert_eq!(second.quantile(0.5), Some(50.0));
        assert_eq!(second.quantile(0.99), Some(99.0));
        assert_eq!(Second::default().quantile(0.5), None);
    }

    #[test]
    fn the_pipe_ends_with_its_last_line() {
        let path = std::env::temp_dir().join(format!("dipylon-pipe-{}", std::process::id()));
        let (first, heard) = channel();
        let pipe = Pipe::at(&path, first).unwrap();
        std::fs::write(&path, CSV).unwrap();
        heard.recv_timeout(Duration::from_secs(5)).unwrap();
        let timeline = pipe.finish().unwrap();
        assert_eq!(timeline.whole(|_| true).answers, 2);
        assert!(!path.exists());
    }
}
