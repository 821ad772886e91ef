//! `cargo xtask dashboards`: dashboards, rules and alerts against the catalogue and a real Prometheus.
//!
//! The checks are the suite `tests/dashboards`, so that they read the catalogue itself and no copy of it.

use std::path::Path;

use crate::needs::Machine;
use crate::report;
use crate::step::{Tally, cargo, run_with, step};

/// What the suite needs: Prometheus with promtool, Alertmanager with amtool, Redis as the lock service of a
/// gateway, MinIO as the store of another, what Grafana says of its dashboards, and a collector for the trace of
/// the docs.
const NEEDS: [&str; 6] = [
    "the prometheus program",
    "the alertmanager program",
    "the redis program",
    "minio",
    "the grafana-schema program",
    "the otelcol program",
];
/// What its slow test needs beside, in which each alert is seen.
const SLOW_NEEDS: [&str; 2] = ["toxiproxy", "small file systems"];

/// Runs the whole suite, its slow test only when that is asked for. Without one of its needs, what wants them is
/// skipped, loudly.
pub(crate) fn run(root: &Path, is_slow: bool) -> Tally {
    // Servers run for as long as it lives.
    let mut machine = Machine::new(false);
    let slow_needs = if is_slow { &SLOW_NEEDS[..] } else { &[] };
    let found = step("programs and servers", || {
        let mut needs = NEEDS.iter().chain(slow_needs);
        needs.try_for_each(|words| machine.have(root, words).map_err(|why| why.to_string()))?;
        machine.environment()
    });
    let mut args = vec!["test", "--package", "dipylon", "--test", "dashboards"];
    if found.is_ok() {
        args.extend(["--", "--include-ignored"]);
        if !is_slow {
            println!("left out by choice: what is slow; `cargo xtask dashboards --slow` runs it");
            args.extend(["--skip", "slow_"]);
        }
    }
    let env = found.as_deref().unwrap_or_default();
    let ended = step("dashboards", || run_with(root, &cargo(), &args, env));
    let mut tally = report::sum(&ended.lines);
    if !ended.good && tally.failed == 0 {
        tally.failed = 1;
    }
    if let Err(why) = found {
        let left_out = report::ignored(&ended.lines).len();
        println!("SKIPPED {left_out} tests: {why}");
        tally = tally.missing(left_out);
    }
    tally
}

/// The pictures of the docs: what a live run needs to give a trace.
const LIVE_NEEDS: [&str; 2] = ["the otelcol program", "the redis program"];
/// Where the suite draws, and where it fetches spans.
const DRAWN: &str = "pictures::the_pictures_in_the_docs";
const FETCHED: &str = "pictures::live::a_cold_zip";

/// Draws `docs/pictures` anew: from the dashboards, and from the trace in the repository or one of a live run.
pub(crate) fn pictures(root: &Path, is_live: bool) -> bool {
    let mut machine = Machine::new(false);
    let ready = || {
        LIVE_NEEDS
            .iter()
            .try_for_each(|words| machine.have(root, words).map_err(|why| why.to_string()))
    };
    if let Some(Err(why)) = is_live.then(ready) {
        eprintln!("xtask: no live run: {why}");
        return false;
    }
    let env = [("DIPYLON_BLESS".to_owned(), "1".to_owned())];
    let draw = |name: &str, more: &[&str]| {
        let args = ["test", "--package", "dipylon", "--test", "dashboards", "--"];
        let args = [&args[..], more, &[name]].concat();
        let ended = step(name, || run_with(root, &cargo(), &args, &env));
        // A name that no test has any more would be content with nothing.
        ended.good && report::sum(&ended.lines).passed == 1
    };
    (!is_live || draw(FETCHED, &["--ignored"])) && draw(DRAWN, &[])
}
