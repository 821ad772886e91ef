//! The table in the docs, written cell by cell: each test knows its own cells alone.

use std::path::Path;

const PAGE: &str = "docs/single-flight.md";
const BEGIN: &str =
    "<!-- accepted begins: written by tests/lock/accepted with DIPYLON_BLESS=1 -->\n";
const END: &str = "<!-- accepted ends -->";
const HEADINGS: [&str; 9] = [
    "kind",
    "duplicates of 1 version",
    "of 200",
    "holder killed, worst of 20",
    "service dead",
    "commit seen, p99",
    "warm operations",
    "left",
    "cores, load",
];

/// A column that a measure fills.
#[derive(Clone, Copy)]
pub(super) enum Column {
    OneVersion = 1,
    ManyVersions,
    Killed,
    Dead,
    Seen,
    Warm,
    Left,
}

/// The last column: on what machine the row's latest cell was measured.
const MACHINE: usize = HEADINGS.len() - 1;

type Row = [String; HEADINGS.len()];

/// Puts what was measured of a kind into its row, where the run is one that may write.
pub(super) fn write(kind: &str, cells: &[(Column, String)]) {
    if !dipylon_testkit::bless::is_asked_for() {
        return;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = std::fs::read_to_string(&path).expect("the page");
    let (before, rest) = page.split_once(BEGIN).expect("the beginning of the table");
    let (table, behind) = rest.split_once(END).expect("the end of the table");
    let table = with(table, kind, cells, &machine());
    std::fs::write(&path, format!("{before}{BEGIN}{table}{END}{behind}")).expect("written");
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().expect("some cores");
    let load = std::fs::read_to_string("/proc/loadavg").expect("the load of this machine");
    format!("{cores}, {}", load.split(' ').next().expect("the last minute's"))
}

fn with(table: &str, kind: &str, cells: &[(Column, String)], machine: &str) -> String {
    let mut rows: Vec<Row> = table.lines().skip(2).map(row).collect();
    let at = rows.iter().position(|row| row[0] == kind).unwrap_or_else(|| {
        let mut row = Row::default();
        row[0] = kind.to_owned();
        rows.push(row);
        rows.len() - 1
    });
    for (column, value) in cells {
        rows[at][*column as usize] = value.clone();
    }
    rows[at][MACHINE] = machine.to_owned();
    let mut text = line(&HEADINGS.map(str::to_owned)) + &line(&HEADINGS.map(|_| "---".to_owned()));
    text.extend(rows.iter().map(line));
    text
}

fn row(line: &str) -> Row {
    let cells = line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned());
    let cells: Vec<String> = cells.collect();
    cells.try_into().unwrap_or_else(|cells| panic!("{PAGE}: no row of the table: {cells:?}"))
}

fn line(row: &Row) -> String {
    format!("| {} |\n", row.join(" | "))
}

#[test]
fn a_cell_is_written_and_the_others_stay() {
    let empty = with("", "redis", &[(Column::Left, "0".to_owned())], "2, 0.5");
    let again = with(&empty, "etcd", &[(Column::Warm, "0".to_owned())], "2, 0.5");
    let both = with(&again, "redis", &[(Column::Killed, "9 s".to_owned())], "2, 1.5");
    let rows: Vec<_> = both.lines().skip(2).collect();
    assert_eq!(
        rows,
        ["| redis |  |  | 9 s |  |  |  | 0 | 2, 1.5 |", "| etcd |  |  |  |  |  | 0 |  | 2, 0.5 |",]
    );
}
