//! The table as a page for operators.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use dipylon_middleware::error::{ErrorKind, ErrorRow, Severity};
use dipylon_middleware::telemetry::Outcome;
use dipylon_middleware::telemetry::labels::Label as _;

use super::{Row, row};

const INTRODUCTION: &str = "\
# Outcomes

One word says how a request ended. For each a test provokes it at a running gateway (`tests/gateway/outcomes`) and holds
to each other what is said of it: the status, the last member of `Cache-Status` (`dipylon; …; detail=WORD`), the text of
the answer, the log event, `dipylon_http_server_requests_total`, the root span, and, of the layer named here,
`dipylon_layer_calls_total` and its span. The page is made from the table of these tests:
`DIPYLON_BLESS=1 cargo test --test gateway outcomes` writes it anew.

The root span is an error where the status is 5xx, as the semantic conventions for HTTP say, and where a body was cut; a
layer's span wherever the layer failed (`route` makes an answer of that). A zip can be refused when its head has passed
the layers already: then the spans below `route` are those of a miss. What each word means:
[the reference](reference/telemetry.md#outcome); what to do: [the runbook](runbook.md).

| outcome | status | `Cache-Status` | log | root span | layer | in the test |
|---|---|---|---|---|---|---|
";

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for Row { outcome, statuses, cache_status, levels, layers, cause } in
        Outcome::ALL.iter().map(|outcome| row(*outcome))
    {
        let texts: Vec<String> = statuses.iter().map(ToString::to_string).collect();
        let (status, log) = (texts.join(", "), levels.join(", "));
        let layers = layers.join("`, `");
        let said = if cache_status.is_empty() { "–".into() } else { format!("`{cache_status}`") };
        let is_error = |status: &&u16| **status >= 500;
        let span = match statuses.iter().filter(is_error).count() {
            0 => "unset",
            errors if errors == statuses.len() => "error",
            _ => "error if 5xx",
        };
        let _ = writeln!(
            page,
            "| `{outcome}` | {status} | {said} | {log} | {span} | `{layers}` | {cause} |"
        );
    }
    page
}

#[test]
fn the_page_is_made_from_the_table_of_the_tests() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/outcomes.md");
    dipylon_testkit::bless::assert_page(path, &page(), "cargo test --test gateway");
}

#[test]
fn each_line_bears_the_word_of_its_outcome() {
    for outcome in Outcome::ALL {
        assert_eq!(row(*outcome).outcome, outcome.as_str());
    }
}

/// What the tests provoke is all there is: no error has a status or a level that its outcome's line leaves out.
#[test]
fn the_table_and_the_table_of_errors_say_the_same() {
    for outcome in Outcome::ALL {
        let rows: Vec<ErrorRow> = ErrorKind::ALL.iter().map(|kind| kind.row()).collect();
        let of_errors: Vec<_> = rows.iter().filter(|row| row.outcome == *outcome).collect();
        if of_errors.is_empty() {
            continue;
        }
        let statuses: BTreeSet<u16> = of_errors.iter().map(|row| row.status.as_u16()).collect();
        let levels: BTreeSet<&str> = of_errors.iter().map(|row| level(row.severity)).collect();
        let row = row(*outcome);
        assert_eq!(row.statuses, Vec::from_iter(statuses), "{}", row.outcome);
        assert_eq!(row.levels, Vec::from_iter(levels), "{}", row.outcome);
    }
}

/// As a line of the log says it.
fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warn => "warning",
        Severity::Error => "error",
    }
}
