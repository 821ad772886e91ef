//! What must not become slower than it may be: ratios and differences within one run on one machine.

use super::results::Results;

/// The most that is allowed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AtMost {
    /// So many times what it is compared with.
    Times(f64),
    /// So many microseconds more.
    MicrosMore(f64),
}

/// One budget: a bench, and what it is compared with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    what: &'static str,
    group: &'static str,
    bench: &'static str,
    against: &'static str,
    at_most: AtMost,
}

/// What became of a budget.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) what: &'static str,
    pub(crate) measured: String,
    pub(crate) at_most: String,
    /// `None` where one of the two benches did not run.
    pub(crate) kept: Option<bool>,
}

/// The budgets that benches can hold. The others have tests of their own: see the page.
pub(crate) const BUDGETS: &[Budget] = &[
    Budget {
        what: "warm `.info`, CPU of the server, beside nginx",
        group: "served info",
        bench: "gateway",
        against: "nginx",
        at_most: AtMost::Times(1.0),
    },
    Budget {
        what: "warm `.mod`, the same",
        group: "served mod",
        bench: "gateway",
        against: "nginx",
        at_most: AtMost::Times(1.0),
    },
    Budget {
        what: "warm list, the same",
        group: "served list",
        bench: "gateway",
        against: "nginx",
        at_most: AtMost::Times(1.0),
    },
    Budget {
        what: "warm zip of 18 kB, the same",
        group: "served zip of 18 kB",
        bench: "gateway",
        against: "nginx",
        at_most: AtMost::Times(1.2),
    },
    Budget {
        what: "warm zip of 9 MB, the same (nginx with sendfile)",
        group: "served zip of 9 MB",
        bench: "gateway",
        against: "nginx",
        at_most: AtMost::Times(1.5),
    },
    Budget {
        what: "module stack on a hit in the hot cache, observed, over a bare leaf",
        group: "module stack",
        bench: "hit in the hot cache",
        against: "bare leaf",
        at_most: AtMost::MicrosMore(3.0),
    },
    Budget {
        what: "traces of one request in a hundred, warm `.info`",
        group: "served info",
        bench: "gateway",
        against: "gateway, untraced",
        at_most: AtMost::Times(1.05),
    },
];

impl Budget {
    /// Compares the two medians.
    pub(crate) fn judge(&self, results: &Results) -> Verdict {
        let of = |bench| results.nanos(self.group, bench);
        let (measured, kept) = match of(self.bench).zip(of(self.against)) {
            None => ("not measured".to_owned(), None),
            Some((nanos, base)) => match self.at_most {
                AtMost::Times(most) => {
                    (format!("{:.2} ×", nanos / base), Some(nanos / base <= most))
                }
                AtMost::MicrosMore(most) => {
                    let more = (nanos - base) / 1_000.0;
                    (format!("{more:.2} µs"), Some(more <= most))
                }
            },
        };
        let at_most = match self.at_most {
            AtMost::Times(most) => format!("{most:.2} ×"),
            AtMost::MicrosMore(most) => format!("{most:.2} µs"),
        };
        Verdict { what: self.what, measured, at_most, kept }
    }
}
