//! `cargo xtask load tune`: what to set, from how long fetches take.
//!
//! - `times` is how long fetches take, given or counted by a Prometheus; `values` are the rows of the sweep.
//! - `model` foretells what comes of a row, and recommends; `measure` tries the rows on real gateways.
//! - `page` writes down both, together.

mod measure;
mod model;
mod options;
mod outcome;
mod page;
mod times;
mod values;

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::options::Options as LoadOptions;
use super::world::{Programs, Setup, World};
use super::{programs_are_there, results};

use measure::{Amount, Measuring};
use options::Options;
use outcome::Outcome;
use times::Seeded;
use values::Row;

/// Seconds of a fetch beside what upstream takes, as the model has it: two small files, the check, the save.
const OVERHEAD: f64 = 0.1;
/// Versions that are wanted at once, and upstream's seconds for each.
const BURST: (u32, f64) = (24, 0.5);
/// Upstream's seconds for the version under whose fetch a holder dies.
const FETCH_OF_KILL: f64 = 0.5;
/// How much of each trial is measured of a row.
const RELEASES: u32 = 8;
const KILLS: u32 = 3;
const PAUSES: u32 = 3;
/// Clients of each gateway.
const CLIENTS: u32 = 4;

/// A row with what the model foretold, and what was measured.
struct Swept {
    row: Row,
    foretold: Outcome,
    measured: Option<Outcome>,
}

/// Does what stands after `cargo xtask load tune`. `true`: what is recommended is no worse than the defaults.
///
/// # Errors
/// One line: a wrong word, or what could not be started.
pub(super) fn command(root: &Path, words: &[&str]) -> Result<bool, String> {
    if let ["--help" | "-h" | "help"] = words {
        print!("{}", options::HELP);
        return Ok(true);
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let options = Options::parse(words, now.as_secs_f64())?;
    let model = model_of(&options, options.gateways);
    // What is recommended is for the cluster, which may be larger than what is measured.
    let (recommended, reasons) = model_of(&options, options.replicas).recommend(options.misses);
    println!("recommended by the model: {}", recommended.cell());
    let rows = values::rows(recommended, &options.times, options.lock);
    let mut swept: Vec<Swept> = rows
        .into_iter()
        .map(|row| Swept { foretold: model.play(&row.values), row, measured: None })
        .collect();
    if !options.paper {
        measure(root, &options, &mut swept)?;
    }
    let folder = root.join("target/load");
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let larger = model_of(&options, options.replicas);
    let report = page::page(&options, &model, &larger, &reasons, &swept);
    report.write(&folder, &format!("tune-{}", options.lock.word()), true)?;
    println!("report: {}", folder.join(format!("tune-{}.html", options.lock.word())).display());
    if options.docs {
        let docs = root.join("docs/tuning");
        std::fs::create_dir_all(&docs).map_err(|error| format!("{}: {error}", docs.display()))?;
        report.write(&docs, options.lock.word(), false)?;
    }
    let verdict = page::verdict(&swept);
    println!("{}", verdict.text);
    Ok(verdict.holds)
}

fn model_of(options: &Options, gateways: u32) -> model::World<'_> {
    model::World {
        lock: options.lock,
        gateways,
        times: &options.times,
        overhead: OVERHEAD,
        pause: options.pause,
        silence: options.silence,
        burst: BURST,
        fetch_of_kill: FETCH_OF_KILL,
        seed: options.seed,
    }
}

fn measure(root: &Path, options: &Options, swept: &mut [Swept]) -> Result<(), String> {
    programs_are_there()?;
    results(root)?;
    let programs = Programs::build(root, options.tests_build)?;
    let load = LoadOptions {
        upstream_delay: Duration::ZERO,
        real_modules: false,
        gateways: options.gateways,
        ..LoadOptions::default_of(false)
    };
    let count = swept.len();
    for (number, one) in swept.iter_mut().enumerate() {
        println!(
            "\n--> row {} of {count}, {}: {}",
            number + 1,
            one.row.name,
            one.row.values.cell()
        );
        let setup = Setup {
            lock: options.lock,
            storage: options.storage,
            gateways: options.gateways,
            upstream_delay_ms: 0,
            env: one.row.values.env(),
        };
        let world = World::start(root, &programs, &setup, &load, None)?;
        let mut measuring = Measuring {
            world: &world,
            times: &options.times,
            amount: Amount {
                releases: RELEASES,
                kills: KILLS,
                pauses: PAUSES,
                clients: CLIENTS,
                pause: options.pause,
                silence: options.silence,
                burst: BURST,
                fetch_of_kill: FETCH_OF_KILL,
            },
            seeded: Seeded::new(options.seed),
            released: 0,
            waits: Vec::new(),
        };
        one.measured = Some(measuring.row(&one.row)?);
    }
    Ok(())
}
