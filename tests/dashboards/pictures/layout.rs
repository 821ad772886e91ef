//! The layout of a dashboard: its rows, and its panels where they lie, each with its title, its unit, its kind of
//! graph, what its lines are and where it leads.

use serde_json::Value;

use super::svg::{Anchor, Svg};

/// Pixels of a column and of a line of Grafana's grid, and around it.
const COLUMN: u32 = 42;
const LINE: u32 = 14;
const MARGIN: u32 = 12;
/// Grafana's grid.
const COLUMNS: u32 = 24;
/// What the title of the dashboard takes.
const HEAD: u32 = 44;
/// Between two panels.
const GAP: u32 = 4;

const PANEL: &str = r##"rx="3" fill="#ffffff" stroke="#d0d4da""##;
const STRONG: &str = r##"font-weight="600" fill="#24292e""##;
const WEAK: &str = r##"fill="#6b7280""##;
const LINE_STYLE: &str = r##"fill="none" stroke="#3274d9" stroke-width="1.5""##;
const AREA_STYLE: &str = r##"fill="#c9dcf7" stroke="none""##;
const BAR_STYLE: &str = r##"rx="1" fill="#8fb8ec""##;
/// The heights of a line that stands for any, in hundredths of its room.
const SHAPE: [u32; 9] = [30, 42, 36, 60, 52, 74, 46, 58, 50];
/// The lengths of bars that stand for any, in hundredths of theirs.
const BARS: [u32; 4] = [90, 62, 38, 20];

/// Draws a dashboard.
///
/// # Errors
/// A panel without a place, or of a kind that has no picture.
pub(super) fn draw(dashboard: &Value) -> Result<String, String> {
    let panels = dashboard["panels"].as_array().ok_or("no panels")?;
    let places = panels.iter().map(place).collect::<Result<Vec<_>, _>>()?;
    let lines = places.iter().map(|place| place.1 + place.3).max().unwrap_or_default();
    let width = COLUMNS * COLUMN + 2 * MARGIN;
    let mut svg = Svg::new(width, HEAD + lines * LINE + MARGIN);
    let (title, about) = (text(dashboard, "title"), text(dashboard, "description"));
    let room = width - 2 * MARGIN;
    svg.text((MARGIN, 20), Anchor::Start, 15, room, STRONG, title);
    svg.text((MARGIN, 36), Anchor::Start, 10, room, WEAK, about);
    for (panel, (x, y, w, h)) in panels.iter().zip(places) {
        let at = (MARGIN + x * COLUMN, HEAD + y * LINE);
        if text(panel, "type") == "row" {
            let title = format!("▾ {}", text(panel, "title"));
            svg.text((at.0, at.1 + LINE - 3), Anchor::Start, 11, room, STRONG, &title);
        } else {
            one(&mut svg, panel, at, (w * COLUMN - GAP, h * LINE - GAP))?;
        }
    }
    Ok(svg.end(&format!("The layout of the dashboard {title:?}")))
}

/// Its column and line, and how many of them it takes.
fn place(panel: &Value) -> Result<(u32, u32, u32, u32), String> {
    let at = |key: &str| {
        let number = panel["gridPos"][key].as_u64().and_then(|number| u32::try_from(number).ok());
        number.ok_or_else(|| format!("{} has no {key}", panel["title"]))
    };
    Ok((at("x")?, at("y")?, at("w")?, at("h")?))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn one(svg: &mut Svg, panel: &Value, at: (u32, u32), size: (u32, u32)) -> Result<(), String> {
    let ((x, y), (w, h)) = (at, size);
    svg.rectangle(at, size, PANEL);
    let unit = unit(text(&panel["fieldConfig"]["defaults"], "unit"));
    let room = w - 12;
    svg.text((x + 6, y + 13), Anchor::Start, 10, room, STRONG, text(panel, "title"));
    svg.text((x + w - 6, y + h - 5), Anchor::End, 8, room / 2, WEAK, unit);
    // Between the title and the line at the bottom.
    let (left, top, wide, high) = (x + 8, y + 20, w - 16, h.saturating_sub(36));
    match text(panel, "type") {
        "timeseries" => {
            let step = wide / (SHAPE.len() as u32 - 1);
            let point = |(index, height): (usize, &u32)| {
                (left + index as u32 * step, top + high - high * height / 100)
            };
            let line: Vec<(u32, u32)> = SHAPE.iter().enumerate().map(point).collect();
            let right = left + (SHAPE.len() as u32 - 1) * step;
            if panel["fieldConfig"]["defaults"]["custom"]["stacking"]["mode"] == "normal" {
                let ground = [(right, top + high), (left, top + high)];
                svg.path(&[line.as_slice(), &ground].concat(), AREA_STYLE);
            }
            svg.path(&line, LINE_STYLE);
        }
        "bargauge" => {
            let step = (high / BARS.len() as u32).max(3);
            for (index, length) in BARS.iter().enumerate() {
                let bar = (left, top + index as u32 * step);
                svg.rectangle(bar, (wide * length / 100, step - 2), BAR_STYLE);
            }
        }
        "stat" => svg.text((x + w / 2, y + h / 2 + 10), Anchor::Middle, 20, room, WEAK, "123"),
        other => {
            return Err(format!("{} is a {other:?}, of which there is no picture", panel["title"]));
        }
    }
    let names = panel["targets"].as_array().map_or(&[][..], Vec::as_slice).iter();
    let names: Vec<String> = names
        .map(|target| text(target, "legendFormat").replace("{{", "‹").replace("}}", "›"))
        .collect();
    svg.text((x + 6, y + h - 5), Anchor::Start, 8, room * 6 / 10, WEAK, &names.join(", "));
    Ok(())
}

/// A unit of Grafana's in words.
fn unit(unit: &str) -> &str {
    match unit {
        "reqps" => "requests/s",
        "ops" => "operations/s",
        "cps" => "times/s",
        "Bps" => "bytes/s",
        "s" => "seconds",
        "percentunit" => "share in %",
        "short" => "number",
        other => other,
    }
}

#[test]
fn a_panel_of_a_kind_without_a_picture_is_named() {
    let dashboard = serde_json::json!({"panels": [
        {"type": "pie", "title": "Cake", "gridPos": {"x": 0, "y": 0, "w": 4, "h": 8}},
    ]});
    let why = draw(&dashboard).expect_err("there is no picture of a pie");
    assert_eq!(why, "\"Cake\" is a \"pie\", of which there is no picture");
}
