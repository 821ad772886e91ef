//! `cargo xtask bench`: runs the benches of a set and keeps their numbers, beside the budgets, in
//! `docs/performance.md`. A budget that is not kept is a failure; one that cannot be measured on this
//! machine is said to be so.

mod budgets;
mod page;
mod results;
mod set;
#[cfg(test)]
mod tests;

use std::path::Path;

use crate::needs::Machine;
use crate::step::{Ended, Tally, ask, cargo, run_with, step};
use budgets::Verdict;
pub(crate) use page::put;
use results::Results;
pub(crate) use set::Set;

/// The page with the tables.
pub(crate) const PAGE: &str = "docs/performance.md";
/// Where the harness leaves its estimates, below the folder of the build.
const HOME: &str = "target/bench-results";

/// How long each bench is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// Long enough for numbers to be kept.
    Full,
    /// Long enough to see that everything runs; the page stays as it is.
    Quick,
}

impl Length {
    fn args(self) -> [&'static str; 6] {
        let [warm_up, measured, samples] = match self {
            Self::Full => ["0.5", "2", "50"],
            Self::Quick => ["0.1", "0.3", "10"],
        };
        let names = ["--warm-up-time", "--measurement-time", "--sample-size"];
        [names[0], warm_up, names[1], measured, names[2], samples]
    }
}

/// Runs a set. Each budget counts as one test; of a quick run, each bench.
pub(crate) fn run(root: &Path, set: Set, length: Length) -> Tally {
    let (home, machine) = (root.join(HOME), machine(root));
    // Only what this run measures is written down.
    let _ = std::fs::remove_dir_all(&home);
    let mut args = vec!["bench"];
    args.extend(set::PACKAGES.iter().flat_map(|(package, _)| ["--package", package]));
    args.extend(set.benches().iter().flat_map(|bench| ["--bench", bench]));
    args.extend(["--", "--noplot"]);
    args.extend(length.args());
    let mut env = vec![("CRITERION_HOME".to_owned(), home.display().to_string())];
    // They run for as long as it lives.
    let mut needs = Machine::new(false);
    env.extend(servers(root, set, &mut needs));
    let ended = step("benches", || run_with(root, &cargo(), &args, &env));
    if !ended.good {
        return Tally { failed: 1, ..Tally::default() };
    }
    let results = match Results::read(&home) {
        Ok(results) => results,
        Err(why) => {
            println!("FAILED: {why}");
            return Tally { failed: 1, ..Tally::default() };
        }
    };
    let verdicts: Vec<Verdict> = set.budgets().iter().map(|one| one.judge(&results)).collect();
    let text = page::render(&results, &verdicts, &machine);
    println!("\n{text}");
    let mut tally = match length {
        Length::Full if !verdicts.is_empty() => {
            let judged = count(&verdicts);
            // A server that is missing may be no budget's.
            Tally { skipped: judged.skipped.max(left_out(&ended)), ..judged }
        }
        // So short a run can be held to no budget.
        _ => Tally { skipped: left_out(&ended), ..ran(results.0.len()) },
    };
    if tally.skipped > 0 {
        println!("{PAGE} stays as it is: not everything could be measured");
    } else if length == Length::Full
        && let Err(why) = keep(root, set, &text)
    {
        println!("{PAGE}: {why}");
        tally.failed += 1;
    }
    tally
}

/// Runs each bench once, without measuring: `cargo test` runs none, and a bench that panics shall not stay
/// green until somebody wants its numbers. With the features of all packages, so that what the tests have
/// built is used again.
pub(crate) fn once(root: &Path) -> Tally {
    let args = ["test", "--workspace", "--no-fail-fast", "--bench", "*"];
    let ended = step("benches, each once", || run_with(root, &cargo(), &args, &[]));
    counted(&ended)
}

/// The harness says `Success` after each bench; where one panics, those of its binary that come later are
/// not run.
fn counted(ended: &Ended) -> Tally {
    let passed = ended.lines.iter().filter(|line| line.trim() == "Success").count();
    let tally = Tally { skipped: left_out(ended), ..ran(passed) };
    Tally { failed: tally.failed.max(usize::from(!ended.good)), ..tally }
}

/// What a bench said it could not measure, for want of a server.
fn left_out(ended: &Ended) -> usize {
    ended.lines.iter().filter(|line| line.starts_with("LEFT OUT: ")).count()
}

/// Benches that were run; none at all is a failure.
fn ran(benches: usize) -> Tally {
    Tally { passed: benches, failed: usize::from(benches == 0), ..Tally::default() }
}

/// Where the servers of a set are. What cannot be had is said, and its benches are left out.
fn servers(root: &Path, set: Set, needs: &mut Machine) -> Vec<(String, String)> {
    for name in set.needs() {
        // The machine says what is missing.
        let _ = needs.have(root, name);
    }
    needs.environment().unwrap_or_else(|why| {
        println!("without servers: {why}");
        Vec::new()
    })
}

fn count(verdicts: &[Verdict]) -> Tally {
    let mut tally = Tally::default();
    for verdict in verdicts {
        match verdict.kept {
            Some(true) => tally.passed += 1,
            Some(false) => tally.failed += 1,
            None => tally.skipped += 1,
        }
    }
    tally
}

/// What the numbers depend on, in one line.
pub(crate) fn machine(root: &Path) -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let rust = ask(root, "rustc", &["--version"]).unwrap_or_default();
    let rust = rust.split(' ').nth(1).unwrap_or("unknown").to_owned();
    let date = ask(root, "date", &["-u", "+%Y-%m-%d"]).unwrap_or_default();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("unknown").to_owned();
    format!("{}: {model}, {cores} CPUs, Rust {rust}; load average {load} before.", date.trim())
}

/// Puts the text between the marks that the set has on the page.
fn keep(root: &Path, set: Set, text: &str) -> Result<(), String> {
    let path = root.join(PAGE);
    let page = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
    let page =
        put(&page, set.marks(), text).ok_or("it lacks the marks between which the table stands")?;
    std::fs::write(&path, page).map_err(|error| error.to_string())
}
