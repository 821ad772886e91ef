//! What `/-/status` shows: the state of the parts themselves, so it is true where metrics are not counted.

use std::time::Duration;

use dipylon_middleware::admission::AdmissionLayer;
use dipylon_middleware::breaker;
use dipylon_middleware::dispatch::Background;
use dipylon_middleware::explain::Facts;
use dipylon_middleware::lock::LockLayer;
use dipylon_middleware::single_flight::SingleFlightLayer;

use crate::adapters::Outside;
use crate::http::{Connections, Rows, Status, lasted};
use crate::storage::tiered;

/// Whose state is shown.
pub(super) struct Parts {
    pub(super) connections: Connections,
    pub(super) admission: AdmissionLayer,
    pub(super) flights: SingleFlightLayer,
    pub(super) lock: Option<LockLayer>,
    pub(super) background: Background,
    pub(super) outside: Outside,
}

impl Parts {
    /// The page, from what is wrong first to what goes on.
    pub(super) fn page(self) -> Status {
        let Self { connections, admission, flights, lock, background, outside } = self;
        let (stores, queue) = (outside.clone(), background.clone());
        let (counted, listed) = (flights.clone(), lock.clone());
        let page = Status::new()
            .then("Now", &["what", "now", "at most"], move |_| {
                counts(&connections, &admission, &counted, lock.as_ref(), &queue)
            })
            .then("Storage", &["what", "how it stands", "why"], move |_| storage(&stores))
            .then(
                "Upstreams",
                &["upstream", "breaker", "host's breaker", "pause", "slots", "in line", "why"],
                move |most| upstreams(&outside.upstreams(), most),
            )
            .then("Fetched now", &["version", "file", "age", "followers"], move |most| {
                fetched(&flights, most)
            });
        let page = match listed {
            Some(lock) => page.then(
                "Locks",
                &["version", "how it stands", "age", "request", "held by trace"],
                move |most| locks(&lock, most),
            ),
            None => page,
        };
        page.then(
            "Background queue",
            &["version", "how it stands", "age", "attempts"],
            move |most| queued(&background, most),
        )
    }
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).into()
}

fn counts(
    connections: &Connections,
    admission: &AdmissionLayer,
    flights: &SingleFlightLayer,
    lock: Option<&LockLayer>,
    background: &Background,
) -> Rows {
    let of =
        |what: &str, (now, most): (usize, usize)| row([what, &now.to_string(), &most.to_string()]);
    let mut rows = vec![
        of("connections", connections.open()),
        of("requests in hand", admission.in_hand()),
        row(["versions or files that are fetched", &flights.count().to_string(), ""]),
    ];
    match lock {
        Some(lock) => {
            let counts = lock.counts();
            rows.push(row(["locks held", &counts.held.to_string(), ""]));
            rows.push(row(["locks awaited", &counts.awaited.to_string(), ""]));
            rows.push(match lock.health().check() {
                Ok(()) => row(["lock service", "works", ""]),
                Err(error) => {
                    let text = format!("down, misses go on without locks: {error}");
                    row(["lock service", &text, ""])
                }
            });
        }
        None => rows.push(row(["locks across replicas", "none: SingleFlightType is memory", ""])),
    }
    let seen = background.snapshot(0);
    let entries = seen.queued + seen.running;
    rows.push(of("background queue", (entries, background.capacity())));
    rows.push(row(["background fetches under way", &seen.running.to_string(), ""]));
    rows.push(row(["background fetches that policy forbids", &seen.held.to_string(), ""]));
    if let Some(age) = seen.oldest {
        rows.push(row(["oldest background fetch", &lasted(age), ""]));
    }
    Rows::all(rows)
}

fn fetched(flights: &SingleFlightLayer, most: usize) -> Rows {
    let rows = flights.under_way(most, |_| true).into_iter().map(|flight| {
        let version = format!("{}@{}", flight.key.module, flight.key.version);
        let followers = flight.followers.to_string();
        row([&version, flight.key.want.as_str(), &lasted(flight.age), &followers])
    });
    // Counted last: those that began meanwhile are some of those that are left out.
    Rows { rows: rows.collect(), all: flights.count() }
}

fn locks(lock: &LockLayer, most: usize) -> Rows {
    let rows = lock.under_way(most, |_| true).into_iter().map(|listed| {
        let holder = listed.held_by.map(|trace| trace.to_string()).unwrap_or_default();
        let age = lasted(listed.age);
        row([&listed.key, listed.standing.as_str(), &age, &listed.request_id, &holder])
    });
    let rows = rows.collect();
    let counts = lock.counts();
    Rows { rows, all: counts.held + counts.awaited }
}

fn queued(background: &Background, most: usize) -> Rows {
    let seen = background.snapshot(most);
    let rows = seen.entries.iter().map(|entry| {
        let version = format!("{}@{}", entry.module, entry.version);
        let attempts = entry.attempts.to_string();
        row([&version, entry.standing.as_str(), &lasted(entry.age), &attempts])
    });
    Rows { rows: rows.collect(), all: seen.queued + seen.running }
}

fn storage(outside: &Outside) -> Rows {
    let standing = outside.storage();
    let why = standing.cause.as_deref().unwrap_or_default();
    let name = format!("{} storage", outside.storage_kind());
    let mut rows = vec![row([&name, &stands(&standing), why])];
    if let Some(near) = outside.near() {
        let far = if near.is_far_failing { "the store behind it fails" } else { "" };
        rows.push(row(["near tier", &near_stands(&near), far]));
    }
    Rows::all(rows)
}

fn stands(standing: &breaker::Standing) -> String {
    match (standing.refused_for, standing.is_open, standing.failures) {
        (Some(left), ..) => format!("left alone for another {}", lasted(left)),
        (None, true, _) => "open: the next call tries it".to_owned(),
        (None, false, 0) => "works".to_owned(),
        (None, false, failures) => format!("works; {failures} failures in a row"),
    }
}

fn near_stands(near: &tiered::Standing) -> String {
    let tiered::Standing { files, bytes, bytes_max, is_not_filled, is_not_read, .. } = near;
    let rests = match (is_not_read, is_not_filled) {
        (true, _) => "; its disk fails and is left alone for a while",
        (false, true) => "; its disk is full and takes no copies for a while",
        (false, false) => "",
    };
    format!("{files} files, {bytes} of {bytes_max} bytes{rests}")
}

fn upstreams(told: &[Facts], most: usize) -> Rows {
    let rows = told.iter().take(most).map(|told| {
        let (breaker, host, slots) = (&told["breaker"], &told["host_breaker"], &told["slots"]);
        let causes = [&breaker["cause"], &host["cause"]];
        let mut causes: Vec<&str> = causes.into_iter().filter_map(Facts::as_str).collect();
        causes.dedup();
        row([
            &word(&told["name"]),
            &breaker_stands(breaker),
            &breaker_stands(host),
            &seconds(&told["paused_for_seconds"]).unwrap_or_default(),
            &format!("{} of {}", word(&slots["used"]), word(&slots["of"])),
            &word(&slots["waiting"]),
            &causes.join("; "),
        ])
    });
    Rows { rows: rows.collect(), all: told.len() }
}

fn breaker_stands(told: &Facts) -> String {
    let left = seconds(&told["refuses_for_seconds"]);
    match (left, told["open"].as_bool(), told["failures"].as_u64()) {
        (Some(left), ..) => format!("open for another {left}"),
        (None, Some(true), _) => "open: the next call tries it".to_owned(),
        (None, _, None | Some(0)) => "closed".to_owned(),
        (None, _, Some(failures)) => format!("closed; {failures} failures in a row"),
    }
}

fn seconds(told: &Facts) -> Option<String> {
    let time = told.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.map(lasted)
}

fn word(told: &Facts) -> String {
    match told {
        Facts::String(word) => word.clone(),
        Facts::Null => String::new(),
        other => other.to_string(),
    }
}
