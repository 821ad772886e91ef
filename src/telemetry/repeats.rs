//! Which log lines are left out because the same was said too often a moment ago. Pure: the caller brings the time.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// Lines of one place in the program that are written within [`WINDOW`]; the others are counted.
pub(super) const LINES_PER_WINDOW: u32 = 20;

/// The time that [`LINES_PER_WINDOW`] is for.
pub(super) const WINDOW: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Window {
    began: Duration,
    written: u32,
    left_out: u64,
}

/// What was said by each place: as many as there are in the program that log.
#[derive(Debug)]
pub(super) struct Repeats<Place>(HashMap<Place, Window>);

impl<Place> Default for Repeats<Place> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<Place: Eq + Hash> Repeats<Place> {
    /// Whether a line may be written at `now`, and how many of its place were left out since the last one.
    pub(super) fn admit(&mut self, place: Place, now: Duration) -> Option<u64> {
        let fresh = || Window { began: now, written: 0, left_out: 0 };
        let window = self.0.entry(place).or_insert_with(fresh);
        if now.saturating_sub(window.began) >= WINDOW {
            (window.began, window.written) = (now, 0);
        }
        if window.written >= LINES_PER_WINDOW {
            window.left_out += 1;
            return None;
        }
        window.written += 1;
        Some(std::mem::take(&mut window.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn so_many_lines_of_a_place_are_written_in_a_window_and_the_next_says_how_many_were_not() {
        let mut repeats = Repeats::default();
        let mut admit = |place, seconds: u32| repeats.admit(place, seconds * SECOND);
        for _ in 0..LINES_PER_WINDOW {
            assert_eq!(admit("a", 5), Some(0));
        }
        for second in 5..15 {
            assert_eq!(admit("a", second), None);
        }
        assert_eq!(admit("b", 14), Some(0), "another place is another");
        assert_eq!(admit("a", 15), Some(10));
        assert_eq!(admit("a", 15), Some(0), "they are told once");
    }
}
