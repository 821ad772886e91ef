//! `cargo xtask test`: the plain run, then the ignored tests whose needs this machine meets.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::needs::{LeftOut, Machine};
use crate::report::{self, Ignored};
use crate::step::{Ended, Tally, cargo, run_with as run_command, step};

/// Tests of the suite `gateway` that `--slow` runs once more, or only then, in a build with optimisation: parts of
/// their names.
const OPTIMISED: [&str; 2] = ["sixty_clients", "endurance::"];

/// How much of the tests to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Breadth {
    /// Only what needs nothing outside Rust.
    Fast,
    /// Everything but the slow.
    Usual,
    /// Everything.
    Slow,
}

/// Runs the suites, of one package or of all, and sums up.
/// A run that fails without naming a failed test counts as one failure.
pub(crate) fn run(root: &Path, breadth: Breadth, package: Option<&str>) -> Tally {
    let scope = package.map_or(vec!["--workspace"], |package| vec!["-p", package]);
    let scoped = format!("cargo test {}", scope.join(" "));
    let plain = step(&scoped, || cargo_test(root, &scope, &[], &[]));
    let mut tally = counted(&plain);
    // The servers that it starts run until it is dropped, however this function ends.
    let mut machine = Machine::new(breadth == Breadth::Slow);
    let (children, mut ignored): (Vec<_>, Vec<_>) =
        report::ignored(&plain.lines).into_iter().partition(|test| test.parent().is_some());
    if breadth == Breadth::Slow {
        ignored.retain(|test| !is_optimised(&test.name));
    }
    tally.failed += orphans(&plain.lines, &children);
    let (chosen, left_out) =
        step("programs and servers", || choose(root, breadth, ignored, &mut machine));
    announce(&left_out);
    for (why, names) in &left_out {
        match why {
            LeftOut::ByChoice(_) => tally.skipped += names.len(),
            LeftOut::Missing(_) => tally = tally.missing(names.len()),
        }
    }
    if chosen.is_empty() {
        return tally;
    }
    // Exact names: a filter by part of a name would take slow tests along.
    let mut args = vec!["--ignored", "--exact"];
    args.extend(chosen.iter().map(String::as_str));
    let name = format!("{scoped} -- --ignored ({} tests)", chosen.len());
    let env = match machine.environment() {
        Ok(env) => env,
        Err(why) => {
            println!("FAILED: {why}");
            tally.failed += 1;
            return tally;
        }
    };
    if breadth == Breadth::Slow {
        tally = tally + counted(&step("bounds on memory, optimised", || optimised(root)));
        tally = tally + counted(&step("the heap's profile, with jemalloc", || jemalloc(root)));
    }
    let ignored = step(&name, || cargo_test(root, &scope, &args, &env));
    let ran = counted(&ignored);
    tally.passed += ran.passed;
    tally.failed += ran.failed;
    if ran.passed + ran.failed < chosen.len() && ran.failed == 0 {
        println!("FAILED: {} tests were chosen, {} ran", chosen.len(), ran.passed);
        tally.failed += 1;
    }
    tally
}

fn cargo_test(root: &Path, scope: &[&str], args: &[&str], env: &[(String, String)]) -> Ended {
    let mut all = vec!["test", "--no-fail-fast"];
    all.extend(scope);
    if !args.is_empty() {
        // Doc tests know no exact names: only unit and integration tests are asked.
        all.extend(["--tests", "--"]);
        all.extend(args);
    }
    run_command(root, &cargo(), &all, env)
}

/// What bounds the program as it is shipped: a build without optimisation moves too few bytes for it. One after the
/// other, because each has the machine at its limit.
fn optimised(root: &Path) -> Ended {
    let build = ["test", "--release", "--package", "dipylon", "--test", "gateway", "--"];
    let chosen = ["--include-ignored", "--test-threads", "1", "--nocapture"];
    let args = [&build[..], &chosen, &OPTIMISED].concat();
    run_command(root, &cargo(), &args, &[])
}

/// The allocator is chosen when the program is built, so this one is a program of its own.
fn jemalloc(root: &Path) -> Ended {
    let args = ["test", "--package", "dipylon", "--features", "jemalloc", "--test", "heap_profile"];
    run_command(root, &cargo(), &args, &[])
}

/// Whether `--slow` runs this test in a build with optimisation.
fn is_optimised(name: &str) -> bool {
    OPTIMISED.iter().any(|part| name.contains(part))
}

fn counted(ended: &Ended) -> Tally {
    let mut tally = report::sum(&ended.lines);
    if !ended.good && tally.failed == 0 {
        tally.failed = 1;
    }
    tally
}

/// A child test is part of the test that its reason names, which must exist.
fn orphans(lines: &[String], children: &[Ignored]) -> usize {
    let mut orphans = 0;
    for child in children {
        let Some(parent) = child.parent() else { continue };
        if !report::names(lines).any(|name| name.rsplit("::").next() == Some(parent)) {
            println!("FAILED {}: it is run by {parent}, and there is no such test", child.name);
            orphans += 1;
        }
    }
    orphans
}

/// Splits the ignored tests into names to run and, by reason, names left out.
fn choose(
    root: &Path,
    breadth: Breadth,
    ignored: Vec<Ignored>,
    machine: &mut Machine,
) -> (BTreeSet<String>, BTreeMap<LeftOut, Vec<String>>) {
    let mut chosen = BTreeSet::new();
    let mut left_out: BTreeMap<LeftOut, Vec<String>> = BTreeMap::new();
    for test in ignored {
        let verdict = match breadth {
            Breadth::Fast => {
                Err(LeftOut::ByChoice(format!("--fast leaves out what {}", test.reason)))
            }
            Breadth::Usual if test.is_slow() => {
                Err(LeftOut::ByChoice("slow: run with --slow".to_owned()))
            }
            // A slow test may need nothing but patience.
            Breadth::Slow if test.is_slow() && !test.reason.starts_with("needs ") => Ok(()),
            Breadth::Usual | Breadth::Slow => machine.meets(root, &test),
        };
        match verdict {
            Ok(()) => {
                chosen.insert(test.name);
            }
            Err(why) => left_out.entry(why).or_default().push(test.name),
        }
    }
    (chosen, left_out)
}

fn announce(left_out: &BTreeMap<LeftOut, Vec<String>>) {
    for (why, names) in left_out {
        println!("SKIPPED {} tests: {why}", names.len());
        for name in names {
            println!("    SKIPPED {name}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(name: &str, reason: &str) -> Ignored {
        Ignored { name: name.to_owned(), reason: reason.to_owned() }
    }

    fn choose_here(
        breadth: Breadth,
        all: Vec<Ignored>,
    ) -> (BTreeSet<String>, BTreeMap<LeftOut, Vec<String>>) {
        choose(Path::new("."), breadth, all, &mut Machine::default())
    }

    #[test]
    fn fast_runs_no_ignored_test_and_names_each() {
        let all = vec![test("a", "needs git: x"), test("slow_b", "slow")];
        let (chosen, left_out) = choose_here(Breadth::Fast, all);
        assert!(chosen.is_empty());
        assert_eq!(left_out.values().map(Vec::len).sum::<usize>(), 2);
    }

    #[test]
    fn slow_tests_run_only_when_asked() {
        let all = vec![test("m::slow_flood", "slow")];
        assert!(choose_here(Breadth::Usual, all.clone()).0.is_empty());
        assert!(choose_here(Breadth::Slow, all).0.contains("m::slow_flood"));
    }

    #[test]
    fn a_child_is_run_by_a_test_that_exists() {
        let lines = ["test a::parent ... ok".to_owned()];
        assert_eq!(orphans(&lines, &[test("a::child", "run by parent")]), 0);
        assert_eq!(orphans(&lines, &[test("a::child", "run by nobody")]), 1);
    }

    #[test]
    fn a_run_that_breaks_before_its_tests_is_a_failure() {
        let ended = Ended { good: false, lines: vec!["error: could not compile".to_owned()] };
        assert_eq!(counted(&ended).failed, 1);
    }
}
