//! A plot of lines over two axes in powers of ten, as SVG. The same points are the same bytes.

use std::fmt::Write as _;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
/// The frame: left, top, right, bottom.
const FRAME: [f64; 4] = [70.0, 40.0, 600.0, 310.0];
const COLOURS: [&str; 4] = ["#1f60c4", "#c4162a", "#37872d", "#8f3bb8"];

/// One line: its name and its points.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// The powers of ten between which these values lie.
fn decades(values: impl Iterator<Item = f64>) -> (i32, i32) {
    let (low, high) = values
        .fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
    let low = low.max(1e-9).log10().floor() as i32;
    let high = high.max(1e-9).log10().ceil() as i32;
    (low, high.max(low + 1))
}

/// A power of ten as people write it.
fn written(power: i32) -> String {
    match power {
        ..0 => format!("{:.*}", power.unsigned_abs() as usize, 10f64.powi(power)),
        0..3 => format!("{}", 10_i64.pow(power.unsigned_abs())),
        3..6 => format!("{},000", 10_i64.pow(power.unsigned_abs() - 3)),
        6..9 => format!("{} M", 10_i64.pow(power.unsigned_abs() - 6)),
        _ => format!("{} G", 10_i64.pow(power.unsigned_abs() - 9)),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The picture of these lines; every value is more than nothing.
pub(crate) fn svg(title: &str, [x_name, y_name]: [&str; 2], lines: &[Line]) -> String {
    let points = || lines.iter().flat_map(|line| &line.points);
    let (x_low, x_high) = decades(points().map(|(x, _)| *x));
    let (y_low, y_high) = decades(points().map(|(_, y)| *y));
    let [left, top, right, bottom] = FRAME;
    let part = |value: f64, low: i32, high: i32| {
        (value.max(1e-9).log10() - f64::from(low)) / f64::from(high - low)
    };
    let x_at = |x: f64| left + (right - left) * part(x, x_low, x_high);
    let y_at = |y: f64| bottom - (bottom - top) * part(y, y_low, y_high);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
         height=\"{HEIGHT}\" font-family=\"system-ui, sans-serif\" font-size=\"12\">\n\
         <title>{title}</title>\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#f4f5f5\"/>\n\
         <text x=\"{left}\" y=\"20\" font-size=\"14\" fill=\"#24292e\">{title}</text>\n",
        title = escaped(title)
    );
    let mut draw = |what: String| {
        svg.push_str(&what);
        svg.push('\n');
    };
    for power in x_low..=x_high {
        let x = x_at(10f64.powi(power));
        draw(format!(
            "<path d=\"M{x:.1} {top}V{bottom}\" stroke=\"#d0d4d8\"/><text x=\"{x:.1}\" y=\"{:.1}\" \
             text-anchor=\"middle\" fill=\"#57606a\">{}</text>",
            bottom + 16.0,
            written(power)
        ));
    }
    for power in y_low..=y_high {
        let y = y_at(10f64.powi(power));
        draw(format!(
            "<path d=\"M{left} {y:.1}H{right}\" stroke=\"#d0d4d8\"/><text x=\"{:.1}\" y=\"{:.1}\" \
             text-anchor=\"end\" fill=\"#57606a\">{}</text>",
            left - 6.0,
            y + 4.0,
            written(power)
        ));
    }
    draw(format!(
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#24292e\">{}</text>",
        (left + right) / 2.0,
        bottom + 36.0,
        escaped(x_name)
    ));
    draw(format!(
        "<text transform=\"translate(16 {:.1}) rotate(-90)\" text-anchor=\"middle\" fill=\"#24292e\">{}</text>",
        (top + bottom) / 2.0,
        escaped(y_name)
    ));
    for (number, line) in lines.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let mut path = String::new();
        for (at, (x, y)) in line.points.iter().enumerate() {
            let letter = if at == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{letter}{:.1} {:.1}", x_at(*x), y_at(*y));
        }
        draw(format!("<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"));
        for (x, y) in &line.points {
            let (x, y) = (x_at(*x), y_at(*y));
            draw(format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>"));
        }
        draw(format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{}</text>",
            left + 10.0,
            top + 16.0 + 16.0 * number as f64,
            escaped(&line.name)
        ));
    }
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_go_from_one_power_of_ten_to_another() {
        assert_eq!(decades([3.0, 250.0].into_iter()), (0, 3));
        assert_eq!(decades([0.02, 0.02].into_iter()), (-2, -1));
        assert_eq!(decades([1.0, 1.0].into_iter()), (0, 1));
        let said = [-2, 0, 2, 4, 6, 9].map(written);
        assert_eq!(said, ["0.01", "1", "100", "10,000", "1 M", "1 G"]);
    }

    #[test]
    fn a_point_stands_where_its_powers_say() {
        let line = Line { name: "a<b".to_owned(), points: vec![(1.0, 10.0), (100.0, 100.0)] };
        let picture = svg("title", ["x", "y"], &[line]);
        assert!(picture.contains("<path d=\"M70.0 310.0L600.0 40.0\""), "{picture}");
        assert!(picture.contains("a&lt;b"), "{picture}");
    }
}
