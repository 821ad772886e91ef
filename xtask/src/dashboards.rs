//! `cargo xtask dashboards`: dashboards, rules and alerts against the catalogue and a real Prometheus.
//!
//! The checks are the suite `tests/dashboards`, so that they read the catalogue itself and no copy of it.

use std::path::Path;

use crate::report;
use crate::stack;
use crate::step::{Tally, cargo, run as run_command, step};

/// What the suite runs: Prometheus with promtool, and Redis as the lock service of a gateway.
const PROGRAMS: [&str; 2] = ["prometheus", "redis"];

/// Runs the whole suite. Without one of the programs, what needs them is skipped, loudly.
pub(crate) fn run(root: &Path) -> Tally {
    let mut programs = PROGRAMS.iter().map(|name| stack::component(name).and_then(stack::ensure));
    let programs = programs.try_for_each(|found| found.map(drop));
    let mut args = vec!["test", "--package", "dipylon", "--test", "dashboards"];
    if programs.is_ok() {
        args.extend(["--", "--include-ignored"]);
    }
    let ended = step("dashboards", || run_command(root, &cargo(), &args));
    let mut tally = report::sum(&ended.lines);
    if !ended.good && tally.failed == 0 {
        tally.failed = 1;
    }
    if let Err(why) = programs {
        let left_out = report::ignored(&ended.lines).len();
        println!("SKIPPED {left_out} tests: {why}");
        tally = tally.missing(left_out);
    }
    tally
}
