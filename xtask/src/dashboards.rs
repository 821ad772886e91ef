//! `cargo xtask dashboards`: dashboards, rules and alerts against the catalogue and a real Prometheus.
//!
//! The checks are the suite `tests/dashboards`, so that they read the catalogue itself and no copy of it.

use std::path::Path;

use crate::report;
use crate::step::{Tally, ask, cargo, run as run_command, step};

/// What the suite runs; Debian's package `prometheus` has both.
const PROGRAMS: &[&str] = &["prometheus", "promtool"];

/// Runs the whole suite. Without Prometheus, what needs it is skipped, loudly.
pub(crate) fn run(root: &Path) -> Tally {
    let has = |name: &&&str| ask(root, name, &["--version"]).is_some();
    let missing: Vec<&str> = PROGRAMS.iter().filter(|name| !has(name)).copied().collect();
    let mut args = vec!["test", "--package", "dipylon", "--test", "dashboards"];
    if missing.is_empty() {
        args.extend(["--", "--include-ignored"]);
    }
    let ended = step("dashboards", || run_command(root, &cargo(), &args));
    let mut tally = report::sum(&ended.lines);
    if !ended.good && tally.failed == 0 {
        tally.failed = 1;
    }
    if !missing.is_empty() {
        let left_out = report::ignored(&ended.lines).len();
        let programs = missing.join(" and ");
        println!("SKIPPED {left_out} tests: no {programs} (Debian: apt-get install prometheus)");
        tally.skipped += left_out;
    }
    tally
}
