//! Where the time of one request went: the phases of `Server-Timing`.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::labels::{Label, label};

label! {
    /// A part of a request's time.
    Phase = "phase" {
        /// Waiting for a slot.
        Queue = "queue",
        /// Looking in storage.
        Lookup = "lookup",
        /// Waiting for a stash, one's own or another's, until its first byte.
        Stash = "stash",
    }
}

/// Nanoseconds per [`Phase`]; shared by all layers that handle one request.
#[derive(Debug, Default)]
pub struct Timings {
    nanoseconds: [AtomicU64; 3],
}

impl Timings {
    /// Adds the time since `start` to `phase`.
    pub fn add(&self, phase: Phase, start: Instant) {
        let nanoseconds = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds[phase.index()].fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// The header's value: each phase that took time, then the total, in milliseconds.
    pub fn server_timing(&self, total: Duration) -> String {
        let mut text = String::with_capacity(64);
        for phase in Phase::ALL {
            let nanoseconds = self.nanoseconds[phase.index()].load(Ordering::Relaxed);
            if nanoseconds > 0 {
                let _ = write!(text, "{phase};dur={:.3}, ", nanoseconds as f64 / 1e6);
            }
        }
        let _ = write!(text, "total;dur={:.3}", total.as_secs_f64() * 1e3);
        text
    }
}
