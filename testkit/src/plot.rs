//! Charts as SVG: lines over a number, and bars side by side. The same numbers are the same bytes, so that a picture in
//! the docs changes only with what it shows. `src/bin/plot.rs` draws what it is told in JSON, for programs that do not
//! link this.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use serde::Deserialize;

/// Pixels.
const SIZE: (u32, u32) = (760, 380);
/// About so many lines across the picture.
const TICKS: f64 = 6.0;
/// Of the way between two groups of bars, what bars take.
const GROUP_WIDTH: f64 = 0.8;
/// Colours that people of all kinds of sight can tell apart, on white.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(90, 90, 90),
];

/// A picture.
#[derive(Clone, Debug, Deserialize)]
pub struct Chart {
    /// Stands above it.
    pub title: String,
    /// From left to right.
    pub x: Axis,
    /// From below.
    pub y: Axis,
    /// What it shows.
    pub shows: Shows,
}

/// An axis.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Axis {
    /// What it measures, with the unit.
    pub name: String,
    /// Each step is ten times the one before. What is not above zero is left out then.
    #[serde(default)]
    pub is_logarithmic: bool,
}

/// What a chart shows.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shows {
    /// Each a line with its points.
    Lines(Vec<Line>),
    /// Bars of each group side by side, one for each name.
    Bars {
        /// Below the bars, from left to right.
        groups: Vec<String>,
        /// One colour each.
        bars: Vec<Bars>,
    },
}

/// A line.
#[derive(Clone, Debug, Deserialize)]
pub struct Line {
    /// In the legend.
    pub name: String,
    /// From left to right.
    pub points: Vec<(f64, f64)>,
}

/// The bars of one colour.
#[derive(Clone, Debug, Deserialize)]
pub struct Bars {
    /// In the legend.
    pub name: String,
    /// One for each group: its height, and between what half of all that was measured lies. Nothing where it was not
    /// measured.
    pub values: Vec<Option<[f64; 3]>>,
}

impl Chart {
    /// Draws it.
    ///
    /// # Errors
    /// It has nothing to show, or a number that is none.
    pub fn svg(&self) -> Result<String, String> {
        let (xs, ys) = self.numbers();
        if xs.iter().chain(&ys).any(|number| !number.is_finite()) {
            return Err(format!("{}: a number that is none", self.title));
        }
        let scale = |axis: &Axis, numbers: &[f64], from_zero| {
            Scale::of(axis.is_logarithmic, numbers, from_zero)
                .ok_or_else(|| format!("{}: nothing to show", self.title))
        };
        let across = match &self.shows {
            Shows::Lines(_) => scale(&self.x, &xs, false)?,
            Shows::Bars { groups, .. } => Scale::of_groups(groups.len()),
        };
        let up = scale(&self.y, &ys, true)?;
        let mut text = String::new();
        self.draw(&mut text, &across, &up).map_err(|why| format!("{}: {why}", self.title))?;
        Ok(text)
    }

    /// All of each axis.
    fn numbers(&self) -> (Vec<f64>, Vec<f64>) {
        match &self.shows {
            Shows::Lines(lines) => {
                lines.iter().flat_map(|line| line.points.iter().copied()).unzip()
            }
            Shows::Bars { bars, .. } => {
                let values = bars.iter().flat_map(|bars| bars.values.iter().flatten());
                (Vec::new(), values.flatten().copied().collect())
            }
        }
    }

    fn draw(&self, text: &mut String, across: &Scale, up: &Scale) -> Result<(), String> {
        let said = |error: &dyn std::error::Error| error.to_string();
        let area = SVGBackend::with_string(text, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(|error| said(&error))?;
        let mut chart = ChartBuilder::on(&area)
            .caption(&self.title, ("sans-serif", 16))
            .margin(12)
            .x_label_area_size(46)
            .y_label_area_size(64)
            .build_cartesian_2d(across.clone(), up.clone())
            .map_err(|error| said(&error))?;
        let mut mesh = chart.configure_mesh();
        let (x_label, y_label) = (|x: &f64| self.below(across, *x), |y: &f64| up.label(*y));
        mesh.x_desc(&self.x.name)
            .y_desc(&self.y.name)
            .label_style(("sans-serif", 12))
            .light_line_style(TRANSPARENT)
            .bold_line_style(RGBColor(225, 225, 225))
            .x_labels(across.ticks.len().max(1))
            .y_labels(up.ticks.len().max(1))
            .x_label_formatter(&x_label)
            .y_label_formatter(&y_label);
        if matches!(self.shows, Shows::Bars { .. }) {
            mesh.disable_x_mesh();
        }
        mesh.draw().map_err(|error| said(&error))?;
        match &self.shows {
            Shows::Lines(lines) => {
                for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
                    let place = |&(x, y): &(f64, f64)| Some((across.at(x)?, up.at(y)?));
                    let points: Vec<_> = line.points.iter().filter_map(place).collect();
                    let dots = points.iter().map(|point| Circle::new(*point, 3, colour.filled()));
                    chart.draw_series(dots).map_err(|error| said(&error))?;
                    chart
                        .draw_series([PathElement::new(points, colour.stroke_width(2))])
                        .map_err(|error| said(&error))?
                        .label(&line.name)
                        .legend(|at| sample(at, colour));
                }
            }
            Shows::Bars { bars, .. } => {
                let width = GROUP_WIDTH / bars.len().max(1) as f64;
                for (number, (one, colour)) in bars.iter().zip(COLOURS.iter().cycle()).enumerate() {
                    let begins =
                        |group: usize| group as f64 - GROUP_WIDTH / 2.0 + number as f64 * width;
                    let found = || one.values.iter().enumerate();
                    let bar = |(group, value): (usize, &Option<[f64; 3]>)| {
                        let (left, top) = (begins(group), up.at((*value)?[1])?);
                        let corners = [(left, up.from), (left + width * 0.9, top)];
                        Some(Rectangle::new(corners, colour.filled()))
                    };
                    let rectangles: Vec<_> = found().filter_map(bar).collect();
                    chart
                        .draw_series(rectangles)
                        .map_err(|error| said(&error))?
                        .label(&one.name)
                        .legend(|at| sample(at, colour));
                    let spread = |(group, value): (usize, &Option<[f64; 3]>)| {
                        let ([low, _, high], x) = ((*value)?, begins(group) + width * 0.45);
                        Some(PathElement::new([(x, up.at(low)?), (x, up.at(high)?)], BLACK))
                    };
                    let lines: Vec<_> = found().filter_map(spread).collect();
                    chart.draw_series(lines).map_err(|error| said(&error))?;
                    let number = |(group, value): (usize, &Option<[f64; 3]>)| {
                        let [_, median, high] = (*value)?;
                        let style = ("sans-serif", 11).into_text_style(&area);
                        let style = style.pos(Pos::new(HPos::Center, VPos::Bottom));
                        let at = (begins(group) + width * 0.45, up.at(high.max(median))?);
                        Some(Text::new(short(median), at, style))
                    };
                    let numbers: Vec<_> = found().filter_map(number).collect();
                    chart.draw_series(numbers).map_err(|error| said(&error))?;
                }
            }
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .label_font(("sans-serif", 12))
            .draw()
            .map_err(|error| said(&error))?;
        area.present().map_err(|error| said(&error))
    }

    /// What stands below the picture.
    fn below(&self, across: &Scale, x: f64) -> String {
        match &self.shows {
            Shows::Lines(_) => across.label(x),
            Shows::Bars { groups, .. } => {
                groups.get(x.round() as usize).cloned().unwrap_or_default()
            }
        }
    }
}

/// A line of the colour, in the legend.
fn sample((x, y): (i32, i32), colour: &RGBColor) -> PathElement<(i32, i32)> {
    PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(3))
}

/// Where numbers stand, from one end to the other.
#[derive(Clone)]
struct Scale {
    from: f64,
    to: f64,
    is_logarithmic: bool,
    ticks: Vec<f64>,
}

impl Scale {
    fn of(is_logarithmic: bool, numbers: &[f64], from_zero: bool) -> Option<Self> {
        let shown = || numbers.iter().copied().filter(|number| !is_logarithmic || *number > 0.0);
        let (least, most) = (shown().reduce(f64::min)?, shown().reduce(f64::max)?);
        if is_logarithmic {
            let (from, mut to) = (least.log10().floor(), most.log10().ceil());
            if from >= to {
                to = from + 1.0;
            }
            let ticks = (0..=(to - from) as usize).map(|step| from + step as f64).collect();
            return Some(Self { from, to, is_logarithmic, ticks });
        }
        let from = if from_zero { least.min(0.0) } else { least };
        // Room above the highest for its number.
        let to = if most > from { from + (most - from) * 1.12 } else { from + 1.0 };
        let step = round_step((to - from) / TICKS);
        let first = (from / step).ceil();
        let count = ((to - first * step) / step).floor() as usize;
        let ticks = (0..=count).map(|number| (first + number as f64) * step).collect();
        Some(Self { from, to, is_logarithmic, ticks })
    }

    fn of_groups(count: usize) -> Self {
        let ticks = (0..count).map(|group| group as f64).collect();
        Self { from: -0.5, to: count.max(1) as f64 - 0.5, is_logarithmic: false, ticks }
    }

    fn at(&self, number: f64) -> Option<f64> {
        match self.is_logarithmic {
            true => (number > 0.0).then(|| number.log10()),
            false => Some(number),
        }
    }

    fn label(&self, at: f64) -> String {
        short(if self.is_logarithmic { 10_f64.powf(at) } else { at })
    }
}

impl Ranged for Scale {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (least, most): (i32, i32)) -> i32 {
        let part = (value - self.from) / (self.to - self.from);
        least + (part * f64::from(most - least)).round() as i32
    }

    /// The lines are ours; between them there are none.
    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.from..self.to
    }
}

/// The least of 1, 2 and 5 times a power of ten that is no less.
fn round_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0]
        .map(|times| times * power)
        .into_iter()
        .find(|one| *one >= step)
        .unwrap_or(10.0 * power)
}

/// Three digits, and a letter for thousands.
fn short(number: f64) -> String {
    let (value, letter) = match number.abs() {
        size if size >= 1e9 => (number / 1e9, "G"),
        size if size >= 1e6 => (number / 1e6, "M"),
        size if size >= 1e4 => (number / 1e3, "k"),
        _ => (number, ""),
    };
    let digits = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    let text =
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{letter}")
}

#[cfg(test)]
#[path = "plot_tests.rs"]
mod tests;
