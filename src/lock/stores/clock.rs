//! Fencing tokens: microseconds of this machine's clock, held to the store's.
//!
//! A store forgets a lock that was given back, and any counter with it. A token matters where a holder was
//! outwaited: then at least a lease has passed, which is more than the error of this clock, because it is
//! never further from the store's own, as its answers are dated, than [`SLACK`]. Nothing waits by this clock.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use http::header::{DATE, LAST_MODIFIED};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

/// Dates have whole seconds, and a question is given up after less than two more (`wire.rs`).
const SLACK: Duration = Duration::from_secs(3);

const MICROS_PER_SECOND: i128 = 1_000_000;

/// `Sun, 06 Nov 1994 08:49:37 GMT`
const HTTP_DATE: &[BorrowedFormatItem<'_>] = format_description!(
    "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
);

/// A clock that is held to the store's.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// What is added to this machine's, in microseconds; 0 as long as both agree.
    offset: AtomicI64,
    /// The last token: none is given twice.
    last: AtomicU64,
}

impl Clock {
    /// Compares with the date of an answer.
    pub(super) fn hear(&self, headers: &HeaderMap) {
        if let Some(date) = date(headers, DATE.as_str()) {
            self.compare(now_micros(), date);
        }
    }

    fn compare(&self, ours: i128, date: OffsetDateTime) {
        let theirs = i128::from(date.unix_timestamp()) * MICROS_PER_SECOND;
        let slack = i128::try_from(SLACK.as_micros()).unwrap_or(i128::MAX);
        let offset = if (ours - theirs).abs() <= slack { 0 } else { theirs - ours };
        self.offset.store(i64::try_from(offset).unwrap_or(0), Ordering::Relaxed);
    }

    /// A token that is greater than `after`, and than all that were given before.
    pub(super) fn token(&self, after: u64) -> u64 {
        let now = now_micros() + i128::from(self.offset.load(Ordering::Relaxed));
        let now = u64::try_from(now).unwrap_or_default().max(after.saturating_add(1));
        let given = self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
            Some(now.max(last.saturating_add(1)))
        });
        let last = given.unwrap_or_else(|last| last);
        now.max(last.saturating_add(1))
    }
}

/// How long ago an object was written, by the store's own clock alone.
pub(super) fn age(headers: &HeaderMap) -> Option<Duration> {
    let (now, written) = (date(headers, DATE.as_str())?, date(headers, LAST_MODIFIED.as_str())?);
    Duration::try_from(now - written).ok()
}

fn date(headers: &HeaderMap, name: &str) -> Option<OffsetDateTime> {
    let text = headers.get(name)?.to_str().ok()?;
    Some(time::PrimitiveDateTime::parse(text, HTTP_DATE).ok()?.assume_utc())
}

fn now_micros() -> i128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i128::try_from(since.as_micros()).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(date: &str, written: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(DATE, date.parse().unwrap());
        headers.insert(LAST_MODIFIED, written.parse().unwrap());
        headers
    }

    #[test]
    fn tokens_grow_and_are_greater_than_what_was_seen() {
        let clock = Clock::default();
        let first = clock.token(0);
        assert!(clock.token(0) > first);
        assert_eq!(clock.token(first + 10_000_000_000), first + 10_000_000_001);
        assert!(clock.token(0) > first + 10_000_000_001);
    }

    #[test]
    fn a_clock_that_is_wrong_is_held_to_the_stores() {
        let clock = Clock::default();
        let ours = now_micros();
        let theirs = OffsetDateTime::from_unix_timestamp(2_000_000_000).unwrap();
        clock.compare(ours, theirs);
        assert!(clock.token(0) >= 2_000_000_000_000_000);
        clock.compare(2_000_000_000_900_000, theirs);
        assert_eq!(clock.offset.load(Ordering::Relaxed), 0, "less than a second is no difference");
    }

    #[test]
    fn an_age_is_told_by_the_stores_clock_alone() {
        let headers = headers("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:48:07 GMT");
        assert_eq!(age(&headers), Some(Duration::from_secs(90)));
        assert_eq!(age(&HeaderMap::new()), None);
    }
}
