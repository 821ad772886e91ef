//! One event as one line. Pure: the caller brings the time.
//!
//! Each value is written once, as it will stand in the line, into memory that the next line uses again: a request costs
//! one line, and most of what a line costs would be copies, memory and general formatting.

use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use dipylon_middleware::telemetry::RequestLine;
use dipylon_middleware::telemetry::request_line::Fields;
use time::OffsetDateTime;
use time::macros::format_description;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use super::digits::{millionths, put_decimals, put_escaped, put_in_one_line, put_number};

/// The form of a log line (`LogFormat`, `CloudRuntime`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `INFO[3:04PM]: message` TAB `key=value` …
    Plain,
    /// `{"time":…,"level":…,"msg":…,…}`
    Json,
    /// `{"timestamp":…,"severity":…,"message":…,…}`
    Gcp,
}

/// What a line may keep of its memory for the next: more than that of a request.
const KEPT_BYTES: usize = 4096;

/// What an event says.
#[derive(Debug)]
pub(super) struct Line {
    form: Form,
    level: Level,
    /// The fields with their names, one after the other, as they are to be written.
    said: Vec<u8>,
    message: Vec<u8>,
    /// Where in it each of them is.
    fields: Vec<Range<usize>>,
    /// Their names; of a line that says as many fields as the longest before it, or fewer, those of before beyond them.
    names: Vec<Name>,
    /// How many of them, from the first, stand in the order of the alphabet.
    sorted: usize,
    /// The whole, once it is rendered.
    text: Vec<u8>,
    /// The second that was written last, and how it is written.
    second: (i64, String),
}

/// A field's name, and how it is written. Most lines have the names of the line before, in the same places.
#[derive(Debug)]
struct Name {
    name: &'static str,
    form: Form,
    written: Vec<u8>,
}

impl Name {
    fn new(name: &'static str, form: Form) -> Self {
        let written = match form {
            Form::Plain => format!("{name}="),
            Form::Json | Form::Gcp => format!(",\"{}\":", name.replace('_', "-")),
        };
        Self { name, form, written: written.into_bytes() }
    }

    /// One text in the program has one place, nearly always.
    fn is(&self, name: &'static str, form: Form) -> bool {
        std::ptr::eq(self.name, name) && self.form == form
    }
}

impl Default for Line {
    fn default() -> Self {
        Self {
            form: Form::Plain,
            level: Level::INFO,
            said: Vec::new(),
            message: Vec::new(),
            fields: Vec::new(),
            names: Vec::new(),
            sorted: 0,
            text: Vec::new(),
            second: (0, String::new()),
        }
    }
}

impl Line {
    /// From here on it says what this event says, and nothing of before.
    pub(super) fn say(&mut self, event: &Event<'_>, form: Form) {
        self.begin(form, *event.metadata().level());
        event.record(self);
    }

    /// From here on it says what there is to say of this request, and nothing of before.
    pub(super) fn say_request(&mut self, request: &RequestLine<'_>, form: Form, level: Level) {
        self.begin(form, level);
        self.text("message", RequestLine::MESSAGE);
        request.say(self);
    }

    fn begin(&mut self, form: Form, level: Level) {
        (self.form, self.level) = (form, level);
        self.fields.clear();
        for bytes in [&mut self.said, &mut self.message, &mut self.text] {
            bytes.clear();
            bytes.shrink_to(KEPT_BYTES);
        }
    }

    /// Says in which trace it was said, where the event has not said it itself.
    pub(super) fn add_trace(&mut self, trace: &dyn fmt::Display) {
        let said = &self.names[..self.fields.len()];
        if said.iter().all(|known| known.name != "trace_id") {
            self.formatted("trace_id", format_args!("{trace}"));
        }
    }

    /// Says how many like it were left out before.
    pub(super) fn add_left_out(&mut self, count: u64) {
        self.number("left_out", count);
    }

    pub(super) fn render(&mut self, now: OffsetDateTime) -> &[u8] {
        match self.form {
            Form::Plain => self.plain(now),
            Form::Json => self.object(now, ["time", "level", "msg"]),
            Form::Gcp => self.object(now, ["timestamp", "severity", "message"]),
        }
        &self.text
    }

    fn level(&self) -> &'static str {
        match self.level {
            Level::ERROR => "ERROR",
            Level::WARN => "WARNING",
            Level::INFO => "INFO",
            Level::DEBUG => "DEBUG",
            Level::TRACE => "TRACE",
        }
    }

    fn plain(&mut self, now: OffsetDateTime) {
        let format = format_description!("[hour repr:12 padding:none]:[minute][period]");
        let clock = now.format(format).unwrap_or_default();
        let level = self.level();
        for piece in [level, "[", &clock, "]: "] {
            self.text.extend_from_slice(piece.as_bytes());
        }
        self.text.extend_from_slice(&self.message);
        self.text.push(b'\t');
        self.put_fields();
        self.text.push(b'\n');
    }

    fn object(&mut self, now: OffsetDateTime, [time, level, message]: [&str; 3]) {
        self.find_second(now);
        let said_level = self.level();
        let text = &mut self.text;
        for piece in ["{\"", time, "\":\"", &self.second.1] {
            text.extend_from_slice(piece.as_bytes());
        }
        put_decimals(text, u64::from(now.nanosecond()), 9);
        for piece in ["Z\",\"", level, "\":\"", said_level, "\",\"", message, "\":"] {
            text.extend_from_slice(piece.as_bytes());
        }
        match &self.message[..] {
            [] => text.extend_from_slice(b"\"\""),
            said => text.extend_from_slice(said),
        }
        self.put_fields();
        self.text.extend_from_slice(b"}\n");
    }

    fn put_fields(&mut self) {
        let names = &self.names[..self.fields.len()];
        // The event of a request says its fields in this order.
        if names.len() <= self.sorted {
            return self.text.extend_from_slice(&self.said);
        }
        let mut fields: Vec<_> = names.iter().map(|name| name.name).zip(&self.fields).collect();
        fields.sort_unstable_by_key(|(name, _)| *name);
        for (_, field) in fields {
            self.text.extend_from_slice(&self.said[field.clone()]);
        }
    }

    /// A second has many lines, and most of a time's text is that of its second.
    fn find_second(&mut self, now: OffsetDateTime) {
        let (second, text) = &mut self.second;
        if *second != now.unix_timestamp() || text.is_empty() {
            let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");
            *second = now.unix_timestamp();
            *text = now.format(format).unwrap_or_default();
        }
    }

    /// A text that has to be made: of one line, or between quotes.
    fn formatted(&mut self, name: &'static str, value: fmt::Arguments<'_>) {
        self.quoted(name, |line| {
            // Writing to memory fails only where a value's own Display does.
            let _ = Text { form: line.form, out: &mut line.said }.write_fmt(value);
        });
    }

    /// A text that is there.
    fn text(&mut self, name: &'static str, value: &str) {
        self.quoted(name, |line| put_text(line.form, &mut line.said, value));
    }

    fn quoted(&mut self, name: &'static str, put: impl FnOnce(&mut Self)) {
        let is_quoted = self.form != Form::Plain;
        self.field(name, |line| {
            if is_quoted {
                line.said.push(b'"');
            }
            put(line);
            if is_quoted {
                line.said.push(b'"');
            }
        });
    }

    /// A value that is written as it is: yes or no, or a number.
    fn bare(&mut self, name: &'static str, value: fmt::Arguments<'_>) {
        self.field(name, |line| {
            let _ = std::io::Write::write_fmt(&mut line.said, value);
        });
    }

    fn number(&mut self, name: &'static str, value: u64) {
        self.field(name, |line| put_number(&mut line.said, value));
    }

    fn real(&mut self, name: &'static str, value: f64) {
        match millionths(value) {
            Some(millionths) => self.field(name, |line| {
                put_number(&mut line.said, millionths / 1_000_000);
                put_decimals(&mut line.said, millionths % 1_000_000, 6);
            }),
            None if value.is_finite() => self.bare(name, format_args!("{value}")),
            // JSON has no word for the others.
            None => self.bare(name, format_args!("null")),
        }
    }

    fn field(&mut self, name: &'static str, put: impl FnOnce(&mut Self)) {
        let begin = self.said.len();
        if name == "message" {
            put(self);
            self.message.extend(self.said.drain(begin..));
            return;
        }
        let place = self.fields.len();
        if !self.names.get(place).is_some_and(|known| known.is(name, self.form)) {
            self.names.truncate(place);
            self.sorted = self.sorted.min(place);
            if self.sorted == place && self.names.last().is_none_or(|last| last.name <= name) {
                self.sorted += 1;
            }
            self.names.push(Name::new(name, self.form));
        }
        self.said.extend_from_slice(&self.names[place].written);
        put(self);
        if self.form == Form::Plain {
            self.said.push(b' ');
        }
        self.fields.push(begin..self.said.len());
    }
}

/// Where a text is written that comes in parts.
struct Text<'a> {
    form: Form,
    out: &'a mut Vec<u8>,
}

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        put_text(self.form, self.out, text);
        Ok(())
    }
}

fn put_text(form: Form, out: &mut Vec<u8>, text: &str) {
    match form {
        Form::Plain => put_in_one_line(out, text),
        Form::Json | Form::Gcp => put_escaped(out, text),
    }
}

impl Fields for Line {
    fn text(&mut self, name: &'static str, value: &str) {
        Line::text(self, name, value);
    }

    fn word(&mut self, name: &'static str, value: &str) {
        self.quoted(name, |line| line.said.extend_from_slice(value.as_bytes()));
    }

    fn number(&mut self, name: &'static str, value: u64) {
        Line::number(self, name, value);
    }

    fn milliseconds(&mut self, name: &'static str, value: Duration) {
        let nanoseconds = u64::try_from(value.as_nanos()).unwrap_or(u64::MAX);
        self.field(name, |line| {
            put_number(&mut line.said, nanoseconds / 1_000_000);
            put_decimals(&mut line.said, nanoseconds % 1_000_000, 6);
        });
    }

    fn flag(&mut self, name: &'static str, value: bool) {
        let word = if value { "true" } else { "false" };
        self.field(name, |line| line.said.extend_from_slice(word.as_bytes()));
    }

    fn address(&mut self, name: &'static str, value: IpAddr) {
        let IpAddr::V4(address) = value else {
            return self.formatted(name, format_args!("{value}"));
        };
        self.quoted(name, |line| {
            for (place, octet) in address.octets().into_iter().enumerate() {
                if place > 0 {
                    line.said.push(b'.');
                }
                put_number(&mut line.said, u64::from(octet));
            }
        });
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.formatted(field.name(), format_args!("{value:?}"));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field.name(), value);
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.number(field.name(), value);
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.bare(field.name(), format_args!("{value}"));
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.flag(field.name(), value);
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.real(field.name(), value);
    }
}

#[cfg(test)]
mod tests;
