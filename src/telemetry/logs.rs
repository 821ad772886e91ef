//! Log events as lines, in Athens's three forms.

use std::io::Write as _;

use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

pub use super::lines::Form;
use super::lines::Line;

/// Sends every event of ours at `level` or louder, and warnings of libraries, to standard output.
///
/// # Errors
/// When a subscriber is installed already.
pub fn init(form: Form, level: LevelFilter) -> Result<(), TryInitError> {
    let ours = Targets::new()
        .with_default(LevelFilter::WARN.min(level))
        .with_target("dipylon", level)
        .with_target("dipylon_middleware", level);
    tracing_subscriber::registry().with(Lines { form }.with_filter(ours)).try_init()
}

struct Lines {
    form: Form,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let line = Line::of(event).render(self.form, time::OffsetDateTime::now_utc());
        // One write per line keeps lines whole; a closed standard output is nobody's to mend here.
        let _ = std::io::stdout().lock().write_all(line.as_bytes());
    }
}
