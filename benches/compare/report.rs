//! What was measured, as tables and charts.

use std::fmt::Write as _;

use dipylon_testkit::measure::quartiles::Quartiles;
use dipylon_testkit::plot::{Axis, Bars, Chart, Shows};

use crate::options::Options;

/// Something that may not take more.
pub(crate) struct Budget {
    pub(crate) what: String,
    pub(crate) measured: Quartiles,
    pub(crate) most: f64,
    pub(crate) unit: &'static str,
}

impl Budget {
    /// The median of the rounds is held to it.
    fn is_kept(&self) -> bool {
        self.measured.median <= self.most
    }
}

/// What each server needs for each of several things.
pub(crate) struct Table {
    id: &'static str,
    what: String,
    unit: &'static str,
    servers: Vec<String>,
    rows: Vec<(String, Vec<Option<Quartiles>>)>,
    /// Of the chart.
    pub(crate) is_logarithmic: bool,
}

impl Table {
    pub(crate) fn new(
        id: &'static str,
        what: &str,
        unit: &'static str,
        servers: Vec<String>,
    ) -> Self {
        let what = what.to_owned();
        Self { id, what, unit, servers, rows: Vec::new(), is_logarithmic: false }
    }

    /// One cell for each server.
    pub(crate) fn row(&mut self, name: &str, cells: Vec<Option<Quartiles>>) {
        self.rows.push((name.to_owned(), cells));
    }

    fn text(&self) -> String {
        let mut text = format!("| {}, {} |", self.what, self.unit);
        for server in &self.servers {
            let _ = write!(text, " {server} |");
        }
        text += "\n|---|";
        text += &"---|".repeat(self.servers.len());
        text.push('\n');
        for (name, cells) in &self.rows {
            let _ = write!(text, "| {name} |");
            for cell in cells {
                match cell {
                    Some(cell) => {
                        let _ = write!(text, " {} |", shown(cell));
                    }
                    None => text += " |",
                }
            }
            text.push('\n');
        }
        text
    }

    fn chart(&self) -> Chart {
        let bars = |(side, name): (usize, &String)| Bars {
            name: name.clone(),
            values: self
                .rows
                .iter()
                .map(|(_, cells)| cells[side].map(|cell| [cell.low, cell.median, cell.high]))
                .collect(),
        };
        Chart {
            title: self.what.clone(),
            x: Axis::default(),
            y: Axis { name: self.unit.to_owned(), is_logarithmic: self.is_logarithmic },
            shows: Shows::Bars {
                groups: self.rows.iter().map(|(name, _)| name.clone()).collect(),
                bars: self.servers.iter().enumerate().map(bars).collect(),
            },
        }
    }
}

/// The median, and between what half of all lies.
fn shown(numbers: &Quartiles) -> String {
    let Quartiles { low, median, high } = *numbers;
    let digits = match median.abs() {
        size if size < 10.0 => 2,
        size if size < 100.0 => 1,
        _ => 0,
    };
    format!("{median:.digits$} ({low:.digits$} to {high:.digits$})")
}

#[derive(Default)]
pub(crate) struct Report {
    pub(crate) budgets: Vec<Budget>,
    pub(crate) tables: Vec<Table>,
    pub(crate) notes: Vec<String>,
}

impl Report {
    pub(crate) fn is_kept(&self) -> bool {
        self.budgets.iter().all(Budget::is_kept)
    }

    /// Leaves `compare.md` and its charts, and prints the former.
    ///
    /// # Errors
    /// The file that cannot be written, or a chart that cannot be drawn.
    pub(crate) fn write(&self, options: &Options) -> Result<(), String> {
        let out = &options.out;
        std::fs::create_dir_all(out).map_err(|error| format!("{}: {error}", out.display()))?;
        let mut text = "| budget | measured | at most | |\n|---|---|---|---|\n".to_owned();
        for budget in &self.budgets {
            let Budget { what, measured, most, unit } = budget;
            let word = if budget.is_kept() { "kept" } else { "**not kept**" };
            let _ = writeln!(
                text,
                "| {what} | {} {unit} | {most:.2} {unit} | {word} |",
                shown(measured)
            );
        }
        for table in &self.tables {
            let name = format!("compare-{}.svg", table.id);
            let file = out.join(&name);
            std::fs::write(&file, table.chart().svg()?)
                .map_err(|error| format!("{}: {error}", file.display()))?;
            let _ = write!(text, "\n![{}](compare/{name})\n\n{}", table.what, table.text());
        }
        for note in &self.notes {
            let _ = write!(text, "\n{note}\n");
        }
        println!("\n{text}");
        let page = out.join("compare.md");
        std::fs::write(&page, text).map_err(|error| format!("{}: {error}", page.display()))
    }
}
