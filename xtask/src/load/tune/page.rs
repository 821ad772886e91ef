//! The report: what is recommended and why, what to paste, and each row as it was foretold and as it was measured.

use super::super::document::Document;
use super::super::options::Lock;
use super::super::report::machine;
use super::Swept;
use super::model::World;
use super::options::Options;
use super::outcome::{Outcome, quantile};
use super::values::{Trial, Values};
use crate::plot::Plot;

/// A measured value may be so much above another and count as the same: two runs of one row differ by it.
const SAME: f64 = 1.1;
/// Seconds by which two runs differ in any case.
const SAME_SECS: f64 = 0.3;
/// Places of the rows that are compared.
const DEFAULTS: usize = 0;
const RECOMMENDED: usize = 1;

/// Whether what is recommended holds.
pub(super) struct Verdict {
    pub(super) holds: bool,
    pub(super) text: String,
}

/// Compares the first two rows, as measured; as foretold where nothing was.
pub(super) fn verdict(swept: &[Swept]) -> Verdict {
    let of = |place: usize| swept[place].measured.as_ref().unwrap_or(&swept[place].foretold);
    let (theirs, ours) = (of(DEFAULTS), of(RECOMMENDED));
    let no_more = |ours: Option<f64>, theirs: Option<f64>| match (ours, theirs) {
        (Some(ours), Some(theirs)) => ours <= theirs * SAME + SAME_SECS,
        _ => false,
    };
    let exact = |ours: Option<f64>, theirs: Option<f64>| ours.is_some() && ours <= theirs;
    let sooner = exact(ours.worst_recovery(), theirs.worst_recovery());
    let holds = sooner
        && exact(ours.duplicates, theirs.duplicates)
        && exact(ours.takeovers, theirs.takeovers)
        && exact(ours.wait_p99_with_deaths, theirs.wait_p99_with_deaths)
        && no_more(ours.wait_p99, theirs.wait_p99);
    let seconds =
        |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.1} s"));
    let how = if swept[RECOMMENDED].measured.is_some() { "Measured" } else { "Foretold" };
    Verdict {
        holds,
        text: format!(
            "{how}: after a death the others are served within {} in place of {} with Athens's defaults; p99 of \
             all clients, those of deaths among them, {} and {}; p99 of a release alone {} and {}; duplicates {} and \
             {} a version. {}",
            seconds(ours.worst_recovery()),
            seconds(theirs.worst_recovery()),
            seconds(ours.wait_p99_with_deaths),
            seconds(theirs.wait_p99_with_deaths),
            seconds(ours.wait_p99),
            seconds(theirs.wait_p99),
            share(ours.duplicates),
            share(theirs.duplicates),
            if holds { "The recommendation holds." } else { "The recommendation DOES NOT HOLD." }
        ),
    }
}

fn share(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.2}"))
}

pub(super) fn page(
    options: &Options,
    model: &World,
    cluster: &World,
    reasons: &[(&'static str, u32, String)],
    swept: &[Swept],
) -> Document {
    let lock = options.lock.word();
    let mut page = Document::new(&format!("Tuning: locks in {lock}"));
    page.text(verdict(swept).text);
    page.text("Made by:");
    page.code("sh", format!("cargo xtask load tune {}", options.words));
    page.heading("What to set");
    let recommended = swept[RECOMMENDED].row.values;
    page.code("toml", recommended.configuration(options.lock));
    let why = reasons.iter().filter(|(name, ..)| of_lock(options.lock, name));
    let why =
        why.map(|(name, value, why)| vec![(*name).to_owned(), value.to_string(), why.clone()]);
    page.table(&["value", "recommended", "because"], why.collect());
    page.heading("What it is for");
    about(&mut page, options);
    page.heading("The sweep");
    rows(&mut page, swept);
    page.text(
        "A cell has what was measured, and in brackets what the model foretold. A row is tried with what its \
        name is about. \
         *Recovery* is from the death of a holder until the last client of the other gateways was served, over \
         a fetch of half a second; *take-overs* are pauses of a holder after which another had fetched too; \
         *p99* is of the clients of releases, *p99 with deaths* of all clients that the row had.",
    );
    plots(&mut page, model, swept);
    if cluster.gateways > model.gateways {
        on_paper(&mut page, cluster, swept);
    }
    page
}

/// etcd has no keys of Athens's for its locks.
fn of_lock(lock: Lock, name: &str) -> bool {
    lock != Lock::Etcd || !matches!(name, "TTL" | "Timeout" | "MaxRetries")
}

fn about(page: &mut Document, options: &Options) {
    let times = &options.times;
    page.text(format!("How long fetches take ({}):", times.from));
    let seconds = |share: f64| format!("{:.2} s", times.quantile(share));
    let row = [0.5, 0.9, 0.99, 1.0].map(seconds).into();
    page.table(&["p50", "p90", "p99", "longest"], vec![row]);
    page.text(format!(
        "Misses of a gateway: {:.1} a second. A pause that is no death: up to {} s. A lock service that says \
        nothing: up to {} s. \
         {} gateways, storage in {}; {}.",
        options.misses,
        options.pause,
        options.silence,
        options.gateways,
        options.storage.word(),
        if options.paper {
            "nothing was measured".to_owned()
        } else {
            let build = if options.tests_build { "the tests' build" } else { "a release build" };
            format!("{build}; {}", machine())
        }
    ));
}

fn rows(page: &mut Document, swept: &[Swept]) {
    let cell = |one: &Swept, trial: Trial, digits: usize, value: fn(&Outcome) -> Option<f64>| {
        if !one.row.trials.contains(&trial) {
            return String::new();
        }
        let word =
            |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.digits$}"));
        let foretold = word(value(&one.foretold));
        match &one.measured {
            Some(measured) => format!("{} ({foretold})", word(value(measured))),
            None => format!("({foretold})"),
        }
    };
    let row = |one: &Swept| {
        vec![
            one.row.name.to_owned(),
            one.row.values.cell(),
            cell(one, Trial::Kills, 1, Outcome::worst_recovery),
            cell(one, Trial::Pauses, 2, |outcome| outcome.takeovers),
            cell(one, Trial::Releases, 2, |outcome| outcome.duplicates),
            cell(one, Trial::Releases, 1, |outcome| outcome.wait_p99),
            cell(one, Trial::Kills, 1, |outcome| outcome.wait_p99_with_deaths),
            cell(one, Trial::Releases, 2, |outcome| outcome.failed),
            cell(one, Trial::Silence, 1, |outcome| outcome.silent_wait),
            cell(one, Trial::Silence, 0, |outcome| outcome.silent_duplicates),
            cell(one, Trial::Burst, 1, |outcome| outcome.burst),
        ]
    };
    page.table(
        &[
            "row",
            "lease/renewal and the rest",
            "recovery, worst, s",
            "take-overs",
            "duplicates",
            "p99, s",
            "p99 with deaths, s",
            "failed",
            "silent service: last served, s",
            "and duplicates",
            "burst, s",
        ],
        swept.iter().map(row).collect(),
    );
    let why = swept.iter().map(|one| vec![one.row.name.to_owned(), one.row.why.to_owned()]);
    page.table(&["row", "what it shows"], why.collect());
}

fn plots(page: &mut Document, model: &World, swept: &[Swept]) {
    let base = swept[RECOMMENDED].row.values;
    let measured = |trial: Trial, at: fn(&Values) -> u32, value: fn(&Outcome) -> Vec<f64>| {
        let tried = swept.iter().filter(move |one| one.row.trials.contains(&trial));
        let points = tried.flat_map(move |one| {
            let found = one.measured.as_ref().map(value).unwrap_or_default();
            found.into_iter().map(move |found| (f64::from(at(&one.row.values)), found))
        });
        points.collect::<Vec<_>>()
    };
    let foretold =
        |range: &[u32], set: fn(&mut Values, u32), value: &dyn Fn(&Outcome) -> Option<f64>| {
            let point = |at: &u32| {
                let mut values = base;
                set(&mut values, *at);
                Some((f64::from(*at), value(&model.play(&values))?))
            };
            range.iter().filter_map(point).collect::<Vec<_>>()
        };
    let leases: Vec<u32> = (2..=25).collect();
    let lease = |values: &mut Values, lease| {
        values.lease = lease;
        values.renewal = values.renewal.min(lease / 2).max(1);
    };
    // The rows have renewals of their own, which the lines do not.
    let of_rows = swept.iter().filter(|one| one.row.trials.contains(&Trial::Kills));
    let of_rows = of_rows.filter_map(|one| {
        Some((f64::from(one.row.values.lease), quantile(&one.foretold.recovery, 0.5)?))
    });
    let renewal = base.renewal;
    page.plot(
        "recovery",
        Plot::new("Recovery after the death of a holder", "Lease, seconds", "seconds")
            .line(
                &format!("foretold, median, Renewal {renewal}"),
                foretold(&leases, lease, &|one| quantile(&one.recovery, 0.5)),
            )
            .line("foretold, p99", foretold(&leases, lease, &|one| quantile(&one.recovery, 0.99)))
            .points("foretold, median of the row", of_rows.collect())
            .points(
                "measured, each",
                measured(Trial::Kills, |one| one.lease, |one| one.recovery.clone()),
            ),
    );
    page.plot(
        "takeovers",
        Plot::new("Pauses that lose the lock", "Lease, seconds", "share of the pauses")
            .line("foretold", foretold(&leases, lease, &|one| one.takeovers))
            .points(
                "measured",
                measured(Trial::Pauses, |one| one.lease, |one| one.takeovers.into_iter().collect()),
            ),
    );
    if model.lock != Lock::Etcd {
        let longest = (model.times.longest().ceil() as u32 + 2).max(5);
        let ttls: Vec<u32> = (1..=longest).collect();
        let within =
            measured(Trial::Releases, |one| one.ttl, |one| one.duplicates.into_iter().collect());
        let within = within.into_iter().filter(|(ttl, _)| *ttl <= f64::from(longest)).collect();
        page.plot(
            "duplicates",
            Plot::new("Fetches beyond the first, of a version", "TTL, seconds", "fetches")
                .line("foretold", foretold(&ttls, |one, ttl| one.ttl = ttl, &|one| one.duplicates))
                .points("measured", within),
        );
        let timeouts: Vec<u32> = (1..=20).collect();
        page.plot(
            "silence",
            Plot::new(
                "The last served while the lock service is silent",
                "Timeout, seconds",
                "seconds",
            )
            .line(
                "foretold",
                foretold(&timeouts, |one, timeout| one.timeout = timeout, &|one| one.silent_wait),
            )
            .points(
                "measured",
                measured(
                    Trial::Silence,
                    |one| one.timeout,
                    |one| one.silent_wait.into_iter().collect(),
                ),
            ),
        );
    }
    let workers: Vec<u32> = (1..=30).collect();
    page.plot(
        "burst",
        Plot::new("The last of a burst of versions", "ProtocolWorkers and GoGetWorkers", "seconds")
            .line(
                "foretold",
                foretold(&workers, |one, workers| one.workers = workers, &|one| one.burst),
            )
            .points(
                "measured",
                measured(Trial::Burst, |one| one.workers, |one| one.burst.into_iter().collect()),
            ),
    );
}

/// The same rows in a cluster that is larger than what was measured.
fn on_paper(page: &mut Document, cluster: &World, swept: &[Swept]) {
    page.heading(format!("On paper: {} gateways", cluster.gateways));
    let row = |one: &Swept| {
        let outcome = cluster.play(&one.row.values);
        vec![
            one.row.name.to_owned(),
            format!("{:.1}", outcome.worst_recovery().unwrap_or(0.0)),
            share(outcome.takeovers),
            share(outcome.duplicates),
            share(outcome.silent_duplicates),
        ]
    };
    page.table(
        &["row", "recovery, worst, s", "take-overs", "duplicates", "duplicates, service silent"],
        swept.iter().map(row).collect(),
    );
}
