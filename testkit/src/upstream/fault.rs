//! What can go wrong on the way, and for which requests.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

/// Keeps answers back until a test opens it. Clones are the same gate.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    /// Lets through what waits, and what will come.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    pub(crate) async fn pass(&self) {
        // The sender is ours, so the wait cannot fail.
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

/// One way to break an answer.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This status, content type and body.
    Status(u16, &'static str, Bytes),
    /// This status with `Retry-After` in seconds.
    RetryAfter(u16, u64),
    /// 200 with a login page: what a captive portal or a single sign-on answers.
    HtmlLogin,
    /// Nothing is ever sent.
    HangBeforeHeaders,
    /// The headers and so many bytes of the body, then silence.
    StallAfter(usize),
    /// The headers with the full Content-Length and so many bytes of the body, then an orderly end
    /// of the connection.
    TruncateAt(usize),
    /// So many bytes each tick.
    Trickle {
        /// Bytes sent at once.
        bytes_per_tick: usize,
        /// The pause after each.
        tick: Duration,
    },
    /// The answer is late by so much, else right.
    Delay(Duration),
    /// The answer is right, and comes when the gate has been opened.
    Gate(Gate),
    /// The right body without Content-Length (chunked in HTTP/1).
    NoContentLength,
    /// The right body compressed, with `Content-Encoding: gzip`.
    Gzip,
    /// A reset of the connection in place of an answer.
    Reset,
    /// This status and `Location`.
    Redirect(u16, String),
    /// The right file of the wrong version, v9.9.9.
    WrongVersion,
    /// The right version with other content, sound and of the same length: [`FakeModule::altered`].
    ///
    /// [`FakeModule::altered`]: crate::module::FakeModule::altered
    OtherContent,
    /// 200 with these bytes and the content type that belongs to the path.
    Body(Bytes),
}

/// The requests that a rule is for, by decoded path (`!` in place of `%21`), and how often.
#[derive(Clone)]
pub struct When {
    matches: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    left: Option<usize>,
}

impl When {
    /// Every request.
    pub fn any() -> Self {
        Self::matching(|_| true)
    }

    /// Exactly this path, e.g. `/example.com/a/@v/v1.0.0.zip`.
    pub fn path(path: &str) -> Self {
        let path = path.to_owned();
        Self::matching(move |asked| asked == path)
    }

    /// Every path that begins so.
    pub fn prefix(prefix: &str) -> Self {
        let prefix = prefix.to_owned();
        Self::matching(move |asked| asked.starts_with(&prefix))
    }

    /// Every path that ends so, e.g. `.zip`.
    pub fn suffix(suffix: &str) -> Self {
        let suffix = suffix.to_owned();
        Self::matching(move |asked| asked.ends_with(&suffix))
    }

    /// Every path that `matches` says yes to.
    pub fn matching(matches: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self { matches: Arc::new(matches), left: None }
    }

    /// Only the first `count` such requests; then the answers are right again.
    #[must_use]
    pub fn times(mut self, count: usize) -> Self {
        self.left = Some(count);
        self
    }

    /// Takes one use of the rule for `path`.
    fn take(&mut self, path: &str) -> bool {
        if self.left == Some(0) || !(self.matches)(path) {
            return false;
        }
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
        true
    }
}

impl From<&str> for When {
    fn from(path: &str) -> Self {
        Self::path(path)
    }
}

impl fmt::Debug for When {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("When").field("left", &self.left).finish_non_exhaustive()
    }
}

/// The rules in the order they were given: the first that still holds for a path decides.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    rules: Vec<(When, Fault)>,
}

impl Rules {
    pub(crate) fn add(&mut self, when: When, fault: Fault) {
        self.rules.push((when, fault));
    }

    pub(crate) fn clear(&mut self) {
        self.rules.clear();
    }

    pub(crate) fn take(&mut self, path: &str) -> Option<Fault> {
        let found = self
            .rules
            .iter_mut()
            .find_map(|(when, fault)| if when.take(path) { Some(fault.clone()) } else { None });
        self.rules.retain(|(when, _)| when.left != Some(0));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counted_rule_runs_out() {
        let mut rules = Rules::default();
        rules.add(When::suffix(".zip").times(2), Fault::Reset);
        assert!(rules.take("/a/@v/v1.0.0.mod").is_none());
        assert!(rules.take("/a/@v/v1.0.0.zip").is_some());
        assert!(rules.take("/a/@v/v1.0.0.zip").is_some());
        assert!(rules.take("/a/@v/v1.0.0.zip").is_none());
    }

    #[test]
    fn the_first_rule_that_holds_decides() {
        let mut rules = Rules::default();
        rules.add(When::path("/a").times(1), Fault::Reset);
        rules.add(When::any(), Fault::HtmlLogin);
        assert!(matches!(rules.take("/a"), Some(Fault::Reset)));
        assert!(matches!(rules.take("/a"), Some(Fault::HtmlLogin)));
    }
}
