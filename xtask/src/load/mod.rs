//! `cargo xtask load`: the scenarios of `loadtest/`, driven by k6 against gateways behind a balancer that share a
//! lock service and a store, with an upstream that counts, and what is recommended of them (`load tune`).
//!
//! - `options`, `scenarios` say what is to be run; `world`, `servers`, `proxies`, `graph` are what it meets.
//! - `generator` runs k6, `faults` breaks things meanwhile, `timeline` reads what clients saw.
//! - `objectives` and `verdict` judge, `report` and `document` write it down.
//!
//! Everything listens on loopback, on ports of the kernel's choice, and belongs to a stack of its own:
//! that ends with this process, however this process ends.

mod document;
mod faults;
mod figures;
mod generator;
mod graph;
mod http;
mod objectives;
mod options;
mod prometheus;
mod proxies;
mod report;
mod scenarios;
mod servers;
mod timeline;
mod tune;
mod verdict;
mod world;

use std::path::{Path, PathBuf};

use crate::json::quoted;
use crate::stack;
use crate::step::{Tally, step};

use generator::Generator;
use graph::Graph;
use options::Options;
use verdict::Verdict;
use world::{Programs, Setup, World};

/// Programs that must be there; without them there is no load test.
const PROGRAMS: &[&str] = &["k6", "redis", "minio", "toxiproxy", "nginx", "prometheus", "otelcol"];

/// Does what stands after `cargo xtask load`. `true`: every objective of every scenario was kept.
///
/// # Errors
/// One line: a wrong word, or what could not be started.
pub(crate) fn command(root: &Path, words: &[&str]) -> Result<bool, String> {
    if let ["--help" | "-h" | "help"] = words {
        print!("{}", options::help());
        return Ok(true);
    }
    if let ["tune", words @ ..] = words {
        return tune::command(root, words);
    }
    let options = Options::parse(words)?;
    Ok(load(root, &options)?.failed == 0)
}

/// The smoke test, as a step of CI: a scenario counts as a test.
pub(crate) fn smoke(root: &Path) -> Tally {
    step("load test (smoke)", || {
        let skipped = scenarios::USUAL.len();
        if let Err(why) = programs_are_there() {
            println!("SKIPPED {skipped} scenarios of the load test: {why}");
            return Tally::default().missing(skipped);
        }
        let run = Options::parse(&["--smoke"]).and_then(|options| load(root, &options));
        run.unwrap_or_else(|why| {
            println!("FAILED: {why}");
            Tally { failed: 1, ..Tally::default() }
        })
    })
}

fn programs_are_there() -> Result<PathBuf, String> {
    let found = PROGRAMS.iter().map(|name| stack::ensure(stack::component(name)?));
    let found: Vec<_> = found.collect::<Result<_, String>>()?;
    Ok(found[0].program.clone())
}

/// The folder of the results, without those of an earlier run.
fn results(root: &Path) -> Result<PathBuf, String> {
    let results = root.join("target/load");
    let told = |error: std::io::Error| format!("{}: {error}", results.display());
    if results.exists() {
        std::fs::remove_dir_all(&results).map_err(told)?;
    }
    std::fs::create_dir_all(&results).map_err(told)?;
    Ok(results)
}

/// Programs and modules, all that is had before anything is started.
fn generator(root: &Path, options: &Options) -> Result<Generator, String> {
    let k6 = programs_are_there()?;
    let objective = objectives::objective(root)?;
    let results = results(root)?;
    let graph = if options.real_modules { Some(Graph::download(root, &results)?) } else { None };
    Ok(Generator { k6, scripts: root.join("loadtest"), results, graph, objective })
}

fn load(root: &Path, options: &Options) -> Result<Tally, String> {
    let generator = generator(root, options)?;
    let programs = Programs::build(root, options.tests_build)?;
    let tree = generator.graph.as_ref().map(|graph| graph.tree.as_path());
    let mut world: Option<World> = None;
    let mut verdicts = Vec::new();
    for scenario in &options.scenarios {
        let setup = Setup::of(scenario, options);
        // What was broken is not loaded again, and a mixed day begins cold.
        let fits = world.take().filter(|world| world.setup == setup && options.smoke);
        let in_turn = match fits {
            Some(world) => world,
            None => World::start(root, &programs, &setup, options, tree)?,
        };
        let verdict = generator.run(&in_turn, scenario, options);
        let kept = in_turn.keep_logs(&generator.results);
        let verdict = verdict?;
        kept?;
        report::write(&generator.results, &in_turn, &verdict, options)?;
        println!("\n{}", verdict.text());
        verdicts.push(verdict);
        world = Some(in_turn).filter(|_| scenario.faults.is_empty());
    }
    drop(world);
    write_summary(&generator.results, &verdicts, options)?;
    report::write_index(&generator.results, &verdicts)?;
    println!("\n{}", if options.tests_build { "verdict (not optimised)" } else { "verdict" });
    for verdict in &verdicts {
        println!("{}", verdict.line());
    }
    println!("reports and logs: {}", generator.results.display());
    let failed = verdicts.iter().filter(|verdict| !verdict.failures().is_empty()).count();
    Ok(Tally { passed: verdicts.len() - failed, failed, ..Tally::default() })
}

fn write_summary(results: &Path, verdicts: &[Verdict], options: &Options) -> Result<(), String> {
    let path = results.join("summary.json");
    let env =
        options.env.iter().map(|(name, value)| format!("{}: {}", quoted(name), quoted(value)));
    let env: Vec<String> = env.collect();
    let all: Vec<String> = verdicts.iter().map(Verdict::json).collect();
    let text = format!(
        "{{\"smoke\": {}, \"vus\": {}, \"duration_seconds\": {}, \"upstream_delay_seconds\": {}, \
         \"gateways\": {}, \"gateway_env\": {{{}}},\n\"scenarios\": [\n{}\n]}}\n",
        options.smoke,
        options.vus,
        options.duration.as_secs_f64(),
        options.upstream_delay.as_secs_f64(),
        options.gateways,
        env.join(", "),
        all.join(",\n"),
    );
    std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
}
