//! The tables of `docs/performance.md`.

use std::fmt::Write as _;

use super::budgets::Verdict;
use super::results::Results;

/// What a layer's row is compared with.
const BARE: &str = "bare leaf";

/// Both tables under the line about the machine.
pub(super) fn render(results: &Results, verdicts: &[Verdict], machine: &str) -> String {
    let mut text = format!("{machine}\n");
    if !verdicts.is_empty() {
        text += "\n| budget | measured | at most | |\n|---|---|---|---|\n";
    }
    for Verdict { what, measured, at_most, kept } in verdicts {
        let word = match kept {
            Some(true) => "kept",
            Some(false) => "**not kept**",
            None => "not measured",
        };
        let _ = writeln!(text, "| {what} | {measured} | {at_most} | {word} |");
    }
    let mut group = "";
    for one in &results.0 {
        let bare = results.nanos(&one.group, BARE);
        if one.group != group {
            group = &one.group;
            let (name, rule) =
                if bare.is_some() { (" over the bare leaf |", "---|") } else { ("", "") };
            let _ = write!(text, "\n| {group} | median |{name}\n|---|---|{rule}\n");
        }
        let _ = write!(text, "| {} | {} |", one.name, shown(one.nanos));
        if let Some(bare) = bare {
            let over = (one.name != BARE).then(|| shown(one.nanos - bare));
            let _ = write!(text, " {} |", over.unwrap_or_default());
        }
        text.push('\n');
    }
    text
}

/// Three digits that mean something.
pub(super) fn shown(nanos: f64) -> String {
    let (value, unit) = match nanos.abs() {
        size if size < 1e3 => (nanos, "ns"),
        size if size < 1e6 => (nanos / 1e3, "µs"),
        size if size < 1e9 => (nanos / 1e6, "ms"),
        _ => (nanos / 1e9, "s"),
    };
    match value.abs() {
        size if size < 10.0 => format!("{value:.2} {unit}"),
        size if size < 100.0 => format!("{value:.1} {unit}"),
        _ => format!("{value:.0} {unit}"),
    }
}

/// The page with this text between these marks, or nothing where it lacks them.
pub(crate) fn put(page: &str, [begins, ends]: [&str; 2], text: &str) -> Option<String> {
    let (before, rest) = page.split_once(begins)?;
    let (_, after) = rest.split_once(ends)?;
    Some(format!("{before}{begins}\n{text}{ends}{after}"))
}
