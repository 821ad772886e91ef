//! Log events, as a test reads them.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::telemetry::request_line;
use crate::telemetry::{RequestLine, RequestLog};
use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

/// One event.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) level: Level,
    pub(crate) fields: BTreeMap<&'static str, String>,
}

impl Seen {
    /// A field's text, or nothing.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

/// The events of this thread since the capture began.
#[derive(Clone, Default)]
pub(crate) struct Events(Arc<Mutex<Vec<Seen>>>);

impl Events {
    /// Captures this thread's events until the guard goes.
    pub(crate) fn capture() -> (Self, DefaultGuard) {
        let events = Self::default();
        let subscriber = tracing_subscriber::registry().with(events.clone());
        (events, tracing::subscriber::set_default(subscriber))
    }

    /// Events with this message.
    pub(crate) fn named(&self, message: &str) -> Vec<Seen> {
        let events = self.0.lock();
        events.iter().filter(|event| event.field("message") == message).cloned().collect()
    }
}

impl RequestLog for Events {
    fn write(&self, line: &RequestLine<'_>) {
        let mut fields = Fields::default();
        fields.0.insert("message", RequestLine::MESSAGE.to_owned());
        line.say(&mut fields);
        let level = line.level();
        self.0.lock().push(Seen { level, fields: fields.0 });
    }
}

impl<S: Subscriber> Layer<S> for Events {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.0.lock().push(Seen { level: *event.metadata().level(), fields: fields.0 });
    }
}

#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl request_line::Fields for Fields {
    fn text(&mut self, name: &'static str, value: &str) {
        self.0.insert(name, value.to_owned());
    }

    fn word(&mut self, name: &'static str, value: &str) {
        let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\');
        assert!(value.chars().all(is_plain), "{name} is no word: {value:?}");
        self.text(name, value);
    }

    fn number(&mut self, name: &'static str, value: u64) {
        self.0.insert(name, value.to_string());
    }

    fn milliseconds(&mut self, name: &'static str, value: Duration) {
        self.0.insert(name, (value.as_nanos() as f64 / 1e6).to_string());
    }

    fn flag(&mut self, name: &'static str, value: bool) {
        self.0.insert(name, value.to_string());
    }

    fn address(&mut self, name: &'static str, value: IpAddr) {
        self.0.insert(name, value.to_string());
    }
}
