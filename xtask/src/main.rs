//! The project's own commands, run as `cargo xtask COMMAND`.
//!
//! - `test [--fast | --slow]` runs every suite and closes on `N passed, N failed, N skipped`.
//! - `lint` runs the formatter's check, clippy, the check of what we depend on and the tidy check.
//! - `limits` writes `docs/limits.md` anew, from the sources.
//! - `ci` is `lint`, `test`, `bench --once`, `compose`, `load --smoke`: what `.ci/run` calls.
//! - `dashboards [--slow]` holds dashboards and rules to the catalogue, to Grafana's schema and to a real
//!   Prometheus; slow, it sees each alert in Alertmanager.
//! - `pictures [--live]` draws the pictures of the docs.
//! - `compose` holds the compose file, the Dockerfile and the balancer to their own parsers.
//! - `load` drives gateways behind a balancer with k6, breaks things meanwhile, judges what comes back, and recommends.
//! - `bench` runs the benches, holds them to their budgets and keeps their numbers.
//! - `scaling` measures how what a request costs grows, and draws it.
//! - `compare` measures us beside nginx and other proxies, and a cold crawl of real modules.
//! - `stack` installs the servers that suites need, starts them and stops them.
//!
//! Only the standard library is used, so that the first command on a new machine builds in a second.

mod bench;
mod compare;
mod compose;
mod dashboards;
mod dependencies;
mod disk;
mod json;
mod layers;
mod limits;
mod lint;
mod load;
mod needs;
mod plot;
mod report;
mod scaling;
mod stack;
mod step;
mod suites;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bench::{Length, Set};
use suites::Breadth;

const USAGE: &str = "usage: cargo xtask COMMAND

  test            every suite: plain `cargo test`, then the ignored ones, with what they need
  test -p NAME    the same for one package
  test --fast     only what needs nothing outside Rust
  test --slow     also the tests whose name begins with slow_
  lint            cargo fmt --check, clippy, dependencies (bans, licences, duplicates, unused), tidy
  dashboards      dashboards, rules and alerts, against the catalogue, Grafana's schema and a real Prometheus
  dashboards --slow   the same, and each alert seen in Alertmanager by breaking what it watches; four minutes more
  pictures        draws docs/pictures anew: the layout of each dashboard, and a trace
  pictures --live the same, with the trace of a live run: two gateways, Redis, an OpenTelemetry collector
  limits          writes docs/limits.md anew: every bound, from the sources
  compose         docker-compose.yml, the Dockerfile and nginx.conf, by their own parsers
  load [SCENARIO...] [FLAGS]   k6 against gateways behind a balancer; --help lists scenarios and flags
  load --smoke    the usual scenarios, short, against the build that the tests use
  bench           what the program costs, against its budgets; writes its table in docs/performance.md
  bench --servers every kind of store and of lock on its server; ten minutes; writes a table of its own
  bench [--servers] --quick   the same, shorter, to see that all of them run; writes nothing
  bench --once    each bench once, in the build that the tests use: only whether it runs
  scaling         what a request costs by connections, versions, sizes, cores; draws it and writes its tables
  scaling --draw  the same, from what the latest run has measured
  compare [FLAGS] beside nginx, and a cold crawl of real modules; --help says how to name other proxies
  ci              lint, test, bench --once, compose, load --smoke
  stack           list the programs and servers that suites need; `test` gets and starts them by itself
  stack NAME...   install these programs into a cache folder that all clones share
  stack up [NAME...]   start servers on free loopback ports; prints the environment: eval \"$(...)\"
  stack down      stop what `up` started
  stack status    name, pid, memory and port of each process
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let root = workspace_root();
    let tally = match words.as_slice() {
        ["test"] => suites::run(&root, Breadth::Usual, None),
        ["test", "--fast"] => suites::run(&root, Breadth::Fast, None),
        ["test", "--slow"] => suites::run(&root, Breadth::Slow, None),
        ["test", "-p", package] => suites::run(&root, Breadth::Usual, Some(package)),
        ["lint"] => return exit(lint::run(&root) == 0),
        ["limits"] => return exit(said(&limits::write(&root))),
        ["dashboards"] => dashboards::run(&root, false),
        ["dashboards", "--slow"] => dashboards::run(&root, true),
        ["pictures"] => return exit(dashboards::pictures(&root, false)),
        ["pictures", "--live"] => return exit(dashboards::pictures(&root, true)),
        ["bench"] => bench::run(&root, Set::Program, Length::Full),
        ["bench", "--servers"] => bench::run(&root, Set::Servers, Length::Full),
        ["bench", "--servers", "--quick"] => bench::run(&root, Set::Servers, Length::Quick),
        ["bench", "--quick"] => bench::run(&root, Set::Program, Length::Quick),
        ["bench", "--once"] => bench::once(&root),
        ["scaling"] => scaling::run(&root),
        ["scaling", "--draw"] => scaling::draw(&root),
        ["compose"] => compose::run(&root),
        ["ci"] => return exit(ci(&root)),
        ["load", words @ ..] => {
            let kept = load::command(&root, words);
            return exit(said(&kept) && kept == Ok(true));
        }
        ["compare", words @ ..] => {
            let kept = compare::command(&root, words);
            return exit(said(&kept) && kept == Ok(true));
        }
        ["stack", words @ ..] => return exit(said(&stack::command(&root, words))),
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("xtask: no such command: {}\n{USAGE}", words.join(" "));
            return ExitCode::from(2);
        }
    };
    println!("{tally}");
    // The one suite that `dashboards` is says nothing when what it needs is missing.
    exit(tally.failed == 0 && (words[0] != "dashboards" || tally.missing == 0))
}

/// Lint first, since it is the cheaper; the tests run all the same, so that one look shows everything.
/// A suite for which this machine lacks something has proven nothing: then the run is not good.
fn ci(root: &Path) -> bool {
    // On a new machine this takes as long as the compiler does, which leaves a core idle now and then. Nobody
    // waits for its end: who needs a program waits for that one.
    std::thread::spawn(stack::install_usual);
    let broken = lint::run(root);
    let mut tally = suites::run(root, Breadth::Usual, None);
    tally.failed += broken;
    tally = tally + bench::once(root) + compose::run(root) + load::smoke(root);
    step::print_times();
    println!("{tally}");
    if tally.missing > 0 {
        println!("FAILED: {} were skipped for want of what is MISSING above", tally.missing);
    }
    tally.failed == 0 && tally.missing == 0
}

fn said<T>(result: &Result<T, String>) -> bool {
    if let Err(why) = result {
        eprintln!("xtask: {why}");
    }
    result.is_ok()
}

fn exit(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The folder above this package: the commands work from any directory and in any clone.
fn workspace_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or_else(|| here.to_path_buf(), Path::to_path_buf)
}
