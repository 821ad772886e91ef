//! `cargo xtask scaling`: how what a request costs grows with what is asked of the gateway, as pictures in
//! `docs/scaling/` and a table in `docs/performance.md`.

use std::fmt::Write as _;
use std::path::Path;

use crate::bench::{PAGE, machine, put};
use crate::plot::Plot;
use crate::step::{Tally, cargo, run_with, step};

/// What each line of the bench that is a point begins with.
const POINT: &str = "SCALING\t";
/// What the line about the machine begins with, where points are kept.
const MACHINE: &str = "MACHINE\t";
/// What the bench says of what it could not measure.
const LEFT_OUT: &str = "LEFT OUT: ";
const MARKS: [&str; 2] =
    ["<!-- scaling begins: written by `cargo xtask scaling` -->", "<!-- scaling ends -->"];

/// What is drawn: the name by which the bench knows it, the title, the axes.
struct Picture {
    name: &'static str,
    title: &'static str,
    axes: [&'static str; 2],
    /// A table alone where lines would say nothing.
    is_drawn: bool,
}

const PICTURES: &[Picture] = &[
    Picture {
        name: "connections",
        title: "CPU of a warm .info, by connections",
        axes: ["connections", "µs of CPU a request"],
        is_drawn: true,
    },
    Picture {
        name: "memory",
        title: "Resident memory, by connections",
        axes: ["connections", "MB"],
        is_drawn: true,
    },
    Picture {
        name: "cores",
        title: "One core and two, warm .info",
        axes: ["cores", ""],
        is_drawn: false,
    },
    Picture {
        name: "zips",
        title: "CPU of a warm zip, by its size",
        axes: ["bytes", "µs of CPU a request"],
        is_drawn: true,
    },
    Picture {
        name: "lists",
        title: "CPU of a list, by its versions",
        axes: ["versions of the module", "µs of CPU a request"],
        is_drawn: true,
    },
    Picture {
        name: "versions",
        title: "CPU of each .info of a store, by its versions",
        axes: ["stored versions", "µs of CPU a request"],
        is_drawn: true,
    },
    Picture {
        name: "kept",
        title: "Resident memory once all of them were asked for",
        axes: ["stored versions", "MB"],
        is_drawn: true,
    },
];

/// Where the points of the latest run are kept, so that they can be drawn anew.
const KEPT: &str = "target/scaling.txt";

/// Measures, draws and writes.
pub(crate) fn run(root: &Path) -> Tally {
    let machine = machine(root);
    let args = ["bench", "--package", "dipylon", "--bench", "scaling"];
    let ended = step("scaling", || run_with(root, &cargo(), &args, &[]));
    if !ended.good {
        return failed("the bench has failed");
    }
    let lines = ended.lines.iter().filter(|line| is_kept(line)).map(String::as_str);
    let mut text = format!("{MACHINE}{machine}\n");
    lines.for_each(|line| text += &format!("{line}\n"));
    if let Err(error) = std::fs::write(root.join(KEPT), text) {
        return failed(&format!("{KEPT}: {error}"));
    }
    draw(root)
}

/// Draws and writes what the latest run has measured.
pub(crate) fn draw(root: &Path) -> Tally {
    let kept = match std::fs::read_to_string(root.join(KEPT)) {
        Ok(kept) => kept,
        Err(error) => return failed(&format!("{KEPT}: {error}: run `cargo xtask scaling`")),
    };
    let lines: Vec<String> = kept.lines().map(str::to_owned).collect();
    let skipped = lines.iter().filter(|line| line.starts_with(LEFT_OUT)).count();
    let machine = lines.iter().find_map(|line| line.strip_prefix(MACHINE));
    match write(root, machine.unwrap_or("A machine that is not told."), &lines) {
        Ok(passed) => Tally { passed, skipped, ..Tally::default() },
        Err(why) => failed(&why),
    }
}

fn is_kept(line: &str) -> bool {
    line.starts_with(POINT) || line.starts_with(LEFT_OUT)
}

fn failed(why: &str) -> Tally {
    println!("FAILED: {why}");
    Tally { failed: 1, ..Tally::default() }
}

fn write(root: &Path, machine: &str, lines: &[String]) -> Result<usize, String> {
    let mut text = format!("{machine} `cargo xtask scaling`\n");
    for picture in PICTURES {
        let drawn = points(picture.name, lines)?;
        if drawn.is_empty() {
            return Err(format!("the bench says nothing of {}", picture.name));
        }
        text += &table(picture, &drawn);
        if picture.is_drawn {
            let file = format!("docs/scaling/{}.svg", picture.name);
            std::fs::write(root.join(&file), picture.plot(&drawn).svg())
                .map_err(|error| format!("{file}: {error}"))?;
        }
    }
    let path = root.join(PAGE);
    let page = std::fs::read_to_string(&path).map_err(|error| format!("{PAGE}: {error}"))?;
    let page = put(&page, MARKS, &text).ok_or(format!("{PAGE} lacks the marks of scaling"))?;
    std::fs::write(&path, page).map_err(|error| format!("{PAGE}: {error}"))?;
    Ok(PICTURES.len())
}

/// One line: its name and its points.
#[derive(Clone, Debug, Default, PartialEq)]
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

impl Picture {
    /// Every value is more than nothing, and they span many powers of ten.
    fn plot(&self, lines: &[Line]) -> Plot {
        let [x, y] = self.axes;
        let empty = Plot::new(self.title, x, y);
        let add = |plot: Plot, line: &Line| plot.line_of_points(&line.name, line.points.clone());
        Plot { logarithmic: true, logarithmic_x: true, ..lines.iter().fold(empty, add) }
    }
}

/// The lines of one picture, in the order in which the bench told their first points.
fn points(picture: &str, lines: &[String]) -> Result<Vec<Line>, String> {
    let mut found: Vec<Line> = Vec::new();
    for said in lines.iter().filter_map(|line| line.strip_prefix(POINT)) {
        let parsed = parse(said).ok_or(format!("the bench says what is no point: {said}"))?;
        let (of, name, point) = parsed;
        if of != picture {
            continue;
        }
        match found.iter_mut().find(|line| line.name == name) {
            Some(line) => line.points.push(point),
            None => found.push(Line { name: name.to_owned(), points: vec![point] }),
        }
    }
    Ok(found)
}

fn parse(said: &str) -> Option<(&str, &str, (f64, f64))> {
    let mut parts = said.split('\t');
    let [picture, line, x, y] = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
    Some((picture, line, (x.parse().ok()?, y.parse().ok()?)))
}

/// A row for each x.
fn table(picture: &Picture, lines: &[Line]) -> String {
    let [x_name, y_name] = picture.axes;
    let mut text = format!("\n**{}**", picture.title);
    if !y_name.is_empty() {
        let _ = write!(text, ", in {y_name}");
    }
    let _ = write!(text, "\n\n| {x_name} |");
    lines.iter().for_each(|line| text += &format!(" {} |", line.name));
    text += "\n|---|";
    lines.iter().for_each(|_| text += "---|");
    text.push('\n');
    let mut rows: Vec<f64> =
        lines.iter().flat_map(|line| &line.points).map(|point| point.0).collect();
    rows.sort_by(f64::total_cmp);
    rows.dedup();
    for x in rows {
        let _ = write!(text, "| {} |", grouped(x));
        for line in lines {
            let value = line.points.iter().find(|point| point.0 == x);
            let _ = write!(text, " {} |", value.map_or(String::new(), |point| shown(point.1)));
        }
        text.push('\n');
    }
    if picture.is_drawn {
        let _ = write!(text, "\n![{}](scaling/{}.svg)\n", picture.title, picture.name);
    }
    text
}

/// Three digits that mean something.
fn shown(value: f64) -> String {
    match value {
        ..10.0 => format!("{value:.2}"),
        ..100.0 => format!("{value:.1}"),
        _ => grouped(value),
    }
}

/// A whole number in groups of three digits.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said() -> Vec<String> {
        let lines = [
            "SCALING\tzips\tdipylon\t1000\t12.345",
            "what else is printed",
            "SCALING\tzips\tnginx\t1000\t8",
            "SCALING\tlists\tfrom memory\t10\t9",
            "SCALING\tzips\tdipylon\t1000000\t1234.5",
        ];
        lines.map(str::to_owned).to_vec()
    }

    #[test]
    fn points_are_gathered_by_picture_and_line() {
        let lines = points("zips", &said()).unwrap();
        assert_eq!(lines[0].points, [(1000.0, 12.345), (1_000_000.0, 1234.5)]);
        assert_eq!((lines.len(), lines[1].name.as_str()), (2, "nginx"));
        assert!(points("zips", &["SCALING\tzips\tdipylon\tmany\t1".to_owned()]).is_err());
    }

    #[test]
    fn a_table_has_a_row_for_each_x_and_holes_where_nothing_was_measured() {
        let picture = &PICTURES[3];
        let text = table(picture, &points("zips", &said()).unwrap());
        assert!(text.contains("| bytes | dipylon | nginx |\n|---|---|---|\n"), "{text}");
        assert!(text.contains("| 1,000 | 12.3 | 8.00 |\n| 1,000,000 | 1,234 |  |\n"), "{text}");
    }

    #[test]
    fn the_page_has_the_marks() {
        let page = std::fs::read_to_string(crate::workspace_root().join(PAGE)).unwrap();
        assert!(put(&page, MARKS, "").is_some());
    }
}
