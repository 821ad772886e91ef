//! One scenario: k6 to its end, and what happens to the world meanwhile.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime};

use super::faults::{Event, Faults};
use super::figures::Fetched;
use super::graph::Graph;
use super::objectives;
use super::options::Options;
use super::prometheus::Prometheus;
use super::scenarios::{Failures, Scenario};
use super::timeline::{Pipe, Timeline};
use super::verdict::{Facts, Verdict};
use super::world::World;

/// What a scenario may take beside its load: setup, teardown, and requests that are still under way.
const SCENARIO_MARGIN: Duration = Duration::from_secs(420);
/// How often the load generator is asked whether it has ended.
const POLL: Duration = Duration::from_millis(50);
/// The longest that the load's first answer is waited for: its preparation fills stores.
const FIRST_LIMIT: Duration = Duration::from_secs(300);
/// Prometheus's last look at the gateways comes so long after the load.
const LAST_SCRAPE: Duration = Duration::from_secs(3);

/// The load generator, and where its results go.
pub(super) struct Generator {
    pub(super) k6: PathBuf,
    pub(super) scripts: PathBuf,
    pub(super) results: PathBuf,
    pub(super) graph: Option<Graph>,
    /// The share of requests that may fail.
    pub(super) objective: f64,
}

/// What a run of k6 left.
struct Driven {
    status: ExitStatus,
    timeline: Timeline,
    events: Vec<Event>,
}

impl Generator {
    /// # Errors
    /// One line: what went wrong with the run itself.
    pub(super) fn run(
        &self,
        world: &World,
        scenario: &'static Scenario,
        options: &Options,
    ) -> Result<Verdict, String> {
        println!("\n--> {}: {}", scenario.name, scenario.about);
        let before = world.figures()?;
        let out = self.results.join(scenario.name);
        let facts = out.with_extension("facts");
        // Those of an earlier run must not be taken for this one's.
        if facts.exists() {
            std::fs::remove_file(&facts)
                .map_err(|error| format!("{}: {error}", facts.display()))?;
        }
        let began = epoch();
        let driven = self.drive(world, scenario, &out, options)?;
        std::thread::sleep(LAST_SCRAPE);
        let span = (driven.timeline.began_ms.map_or(began, |ms| ms / 1000.0), epoch());
        let text = std::fs::read_to_string(&facts).map_err(|error| {
            format!("k6 left no {} ({}): {error}", facts.display(), driven.status)
        })?;
        let counts = world.upstream_counts()?;
        let [info, go_mod] =
            [".info", ".mod"].map(|kind| Fetched::of(&counts, scenario.script, kind));
        let mut judged = objectives::of_clients(scenario, &driven.timeline, self.objective);
        let prometheus = Prometheus::local(world.prometheus);
        judged.extend(objectives::of_alerts(&prometheus, scenario, span.0, span.1)?);
        // A gateway that was restarted counts anew, so only what Prometheus adds up is right then.
        let figures = world.figures()?.since(&before);
        Ok(Verdict {
            scenario,
            setup: world.setup.clone(),
            facts: Facts::parse(&text)?,
            figures,
            zips: Fetched::of(&counts, scenario.script, ".zip"),
            others: Fetched { gets: info.gets + go_mod.gets, files: info.files + go_mod.files },
            k6_is_content: driven.status.success(),
            timeline: driven.timeline,
            events: driven.events,
            judged,
            span,
        })
    }

    /// Runs k6 to its end; its progress is shown as it goes.
    fn drive(
        &self,
        world: &World,
        scenario: &Scenario,
        out: &Path,
        options: &Options,
    ) -> Result<Driven, String> {
        let (first, heard) = channel();
        let pipe_path = out.with_extension("pipe");
        let pipe = Pipe::at(&pipe_path, first)?;
        let mut command = self.command(world, scenario, out, options);
        command.arg("--out").arg(format!("csv={}", pipe_path.display()));
        command.arg(self.scripts.join(format!("{}.js", scenario.script)));
        let mut k6 = command.spawn().map_err(|error| format!("k6 cannot be started: {error}"))?;
        let limit = 3 * options.duration + SCENARIO_MARGIN;
        let over = AtomicBool::new(false);
        let (ended, happened) = std::thread::scope(|threads| {
            let faults = {
                let over = &over;
                threads.spawn(move || happen(world, scenario, options, &heard, over))
            };
            let ended = world.stack.adopt("k6", k6.id()).and_then(|()| wait(&mut k6, limit));
            if ended.is_err() {
                // It may have ended in between; there is nothing else that can be done about it.
                let _ = k6.kill();
                let _ = k6.wait();
            }
            over.store(true, Ordering::Relaxed);
            let happened = faults.join();
            (ended, happened.unwrap_or_else(|_| Err("what makes things happen broke".to_owned())))
        });
        let timeline = pipe.finish()?;
        Ok(Driven { status: ended?, timeline, events: happened? })
    }

    fn command(
        &self,
        world: &World,
        scenario: &Scenario,
        out: &Path,
        options: &Options,
    ) -> Command {
        let host = |port: &u16| format!("http://127.0.0.1:{port}");
        let gateways: Vec<String> = world.gateways.iter().map(host).collect();
        let mut command = Command::new(&self.k6);
        command.args(["run", "--address", "", "--no-usage-report"]);
        command.env("K6_CSV_TIME_FORMAT", "unix_milli").env("K6_CSV_SAVE_INTERVAL", "500ms");
        command.env("GATEWAYS", gateways.join(",")).env("BALANCER", host(&world.balancer));
        command.env("UPSTREAM", host(&world.upstream));
        command.env("OUT", out).env("SMOKE", if options.smoke { "yes" } else { "no" });
        // The build that the tests use is held to the limits of the smoke test, at the full rate.
        command.env("GENTLE", if options.tests_build { "yes" } else { "no" });
        command.env("TROUBLE", if scenario.faults.is_empty() { "no" } else { "yes" });
        command.env(
            "FAILED",
            match scenario.failures {
                Failures::None => "rate==0".to_owned(),
                Failures::Objective => format!("rate<={}", self.objective),
                Failures::NoStored | Failures::OfWhatExists => "rate<1".to_owned(),
            },
        );
        command.env("PATIENCE", options.patience.to_string());
        command.env("VUS", options.vus.to_string());
        command.env("SECONDS", options.duration.as_secs_f64().to_string());
        command.env("DELAY_MS", world.setup.upstream_delay_ms.to_string());
        command.env("RATE", options.rate.map(|rate| rate.to_string()).unwrap_or_default());
        if let Some(graph) = &self.graph {
            command.env("GRAPH", &graph.list);
        }
        command.stdin(Stdio::null());
        command
    }
}

/// What the scenario wants to happen, from the load's first answer on.
fn happen(
    world: &World,
    scenario: &Scenario,
    options: &Options,
    heard: &Receiver<Instant>,
    over: &AtomicBool,
) -> Result<Vec<Event>, String> {
    if scenario.faults.is_empty() {
        return Ok(Vec::new());
    }
    let asked = Instant::now();
    let began = loop {
        match heard.recv_timeout(POLL) {
            Ok(began) => break began,
            Err(_) if over.load(Ordering::Relaxed) => return Ok(Vec::new()),
            Err(_) if asked.elapsed() > FIRST_LIMIT => {
                return Err("k6 sent no request within its time".to_owned());
            }
            Err(_) => {}
        }
    };
    let mut faults = Faults { world, began, over, killed: None, events: Vec::new() };
    faults.run(scenario.faults, options.duration)?;
    Ok(faults.events)
}

fn epoch() -> f64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap_or_default().as_secs_f64()
}

pub(super) fn wait(child: &mut Child, limit: Duration) -> Result<ExitStatus, String> {
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
}
