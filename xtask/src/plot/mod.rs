//! Plots: lines, points and steps over one axis, as SVG. Only the standard library is used.
//!
//! The colours are told apart by most who see colours differently, and each series has a dash of its own too. The
//! background is white, so that a plot can be read on a dark page as well.

mod axis;

use std::fmt::Write as _;

use axis::Axis;

/// Size of a plot, and what is left around its area for words.
const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 66.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 54.0;
const BOTTOM: f64 = 44.0;
/// Series that one plot can show; more cannot be told apart.
const MAX_SERIES: usize = 8;
/// Points of one series: more are thinned, since no screen shows them.
const MAX_POINTS: usize = 2_000;
const COLOURS: [&str; MAX_SERIES] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#8c6d00", "#000000", "#7f7f7f"];
const DASHES: [&str; MAX_SERIES] = ["", "7 3", "2 3", "9 3 2 3", "", "5 5", "1 4", "12 4"];

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drawn {
    Line,
    /// A circle at each value: what was measured.
    Points,
    /// Both.
    LineOfPoints,
}

/// Values over the axis.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) drawn: Drawn,
    pub(crate) points: Vec<(f64, f64)>,
}

/// A plot.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plot {
    pub(crate) title: String,
    pub(crate) x: String,
    pub(crate) y: String,
    /// Values in powers of ten, for what spans some of them.
    pub(crate) logarithmic: bool,
    /// The axis too.
    pub(crate) logarithmic_x: bool,
    pub(crate) series: Vec<Series>,
    /// What happened at a place of the axis.
    pub(crate) marks: Vec<(f64, String)>,
    /// What a value should not pass.
    pub(crate) limit: Option<f64>,
}

impl Plot {
    pub(crate) fn new(title: &str, x: &str, y: &str) -> Self {
        Self { title: title.to_owned(), x: x.to_owned(), y: y.to_owned(), ..Self::default() }
    }

    /// Adds a line.
    pub(crate) fn line(mut self, name: &str, points: Vec<(f64, f64)>) -> Self {
        self.series.push(Series { name: name.to_owned(), drawn: Drawn::Line, points });
        self
    }

    /// Adds a line with a circle at each value.
    pub(crate) fn line_of_points(mut self, name: &str, points: Vec<(f64, f64)>) -> Self {
        self.series.push(Series { name: name.to_owned(), drawn: Drawn::LineOfPoints, points });
        self
    }

    /// Adds circles.
    pub(crate) fn points(mut self, name: &str, points: Vec<(f64, f64)>) -> Self {
        self.series.push(Series { name: name.to_owned(), drawn: Drawn::Points, points });
        self
    }

    /// Whether there is anything to see.
    pub(crate) fn is_empty(&self) -> bool {
        self.series.iter().all(|series| series.points.is_empty())
    }

    pub(crate) fn svg(&self) -> String {
        let shown = &self.series[..self.series.len().min(MAX_SERIES)];
        let all = || shown.iter().flat_map(|series| series.points.iter().copied());
        let marks = self.marks.iter().map(|(x, _)| *x);
        let x = Axis::over(all().map(|(x, _)| x).chain(marks), false, self.logarithmic_x);
        let y = Axis::over(all().map(|(_, y)| y).chain(self.limit), true, self.logarithmic);
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"11\" role=\"img\">\n<title>{0}</title>\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
             <text x=\"{LEFT}\" y=\"16\" font-size=\"13\" font-weight=\"bold\">{0}</text>\n",
            escaped(&self.title)
        );
        grid(&mut out, &x, &y);
        self.words(&mut out);
        self.happened(&mut out, &x);
        if let Some(limit) = self.limit {
            let at = down(&y, limit);
            let _ = writeln!(
                out,
                "<path d=\"M{LEFT} {at:.1}H{:.1}\" stroke=\"#b00020\" stroke-dasharray=\"4 2\"/>",
                WIDTH - RIGHT
            );
        }
        for (index, series) in shown.iter().enumerate() {
            draw(&mut out, series, index, &x, &y);
        }
        legend(&mut out, shown);
        out.push_str("</svg>\n");
        out
    }

    fn words(&self, out: &mut String) {
        let (middle, bottom) = ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 8.0);
        let (x, y) = (escaped(&self.x), escaped(&self.y));
        let _ =
            writeln!(out, "<text x=\"{middle}\" y=\"{bottom}\" text-anchor=\"middle\">{x}</text>");
        let middle = (TOP + HEIGHT - BOTTOM) / 2.0;
        let _ = writeln!(
            out,
            "<text transform=\"translate(13 {middle}) rotate(-90)\" text-anchor=\"middle\">{y}</text>"
        );
    }

    fn happened(&self, out: &mut String, x: &Axis) {
        for (at, what) in &self.marks {
            let at = across(x, *at);
            let bottom = HEIGHT - BOTTOM;
            let _ = writeln!(
                out,
                "<path d=\"M{at:.1} {TOP}V{bottom}\" stroke=\"#888\" stroke-dasharray=\"3 3\"/>\n\
                 <text transform=\"translate({:.1} {}) rotate(-90)\" font-size=\"9\" fill=\"#555\" \
                 text-anchor=\"end\">{}</text>",
                at - 3.0,
                TOP + 2.0,
                escaped(what)
            );
        }
    }
}

fn across(axis: &Axis, value: f64) -> f64 {
    LEFT + axis.place(value) * (WIDTH - LEFT - RIGHT)
}

fn down(axis: &Axis, value: f64) -> f64 {
    HEIGHT - BOTTOM - axis.place(value) * (HEIGHT - TOP - BOTTOM)
}

fn grid(out: &mut String, x: &Axis, y: &Axis) {
    let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
    for (value, word) in y.ticks() {
        let at = down(y, value);
        let _ = writeln!(
            out,
            "<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"#ddd\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{word}</text>",
            LEFT - 5.0,
            at + 4.0
        );
    }
    for (value, word) in x.ticks() {
        let at = across(x, value);
        let _ = writeln!(
            out,
            "<path d=\"M{at:.1} {bottom}v4\" stroke=\"#888\"/>\
             <text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{word}</text>",
            bottom + 16.0
        );
    }
    let _ =
        writeln!(out, "<path d=\"M{LEFT} {TOP}V{bottom}H{right}\" stroke=\"#888\" fill=\"none\"/>");
}

fn draw(out: &mut String, series: &Series, index: usize, x: &Axis, y: &Axis) {
    let step = series.points.len().div_ceil(MAX_POINTS).max(1);
    let places = series.points.iter().step_by(step).filter(|(x, y)| x.is_finite() && y.is_finite());
    let places = places.map(|(at, value)| (across(x, *at), down(y, *value)));
    let places: Vec<(f64, f64)> = places.collect();
    let colour = COLOURS[index];
    if series.drawn != Drawn::Points {
        let words: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" \
             stroke-dasharray=\"{}\"/>",
            words.join(" "),
            DASHES[index]
        );
    }
    if series.drawn != Drawn::Line {
        for (x, y) in places {
            let _ = writeln!(
                out,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"#fff\" stroke=\"{colour}\" \
                 stroke-width=\"2\"/>"
            );
        }
    }
}

fn legend(out: &mut String, shown: &[Series]) {
    let room = (WIDTH - LEFT - RIGHT) / 4.0;
    for (index, series) in shown.iter().enumerate() {
        let (column, row) = ((index % 4) as f64, (index / 4) as f64);
        let (x, y) = (LEFT + column * room, 31.0 + row * 13.0);
        let mark = match series.drawn {
            Drawn::Line | Drawn::LineOfPoints => format!(
                "<path d=\"M{x} {:.1}h20\" stroke=\"{}\" stroke-width=\"2\" stroke-dasharray=\"{}\"/>",
                y - 4.0,
                COLOURS[index],
                DASHES[index]
            ),
            Drawn::Points => format!(
                "<circle cx=\"{}\" cy=\"{:.1}\" r=\"4\" fill=\"#fff\" stroke=\"{}\" stroke-width=\"2\"/>",
                x + 10.0,
                y - 4.0,
                COLOURS[index]
            ),
        };
        let name = escaped(&series.name);
        let _ = writeln!(out, "{mark}<text x=\"{}\" y=\"{y:.1}\">{name}</text>", x + 25.0);
    }
}

/// A text of XML.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_shows_its_series_marks_and_limit() {
        let mut plot = Plot::new("a < b", "seconds", "ms")
            .line("one", vec![(0.0, 1.0), (10.0, 4.0), (11.0, f64::NAN)])
            .points("two", vec![(5.0, 2.0)]);
        plot.marks.push((3.0, "killed".to_owned()));
        plot.limit = Some(3.0);
        let svg = plot.svg();
        assert!(svg.contains("<title>a &lt; b</title>"), "{svg}");
        assert_eq!(svg.matches("<polyline").count(), 1);
        // One in the area, one in the legend.
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.contains("killed") && svg.contains("#b00020"));
        assert!(!svg.contains("NaN"), "{svg}");
    }

    #[test]
    fn a_line_of_points_stands_where_its_powers_say() {
        let points = vec![(1.0, 10.0), (100.0, 100.0)];
        let plot = Plot::new("t", "x", "y").line_of_points("a", points);
        let svg = Plot { logarithmic: true, logarithmic_x: true, ..plot }.svg();
        let (left, right) = (LEFT, WIDTH - RIGHT);
        let (bottom, top) = (HEIGHT - BOTTOM, TOP);
        assert!(svg.contains(&format!("\"{left:.1} {bottom:.1} {right:.1} {top:.1}\"")), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 2);
    }

    #[test]
    fn a_plot_of_nothing_is_drawn_all_the_same() {
        let plot = Plot::new("nothing", "x", "y");
        assert!(plot.is_empty());
        assert!(plot.svg().ends_with("</svg>\n"));
    }
}
