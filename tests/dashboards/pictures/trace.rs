//! A trace as a waterfall: each span a bar from its start to its end, below what called it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::svg::{Anchor, Svg};

const WIDTH: u32 = 1_032;
const MARGIN: u32 = 12;
/// What the title and the scale take.
const HEAD: u32 = 62;
const LINE: u32 = 16;
/// Where the bars begin and end; before them stand the names, behind them the outcomes.
const LEFT: u32 = 300;
const RIGHT: u32 = 860;
/// How far a span stands to the right of its caller.
const INDENT: u32 = 9;
/// Parts of the scale.
const TICKS: u64 = 5;
/// What a span may take for itself and be folded all the same, in microseconds.
const OWN_MAX: u64 = 1_000;
/// The narrowest bar.
const BAR_MIN: u32 = 2;

const STRONG: &str = r##"font-weight="600" fill="#24292e""##;
const WEAK: &str = r##"fill="#6b7280""##;
const NAME: &str = r##"fill="#24292e""##;
const TICK: &str = r##"fill="none" stroke="#d0d4da""##;
/// The bars of each gateway.
const BARS: [&str; 3] =
    [r##"rx="2" fill="#3274d9""##, r##"rx="2" fill="#d9822b""##, r##"rx="2" fill="#7b61c9""##];

/// One span of a sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) id: String,
    /// Empty where the caller is none of ours.
    pub(super) parent: String,
    pub(super) name: String,
    /// The gateway it is of: 1, 2 …
    pub(super) gateway: u64,
    /// Microseconds from the start of the first, and how many it took.
    pub(super) start: u64,
    pub(super) took: u64,
    pub(super) outcome: String,
    /// The ids of the spans that it links to.
    pub(super) links: Vec<String>,
}

const SAMPLE: &str = include_str!("trace.json");

/// The trace in the repository.
pub(super) fn sample() -> Vec<Span> {
    let sample: Value = serde_json::from_str(SAMPLE).expect("the sample is JSON");
    let number = |span: &Value, key: &str| span[key].as_u64().expect("a number");
    let text = |span: &Value, key: &str| span[key].as_str().unwrap_or_default().to_owned();
    let links = |span: &Value| {
        let links = span["links"].as_array().map_or(&[][..], Vec::as_slice);
        links.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let span = |span: &Value| Span {
        id: text(span, "id"),
        parent: text(span, "parent"),
        name: text(span, "name"),
        gateway: number(span, "gateway"),
        start: number(span, "start_us"),
        took: number(span, "took_us"),
        outcome: text(span, "outcome"),
        links: links(span),
    };
    sample["spans"].as_array().expect("a list of spans").iter().map(span).collect()
}

/// What `trace.json` is of these spans: one line each.
pub(super) fn as_json(spans: &[Span]) -> String {
    let line = |span: &Span| {
        let line = json!({
            "id": span.id, "parent": span.parent, "name": span.name, "gateway": span.gateway,
            "start_us": span.start, "took_us": span.took, "outcome": span.outcome, "links": span.links,
        });
        format!("  {line}")
    };
    let lines: Vec<String> = spans.iter().map(line).collect();
    format!("{{\"spans\": [\n{}\n]}}\n", lines.join(",\n"))
}

/// Draws a trace.
pub(super) fn draw(spans: &[Span]) -> String {
    let rows = rows(spans);
    let end = spans.iter().map(|span| span.start + span.took).max().unwrap_or_default().max(1);
    let mut svg = Svg::new(WIDTH, HEAD + rows.len() as u32 * LINE + MARGIN);
    let title = "A cold zip asked of two gateways at once: one trace";
    svg.text((MARGIN, 20), Anchor::Start, 15, WIDTH - 2 * MARGIN, STRONG, title);
    let about = "A bar is a span, from its start to its end, below what called it; a … b are spans that only pass a \
                 call on. Each gateway has a colour.";
    svg.text((MARGIN, 36), Anchor::Start, 10, WIDTH - 2 * MARGIN, WEAK, about);
    let x = |at: u64| LEFT + (u64::from(RIGHT - LEFT) * at / end) as u32;
    for tick in 0..=TICKS {
        let at = end * tick / TICKS;
        let bottom = HEAD + rows.len() as u32 * LINE;
        svg.path(&[(x(at), HEAD - 6), (x(at), bottom)], TICK);
        svg.text((x(at), HEAD - 10), Anchor::Middle, 8, 60, WEAK, &millis(at));
    }
    let names: BTreeMap<&str, &str> =
        spans.iter().map(|span| (span.id.as_str(), span.name.as_str())).collect();
    for (index, (depth, row)) in rows.iter().enumerate() {
        let (span, last) = (row[0], row[row.len() - 1]);
        let y = HEAD + index as u32 * LINE;
        let name_x = MARGIN + depth * INDENT;
        let name = match (depth, row.len()) {
            (0, _) => format!("{} · gateway {}", span.name, span.gateway),
            (_, 1) => span.name.clone(),
            _ => format!("{} … {}", span.name, last.name),
        };
        let style = if *depth == 0 { STRONG } else { NAME };
        svg.text((name_x, y + 11), Anchor::Start, 10, LEFT - name_x - 4, style, &name);
        let (from, to) = (x(span.start), x(span.start + span.took));
        let colour = BARS[(span.gateway as usize - 1) % BARS.len()];
        svg.rectangle((from, y + 3), ((to - from).max(BAR_MIN), LINE - 6), colour);
        let links: Vec<String> = span
            .links
            .iter()
            .map(|id| format!("→ {}", names.get(id.as_str()).copied().unwrap_or("another trace")))
            .collect();
        let said = [vec![millis(span.took), span.outcome.clone()], links].concat().join(" ");
        svg.text((RIGHT + 8, y + 11), Anchor::Start, 9, WIDTH - RIGHT - MARGIN, WEAK, said.trim());
    }
    svg.end(title)
}

/// A row of the picture: how deep it stands, and its spans, from the outermost to the innermost of those that only
/// pass the call on.
type Row<'a> = (u32, Vec<&'a Span>);

/// The spans in the order of the picture.
fn rows(spans: &[Span]) -> Vec<Row<'_>> {
    let ids: BTreeSet<&str> = spans.iter().map(|span| span.id.as_str()).collect();
    let mut below: BTreeMap<&str, Vec<&Span>> = BTreeMap::new();
    for span in spans {
        let parent = if ids.contains(span.parent.as_str()) { span.parent.as_str() } else { "" };
        below.entry(parent).or_default().push(span);
    }
    for children in below.values_mut() {
        // The later first: the last of the pile is taken.
        children.sort_by_key(|span| (Reverse((span.start, span.gateway)), span.id.clone()));
    }
    let children = |id: &str| below.get(id).map_or(&[][..], Vec::as_slice);
    let mut pile: Vec<(u32, &Span)> = children("").iter().map(|span| (0, *span)).collect();
    let mut rows = Vec::new();
    while let Some((depth, span)) = pile.pop() {
        let mut row = vec![span];
        let mut last = span;
        // A root stands alone: it says whose it is.
        while let ([child], 1..) = (children(&last.id), depth) {
            if !passes_on(last, child) {
                break;
            }
            row.push(child);
            last = child;
        }
        rows.push((depth, row));
        pile.extend(children(&last.id).iter().map(|child| (depth + 1, *child)));
    }
    rows
}

/// Whether a span is nothing but the call of its only child.
fn passes_on(span: &Span, child: &Span) -> bool {
    let own = span.took.saturating_sub(child.took);
    span.outcome == child.outcome && span.links == child.links && own <= OWN_MAX
}

/// Microseconds as milliseconds.
fn millis(micros: u64) -> String {
    format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100)
}

#[test]
fn spans_stand_below_their_callers_in_the_order_of_their_starts_and_who_passes_on_is_folded() {
    let span = |id: &str, parent: &str, start: u64, took: u64| Span {
        id: id.to_owned(),
        parent: parent.to_owned(),
        name: id.to_owned(),
        gateway: 1,
        start,
        took,
        outcome: "ok".to_owned(),
        links: Vec::new(),
    };
    let spans = [
        span("d", "c", 6, 9_000),
        span("e", "d", 7, 8_500),
        span("f", "e", 8, 2_000),
        span("c", "a", 5, 9_500),
        span("b", "a", 2, 1),
        span("a", "client", 0, 9_900),
        span("g", "", 9, 1),
    ];
    let rows = rows(&spans);
    let names = |row: &[&Span]| row.iter().map(|span| span.name.as_str()).collect::<String>();
    let rows: Vec<(u32, String)> = rows.iter().map(|(depth, row)| (*depth, names(row))).collect();
    let want = [(0, "a"), (1, "b"), (1, "cde"), (2, "f"), (0, "g")];
    assert_eq!(rows, want.map(|(depth, names)| (depth, names.to_owned())));
}

#[test]
fn the_sample_is_a_whole_trace_of_two_gateways() {
    let spans = sample();
    let gateways: BTreeSet<u64> = spans.iter().map(|span| span.gateway).collect();
    assert_eq!(gateways, BTreeSet::from([1, 2]));
    let rows = rows(&spans);
    assert_eq!(rows.iter().map(|(_, row)| row.len()).sum::<usize>(), spans.len(), "all are drawn");
    assert_eq!(rows.iter().filter(|(depth, _)| *depth == 0).count(), 2, "a root for each");
    assert_eq!(as_json(&spans), SAMPLE, "the sample is as it would be written");
}
