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

In `Cache-Status` (RFC 9211) `hit` is said where nobody was asked for this request, and `fwd` where an upstream was, or
a fetch was waited for until the time was over: `uri-miss` where nothing was there, `stale` where something older was.
It is `fwd` too where upstream was asked and what is here is the answer: a list that it does not have, or does not send,
while versions are stored (`hit_storage`); a branch that stands for a stored version (the same: upstream said only which
one, the file comes from storage); a lookup that is held while the checksum database fails (`stale_error`).
Who is refused before anybody is asked gets neither, only `detail`; so does who asks for a page, or is sent elsewhere.
`bypass` is never said, because nothing goes on without a look at what is kept. All routes say the same, `.info`,
`.mod`, lists, what queries stand for and `/sumdb/` too:

* `fwd-status`: what the upstream answered, where its answer was the reason, and of a miss where a part is answered of
  what was fetched whole. A timeout has none, nor has a repository that the `go` command was sent to; and where what
  came with 200 was found wrong later, by its checksum, it is left out too.
* `ttl`: seconds until a list, a latest, a query or a \"no\" is asked for anew; below zero where that is over. The files
  of a version have none, because they never change.
* `stored`: what was fetched is kept: a file is, or is about to be, in storage; a list, a latest or a query in memory; a
  lookup or a tile of a checksum database in either. Its `/latest` is not; and nothing is stored that was here before.
* `collapsed`: somebody else had asked upstream already, and this request shared what came, a failure too.
* What an upstream says in its own `Cache-Status` stands before it, on the answer to who has asked it and to who shared
  that; not on an answer that is given again later.

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
        let said: Vec<String> = cache_status.iter().map(|said| told(said)).collect();
        let said = if said.is_empty() { "–".to_owned() } else { said.join(", ") };
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

/// What a member says beside the word, which may be nothing.
fn told(said: &str) -> String {
    if said.is_empty() { "only `detail`".to_owned() } else { format!("`{said}`") }
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
