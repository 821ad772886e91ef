//! `cargo xtask loadtest`: the scenarios of `loadtest/`, driven by k6 against two gateways that share Redis
//! and MinIO, with an upstream that counts.
//!
//! Everything listens on loopback, on ports of the kernel's choice, and belongs to a stack of its own:
//! that ends with this process, however this process ends.

mod figures;
mod options;
mod verdict;
mod world;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::stack;
use crate::step::{Tally, step};

use figures::Fetched;
use options::Options;
use verdict::{Facts, Verdict, quoted};
use world::{Programs, World};

/// What a scenario may take beside its load: setup, teardown, and requests that are still under way. The
/// scenario `stampede` may take three times the duration when gateways are slow.
const SCENARIO_MARGIN: Duration = Duration::from_secs(150);
/// How often the load generator is asked whether it has ended.
const POLL: Duration = Duration::from_millis(50);
/// Programs that must be there; without them there is no load test.
const PROGRAMS: &[&str] = &["k6", "redis", "minio"];

/// The load generator, and where its results go.
struct Generator {
    k6: PathBuf,
    scripts: PathBuf,
    results: PathBuf,
}

/// Does what stands after `cargo xtask loadtest`. `true`: every threshold of every scenario was kept.
///
/// # Errors
/// One line: a wrong word, or what could not be started.
pub(crate) fn command(root: &Path, words: &[&str]) -> Result<bool, String> {
    if let ["--help" | "-h" | "help"] = words {
        print!("{}", options::HELP);
        return Ok(true);
    }
    let options = Options::parse(words)?;
    Ok(load(root, &options)?.failed == 0)
}

/// The smoke test, as a step of CI: a scenario counts as a test.
pub(crate) fn smoke(root: &Path) -> Tally {
    step("load test (smoke)", || {
        let skipped = options::SCENARIOS.len();
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

fn load(root: &Path, options: &Options) -> Result<Tally, String> {
    let k6 = programs_are_there()?;
    let results = root.join("target/loadtest");
    std::fs::create_dir_all(&results).map_err(|error| format!("{}: {error}", results.display()))?;
    let generator = Generator { k6, scripts: root.join("loadtest"), results };
    let programs = Programs::build(root, options.smoke)?;
    let world = World::start(root, &programs, options)?;
    let mut verdicts = Vec::new();
    for scenario in &options.scenarios {
        match generator.run(&world, scenario, options) {
            Ok(verdict) => verdicts.push(verdict),
            Err(why) => {
                world.keep_logs(&generator.results)?;
                return Err(why);
            }
        }
    }
    world.keep_logs(&generator.results)?;
    drop(world);
    generator.write_summary(&verdicts, options)?;
    println!("\n{}", if options.smoke { "verdict (smoke, not optimised)" } else { "verdict" });
    for verdict in &verdicts {
        println!("{}", verdict.text());
    }
    println!("summary and logs: {}", generator.results.display());
    let failed = verdicts.iter().filter(|verdict| !verdict.failures().is_empty()).count();
    Ok(Tally { passed: verdicts.len() - failed, failed, ..Tally::default() })
}

impl Generator {
    fn run(
        &self,
        world: &World,
        scenario: &'static str,
        options: &Options,
    ) -> Result<Verdict, String> {
        println!("\n--> {scenario}");
        let before = world.figures()?;
        let out = self.results.join(scenario);
        let facts = out.with_extension("facts");
        // Those of an earlier run must not be taken for this one's.
        if facts.exists() {
            std::fs::remove_file(&facts)
                .map_err(|error| format!("{}: {error}", facts.display()))?;
        }
        let status = self.drive(world, scenario, &out, options)?;
        let text = std::fs::read_to_string(&facts)
            .map_err(|error| format!("k6 left no {} ({status}): {error}", facts.display()))?;
        let counts = world.upstream_counts()?;
        let [info, go_mod] = [".info", ".mod"].map(|kind| Fetched::of(&counts, scenario, kind));
        Ok(Verdict {
            scenario,
            facts: Facts::parse(&text)?,
            figures: world.figures()?.since(&before),
            zips: Fetched::of(&counts, scenario, ".zip"),
            others: Fetched { gets: info.gets + go_mod.gets, files: info.files + go_mod.files },
            k6_is_content: status.success(),
        })
    }

    /// Runs k6 to its end; its progress is shown as it goes.
    fn drive(
        &self,
        world: &World,
        scenario: &str,
        out: &Path,
        options: &Options,
    ) -> Result<ExitStatus, String> {
        let gateways: Vec<String> =
            world.gateways.iter().map(|port| format!("http://127.0.0.1:{port}")).collect();
        let mut command = Command::new(&self.k6);
        command.args(["run", "--address", "", "--no-usage-report"]);
        command.arg(self.scripts.join(format!("{scenario}.js")));
        command.env("GATEWAYS", gateways.join(","));
        command.env("UPSTREAM", format!("http://127.0.0.1:{}", world.upstream));
        command.env("OUT", out).env("SMOKE", if options.smoke { "yes" } else { "no" });
        command.env("PATIENCE", options.patience.to_string());
        command.env("VUS", options.vus.to_string());
        command.env("SECONDS", options.duration.as_secs_f64().to_string());
        command.env("DELAY_MS", options.upstream_delay.as_millis().to_string());
        command.env("RATE", options.rate.map(|rate| rate.to_string()).unwrap_or_default());
        command.stdin(Stdio::null());
        let mut k6 = command.spawn().map_err(|error| format!("k6 cannot be started: {error}"))?;
        let limit = 3 * options.duration + SCENARIO_MARGIN;
        let ended = world.stack.adopt("k6", k6.id()).and_then(|()| wait(&mut k6, limit));
        if ended.is_err() {
            // It may have ended in between; there is nothing else that can be done about it.
            let _ = k6.kill();
            let _ = k6.wait();
        }
        ended
    }

    fn write_summary(&self, verdicts: &[Verdict], options: &Options) -> Result<(), String> {
        let path = self.results.join("summary.json");
        let env: Vec<String> = options
            .env
            .iter()
            .map(|(name, value)| format!("{}: {}", quoted(name), quoted(value)))
            .collect();
        let all: Vec<String> = verdicts.iter().map(Verdict::json).collect();
        let text = format!(
            "{{\"smoke\": {}, \"vus\": {}, \"duration_seconds\": {}, \"upstream_delay_seconds\": {}, \
             \"gateway_env\": {{{}}},\n\"scenarios\": [\n{}\n]}}\n",
            options.smoke,
            options.vus,
            options.duration.as_secs_f64(),
            options.upstream_delay.as_secs_f64(),
            env.join(", "),
            all.join(",\n"),
        );
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    }
}

fn wait(child: &mut Child, limit: Duration) -> Result<ExitStatus, String> {
    let began = Instant::now();
    loop {
        let ended =
            child.try_wait().map_err(|error| format!("k6 cannot be waited for: {error}"))?;
        if let Some(status) = ended {
            return Ok(status);
        }
        if began.elapsed() >= limit {
            return Err(format!("k6 has not ended within {} s", limit.as_secs()));
        }
        std::thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_that_does_not_end_is_not_waited_for() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let refused = wait(&mut child, Duration::from_millis(100)).unwrap_err();
        assert_eq!(refused, "k6 has not ended within 0 s");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn every_scenario_is_a_script() {
        let root = crate::workspace_root();
        for name in options::SCENARIOS {
            assert!(root.join(format!("loadtest/{name}.js")).is_file(), "{name}");
        }
    }
}
