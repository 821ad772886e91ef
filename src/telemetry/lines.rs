//! One event as one line. Pure: the caller brings the time.
//!
//! Each value is written once, as it will stand in the line: a request costs one line, and most of what a line costs
//! would be copies.

use std::fmt::{self, Write as _};
use std::ops::Range;

use time::OffsetDateTime;
use time::macros::format_description;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

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

/// Room for the fields of a request's event, and for their values.
const FIELDS_EXPECTED: usize = 24;
const BYTES_EXPECTED: usize = 512;

/// What an event says.
#[derive(Debug)]
pub(super) struct Line {
    form: Form,
    level: Level,
    /// The values, one after the other, as they are to be written.
    values: String,
    message: Range<usize>,
    fields: Vec<(&'static str, Range<usize>)>,
}

impl Line {
    pub(super) fn of(event: &Event<'_>, form: Form) -> Self {
        let mut line = Self::new(form, *event.metadata().level());
        event.record(&mut line);
        line
    }

    fn new(form: Form, level: Level) -> Self {
        let values = String::with_capacity(BYTES_EXPECTED);
        let fields = Vec::with_capacity(FIELDS_EXPECTED);
        Self { form, level, values, message: 0..0, fields }
    }

    /// Says in which trace it was said, where the event has not said it itself.
    pub(super) fn add_trace(&mut self, trace: &dyn fmt::Display) {
        if self.fields.iter().all(|(known, _)| *known != "trace_id") {
            self.text("trace_id", format_args!("{trace}"));
        }
    }

    /// Says how many like it were left out before.
    pub(super) fn add_left_out(&mut self, count: u64) {
        self.bare("left_out", format_args!("{count}"));
    }

    pub(super) fn render(mut self, now: OffsetDateTime) -> String {
        self.fields.sort_unstable_by_key(|(name, _)| *name);
        match self.form {
            Form::Plain => self.plain(now),
            Form::Json => self.object(now, ["time", "level", "msg"]),
            Form::Gcp => self.object(now, ["timestamp", "severity", "message"]),
        }
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

    fn plain(&self, now: OffsetDateTime) -> String {
        let format = format_description!("[hour repr:12 padding:none]:[minute][period]");
        let clock = now.format(format).unwrap_or_default();
        let message = &self.values[self.message.clone()];
        let mut text = format!("{}[{clock}]: {message}\t", self.level());
        for (name, value) in &self.fields {
            text.extend([*name, "=", &self.values[value.clone()], " "]);
        }
        text.push('\n');
        text
    }

    fn object(&self, now: OffsetDateTime, [time, level, message]: [&str; 3]) -> String {
        let stamp = now.format(&time::format_description::well_known::Rfc3339).unwrap_or_default();
        let mut text = String::with_capacity(self.values.len() + BYTES_EXPECTED);
        let said = match &self.values[self.message.clone()] {
            "" => "\"\"",
            said => said,
        };
        text.extend(["{\"", time, "\":\"", &stamp, "\",\"", level, "\":\"", self.level()]);
        text.extend(["\",\"", message, "\":", said]);
        for (name, value) in &self.fields {
            text.push_str(",\"");
            text.extend(name.chars().map(|c| if c == '_' { '-' } else { c }));
            text.extend(["\":", &self.values[value.clone()]]);
        }
        text.push_str("}\n");
        text
    }

    /// A value that is a text: of one line, or between quotes.
    fn text(&mut self, name: &'static str, value: fmt::Arguments<'_>) {
        let begin = self.values.len();
        // Writing to a String fails only where a value's own Display does.
        let _ = match self.form {
            Form::Plain => OneLine(&mut self.values).write_fmt(value),
            Form::Json | Form::Gcp => {
                self.values.push('"');
                let written = Escaped(&mut self.values).write_fmt(value);
                self.values.push('"');
                written
            }
        };
        self.took(name, begin);
    }

    /// A value that is written as it is: a number, or yes or no.
    fn bare(&mut self, name: &'static str, value: fmt::Arguments<'_>) {
        let begin = self.values.len();
        let _ = self.values.write_fmt(value);
        self.took(name, begin);
    }

    fn took(&mut self, name: &'static str, begin: usize) {
        let value = begin..self.values.len();
        match name {
            "message" => self.message = value,
            name => self.fields.push((name, value)),
        }
    }
}

/// A line break inside a value would let a client forge log lines.
struct OneLine<'a>(&'a mut String);

impl fmt::Write for OneLine<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend(text.chars().map(|c| if c.is_control() { ' ' } else { c }));
        Ok(())
    }
}

/// The inside of a JSON text.
struct Escaped<'a>(&'a mut String);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        let is_special = |byte: &u8| *byte < 0x20 || matches!(byte, b'"' | b'\\');
        while let Some(at) = rest.as_bytes().iter().position(is_special) {
            self.0.push_str(&rest[..at]);
            match rest.as_bytes()[at] {
                b'"' => self.0.push_str("\\\""),
                b'\\' => self.0.push_str("\\\\"),
                b'\n' => self.0.push_str("\\n"),
                control => write!(self.0, "\\u{control:04x}")?,
            }
            // What was escaped is one byte of ASCII.
            rest = &rest[at + 1..];
        }
        self.0.push_str(rest);
        Ok(())
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field.name(), format_args!("{value:?}"));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field.name(), format_args!("{value}"));
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.bare(field.name(), format_args!("{value}"));
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.bare(field.name(), format_args!("{value}"));
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.bare(field.name(), format_args!("{value}"));
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        match value.is_finite() {
            true => self.bare(field.name(), format_args!("{value}")),
            // JSON has no word for the others.
            false => self.bare(field.name(), format_args!("null")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-01-02 15:04:05 UTC);

    fn line(form: Form) -> Line {
        let mut line = Line::new(form, Level::WARN);
        line.bare("http_status", format_args!("200"));
        line.text("message", format_args!("hello\nworld"));
        line.text("client", format_args!("a\nb"));
        line
    }

    fn parsed(line: Line) -> Value {
        serde_json::from_str(&line.render(NOW)).unwrap()
    }

    #[test]
    fn plain_is_athens_form_on_one_line() {
        let text = line(Form::Plain).render(NOW);
        assert_eq!(text, "WARNING[3:04PM]: hello world\tclient=a b http_status=200 \n");
    }

    #[test]
    fn json_has_athens_keys() {
        let value = parsed(line(Form::Json));
        assert_eq!(value["time"], "2026-01-02T15:04:05Z");
        assert_eq!((&value["level"], &value["msg"]), (&"WARNING".into(), &"hello\nworld".into()));
        assert_eq!((&value["http-status"], &value["client"]), (&200.into(), &"a\nb".into()));
    }

    #[test]
    fn gcp_has_its_own_keys() {
        let value = parsed(line(Form::Gcp));
        assert_eq!(value["severity"], "WARNING");
        assert_eq!(value["message"], "hello\nworld");
        assert!(value["timestamp"].is_string());
    }

    #[test]
    fn whatever_a_text_has_in_it_is_read_as_it_was_said() {
        let nasty = "\"quoted\" \\ back\\slash\t\r\n\u{1}\u{1f}\u{7f} ünïcode 🦀 {}";
        for pieces in [vec![nasty], nasty.split_inclusive(' ').collect()] {
            let mut line = Line::new(Form::Json, Level::INFO);
            let whole: String = pieces.concat();
            line.text("path", format_args!("{}{}", pieces[0], pieces[1..].concat()));
            assert_eq!(parsed(line)["path"], Value::from(whole));
        }
        let mut plain = Line::new(Form::Plain, Level::INFO);
        plain.text("path", format_args!("{nasty}"));
        let text = plain.render(NOW);
        assert_eq!(text.chars().filter(|c| c.is_control()).collect::<String>(), "\t\n", "{text:?}");
    }

    #[test]
    fn an_event_that_says_nothing_and_numbers_of_every_sort_are_json() {
        let mut line = Line::new(Form::Json, Level::INFO);
        line.bare("small", format_args!("{}", 1e-7_f64));
        line.bare("large", format_args!("{}", u64::MAX));
        line.text("trace_id", format_args!("its own"));
        line.add_trace(&"another");
        line.add_left_out(7);
        let value = parsed(line);
        assert_eq!((&value["msg"], &value["small"]), (&"".into(), &1e-7.into()));
        assert_eq!((&value["large"], &value["left-out"]), (&u64::MAX.into(), &7.into()));
        assert_eq!(value["trace-id"], "its own");
    }
}
