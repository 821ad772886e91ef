//! What must not become slower than it may be: ratios and differences within one run on one machine, and what
//! a request may pay for a server's answer.

use super::results::Results;

/// The most that is allowed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AtMost {
    /// So many times what this one takes.
    Times(f64, &'static str),
    /// So many microseconds more than this one.
    MicrosMore(f64, &'static str),
    /// So many microseconds.
    Micros(f64),
}

/// One budget: a bench, and what it may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    what: &'static str,
    group: &'static str,
    bench: &'static str,
    at_most: AtMost,
}

/// What became of a budget.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) what: &'static str,
    pub(crate) measured: String,
    pub(crate) at_most: String,
    /// `None` where a bench that it needs did not run.
    pub(crate) kept: Option<bool>,
}

/// The budgets that benches can hold. The others have tests of their own: see the page.
pub(crate) const BUDGETS: &[Budget] = &[
    Budget {
        what: "warm `.info`, CPU of the server, beside nginx",
        group: "served info",
        bench: "gateway",
        at_most: AtMost::Times(1.0, "nginx"),
    },
    Budget {
        what: "warm `.mod`, the same",
        group: "served mod",
        bench: "gateway",
        at_most: AtMost::Times(1.0, "nginx"),
    },
    Budget {
        what: "warm list, the same",
        group: "served list",
        bench: "gateway",
        at_most: AtMost::Times(1.0, "nginx"),
    },
    Budget {
        what: "warm zip of 18 kB, the same",
        group: "served zip of 18 kB",
        bench: "gateway",
        at_most: AtMost::Times(1.2, "nginx"),
    },
    Budget {
        what: "warm zip of 9 MB, the same (nginx with sendfile)",
        group: "served zip of 9 MB",
        bench: "gateway",
        at_most: AtMost::Times(1.5, "nginx"),
    },
    Budget {
        what: "module stack on a hit in the hot cache, observed, over a bare leaf",
        group: "module stack",
        bench: "hit in the hot cache",
        at_most: AtMost::MicrosMore(3.0, "bare leaf"),
    },
    Budget {
        what: "traces of one request in a hundred, warm `.info`",
        group: "served info",
        bench: "gateway",
        at_most: AtMost::Times(1.05, "gateway, untraced"),
    },
    Budget {
        what: "metrics, events and traces of one request in a hundred, warm `.info`",
        group: "served info",
        bench: "gateway",
        at_most: AtMost::Times(1.15, "gateway, silent"),
    },
    Budget {
        what: "what upstream does not have, such as a prefix that `go` tries, once known",
        group: "gateway in process",
        bench: "not found, remembered",
        at_most: AtMost::Micros(1_000.0),
    },
    Budget {
        what: "a hit while misses hang in all slots, p99 by the clock, beside hits alone",
        group: "hits beside misses that hang",
        bench: "p99 beside misses",
        at_most: AtMost::Times(1.2, "p99 alone"),
    },
];

/// What benches before real servers can hold: the lock's part of a miss.
pub(crate) const OF_SERVERS: &[Budget] = &[
    Budget {
        what: "lock acquired in redis, on a miss",
        group: "acquire on a miss",
        bench: "redis",
        at_most: AtMost::Micros(5_000.0),
    },
    Budget {
        what: "lock acquired in etcd, on a miss",
        group: "acquire on a miss",
        bench: "etcd",
        at_most: AtMost::Micros(5_000.0),
    },
    Budget {
        what: "the same, of three members",
        group: "acquire on a miss",
        bench: "etcd, three members",
        at_most: AtMost::Micros(5_000.0),
    },
];

impl Budget {
    /// Holds the median to it.
    pub(crate) fn judge(&self, results: &Results) -> Verdict {
        let of = |bench| results.nanos(self.group, bench);
        let nanos = of(self.bench);
        let (value, most, unit) = match self.at_most {
            AtMost::Times(most, base) => (nanos.zip(of(base)).map(|(a, b)| a / b), most, "×"),
            AtMost::MicrosMore(most, base) => {
                (nanos.zip(of(base)).map(|(a, b)| (a - b) / 1_000.0), most, "µs")
            }
            AtMost::Micros(most) => (nanos.map(|nanos| nanos / 1_000.0), most, "µs"),
        };
        let measured =
            value.map_or("not measured".to_owned(), |value| format!("{value:.2} {unit}"));
        let kept = value.map(|value| value <= most);
        Verdict { what: self.what, measured, at_most: format!("{most:.2} {unit}"), kept }
    }
}
