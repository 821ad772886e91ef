//! One event as one line. Pure: the caller brings the time.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value};
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

/// What an event says.
#[derive(Debug, Default)]
pub(super) struct Line {
    level: Option<Level>,
    message: String,
    fields: BTreeMap<&'static str, Value>,
}

impl Line {
    pub(super) fn of(event: &Event<'_>) -> Self {
        let mut line = Self { level: Some(*event.metadata().level()), ..Self::default() };
        event.record(&mut line);
        line
    }

    /// Says something more, where the event has not said it itself.
    pub(super) fn add_missing(&mut self, name: &'static str, value: impl Into<Value>) {
        self.fields.entry(name).or_insert_with(|| value.into());
    }

    pub(super) fn render(self, form: Form, now: OffsetDateTime) -> String {
        match form {
            Form::Plain => self.plain(now),
            Form::Json => self.object(now, ["time", "level", "msg"]),
            Form::Gcp => self.object(now, ["timestamp", "severity", "message"]),
        }
    }

    fn level(&self) -> &'static str {
        match self.level {
            Some(Level::ERROR) => "ERROR",
            Some(Level::WARN) => "WARNING",
            Some(Level::INFO) | None => "INFO",
            Some(Level::DEBUG) => "DEBUG",
            Some(Level::TRACE) => "TRACE",
        }
    }

    fn plain(self, now: OffsetDateTime) -> String {
        let format = format_description!("[hour repr:12 padding:none]:[minute][period]");
        let clock = now.format(format).unwrap_or_default();
        let mut text = format!("{}[{clock}]: {}\t", self.level(), one_line(&self.message));
        for (name, value) in &self.fields {
            let value = match value {
                Value::String(value) => one_line(value),
                other => other.to_string(),
            };
            let _ = write!(text, "{name}={value} ");
        }
        text.push('\n');
        text
    }

    fn object(self, now: OffsetDateTime, [time, level, message]: [&str; 3]) -> String {
        let stamp = now.format(&time::format_description::well_known::Rfc3339).unwrap_or_default();
        let mut object = Map::new();
        object.insert(time.to_owned(), stamp.into());
        object.insert(level.to_owned(), self.level().into());
        object.insert(message.to_owned(), self.message.into());
        for (name, value) in self.fields {
            object.insert(name.replace('_', "-"), value);
        }
        format!("{}\n", Value::Object(object))
    }

    fn take(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => drop(self.fields.insert(name, value)),
        }
    }
}

/// A line break inside a value would let a client forge log lines.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.take(field, format!("{value:?}").into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.take(field, value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.take(field, value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.take(field, value.into());
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.take(field, serde_json::Number::from_f64(value).map_or(Value::Null, Value::Number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-01-02 15:04:05 UTC);

    fn line() -> Line {
        Line {
            level: Some(Level::WARN),
            message: "hello\nworld".into(),
            fields: BTreeMap::from([("http_status", 200.into()), ("client", "a\nb".into())]),
        }
    }

    #[test]
    fn plain_is_athens_form_on_one_line() {
        let text = line().render(Form::Plain, NOW);
        assert_eq!(text, "WARNING[3:04PM]: hello world\tclient=a b http_status=200 \n");
    }

    #[test]
    fn json_has_athens_keys() {
        let text = line().render(Form::Json, NOW);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["time"], "2026-01-02T15:04:05Z");
        assert_eq!((&value["level"], &value["msg"]), (&"WARNING".into(), &"hello\nworld".into()));
        assert_eq!(value["http-status"], 200);
    }

    #[test]
    fn gcp_has_its_own_keys() {
        let value: Value = serde_json::from_str(&line().render(Form::Gcp, NOW)).unwrap();
        assert_eq!(value["severity"], "WARNING");
        assert_eq!(value["message"], "hello\nworld");
        assert!(value["timestamp"].is_string());
    }
}
