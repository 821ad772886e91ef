//! `docs/limits.md`: every bound with its default, made from the sources, so that a new one cannot be left out.
//!
//! What can be set is taken from the configuration's own page, what cannot from the constants: a constant whose
//! name says that it is a bound ([`is_bound`]) has a comment that says of what.

mod constants;
mod value;

use std::fmt::Write as _;
use std::path::Path;

use self::constants::Bound;

/// What is made.
const PAGE: &str = "docs/limits.md";
/// Where the keys and their defaults are told.
const KEYS_PAGE: &str = "docs/reference/configuration.md";

/// The parts of the page, and where in the sources each has its bounds. The first that fits is taken.
const PARTS: &[(&str, &[&str])] = &[
    (
        "Connections and pages",
        &["src/http/", "src/serve", "src/main.rs", "src/explain.rs", "src/process_dir.rs"],
    ),
    ("Telemetry", &["src/telemetry/", "middleware/src/telemetry/"]),
    ("Layers", &["middleware/src/"]),
    (
        "Upstreams, checksum databases and the go command",
        &["src/fetch/", "src/app", "src/adapters"],
    ),
    ("Storage", &["src/storage/"]),
    ("Athens's external storage protocol, served", &["src/external_storage/"]),
    ("The index", &["src/index/"]),
    ("Locks", &["src/lock/"]),
    ("The background queue on disk", &["src/queue/"]),
    ("Policy and configuration", &["src/policy/", "src/config/"]),
    ("Names and formats", &["protocol/src/"]),
];

/// What can be set, by the variable: how much of memory, disk, sockets and time is taken.
const KEYS: &[&str] = &[
    "DIPYLON_MAX_CONNECTIONS",
    "ATHENS_PROTOCOL_WORKERS",
    "DIPYLON_MISS_QUEUE_TIMEOUT",
    "ATHENS_GOGET_WORKERS",
    "DIPYLON_UPSTREAM_CONCURRENCY",
    "DIPYLON_QUEUE_MAX_ENTRIES",
    "DIPYLON_HOT_CACHE_BYTES",
    "DIPYLON_HOLD_BACK_BYTES",
    "DIPYLON_MAX_SPOOL_BYTES",
    "DIPYLON_TIERED_MAX_BYTES",
    "DIPYLON_REQUEST_TIMEOUT",
    "ATHENS_STASH_TIMEOUT",
    "ATHENS_TIMEOUT",
    "DIPYLON_UPSTREAM_CONNECT_TIMEOUT",
    "DIPYLON_UPSTREAM_HEADER_TIMEOUT",
    "DIPYLON_UPSTREAM_IDLE_TIMEOUT",
    "DIPYLON_UPSTREAM_ATTEMPTS",
    "ATHENS_SHUTDOWN_TIMEOUT",
];

const HEAD: &str = "# Limits

Nothing here grows without a bound. This page is made from the sources: `cargo xtask limits` writes it anew, and the
lint fails where it is not what they say. Where a bound is reached, whoever comes next waits for a bounded time or is
refused with a text that names the bound; nothing that was accepted is lost.

## What can be set

All keys, with what they accept, are in [reference/configuration.md](reference/configuration.md).

| key | variable | default | what it bounds |
|---|---|---|---|
";

/// Writes the page anew.
///
/// # Errors
/// What of the sources cannot be told, or cannot be read or written: one line each.
pub(crate) fn write(root: &Path) -> Result<(), String> {
    let page = page(root)?;
    std::fs::write(root.join(PAGE), page).map_err(|error| format!("{PAGE}: {error}"))
}

/// What is wrong with the page, if anything is.
///
/// # Errors
/// As of [`write`].
pub(crate) fn check(root: &Path) -> Result<Vec<&'static str>, String> {
    const STALE: &str =
        "docs/limits.md is not what the sources say: cargo xtask limits writes it anew";
    let page = page(root)?;
    let is_true = std::fs::read_to_string(root.join(PAGE)).is_ok_and(|stands| stands == page);
    Ok(if is_true { Vec::new() } else { vec![STALE] })
}

fn page(root: &Path) -> Result<String, String> {
    let keys = std::fs::read_to_string(root.join(KEYS_PAGE));
    let keys = keys.map_err(|error| format!("{KEYS_PAGE}: {error}"))?;
    let mut page = HEAD.to_owned();
    for variable in KEYS {
        let row = row_of(&keys, variable)
            .ok_or_else(|| format!("{KEYS_PAGE} has no variable {variable}"))?;
        page.push_str(&row);
    }
    page.push_str("\n## What is fixed\n\nThe name is that of the constant, in the file named.\n");
    let bounds = constants::all(root)?;
    for (index, (title, _)) in PARTS.iter().enumerate() {
        let _ = write!(page, "\n### {title}\n\n| what | bound | constant |\n|---|---|---|\n");
        for bound in bounds.iter().filter(|bound| part_of(&bound.path) == Some(index)) {
            let Bound { path, name, value, what } = bound;
            let value = value::shown(name, value);
            let _ = writeln!(page, "| {} | {value} | `{name}`, {path} |", what.replace('|', "\\|"));
        }
    }
    match bounds.iter().find(|bound| part_of(&bound.path).is_none()) {
        Some(bound) => {
            Err(format!("{}: no part of {PAGE} is for it (xtask/src/limits)", bound.path))
        }
        None => Ok(page),
    }
}

fn part_of(path: &str) -> Option<usize> {
    let fits = |places: &&[&str]| places.iter().any(|place| path.starts_with(place));
    PARTS.iter().position(|(_, places)| fits(places))
}

/// The row of a variable's key, without what it accepts.
fn row_of(keys: &str, variable: &str) -> Option<String> {
    keys.lines().find_map(|line| {
        let cells: Vec<&str> = line.split(" | ").collect();
        let [key, name, default, _, meaning] = cells.as_slice() else { return None };
        let is_it = name.trim_matches('`') == variable;
        let default = value::shown(variable, default.trim_matches('`'));
        is_it.then(|| format!("{key} | {name} | {default} | {meaning}\n"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_of_its_variable_alone() {
        let keys = "| key | variable | default | accepted | meaning |\n\
                    | `A` | `X_A_BYTES` | `1048576` | a number | How much. |\n";
        let row = row_of(keys, "X_A_BYTES");
        assert_eq!(row.as_deref(), Some("| `A` | `X_A_BYTES` | 1 MiB | How much. |\n"));
        assert_eq!(row_of(keys, "X_A"), None);
    }

    #[test]
    fn every_part_has_a_bound_and_every_bound_its_part() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let bounds = constants::all(root).unwrap();
        for (index, (title, _)) in PARTS.iter().enumerate() {
            assert!(bounds.iter().any(|bound| part_of(&bound.path) == Some(index)), "{title}");
        }
        assert!(bounds.iter().all(|bound| part_of(&bound.path).is_some()));
    }
}
