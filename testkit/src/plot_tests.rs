use super::*;

fn lines(points: Vec<(f64, f64)>) -> Chart {
    Chart {
        title: "what a request costs".to_owned(),
        x: Axis { name: "connections".to_owned(), is_logarithmic: true },
        y: Axis { name: "µs".to_owned(), is_logarithmic: false },
        shows: Shows::Lines(vec![Line { name: "ours".to_owned(), points }]),
    }
}

#[test]
fn a_line_has_its_title_its_axes_and_its_name() {
    let chart = lines(vec![(1.0, 12.0), (10.0, 9.0), (10_000.0, 31.0)]);
    let svg = chart.svg().unwrap();
    for text in ["what a request costs", "connections", "µs", "ours", "10k", "<polyline"] {
        assert!(svg.contains(text), "{text} is missing in {svg}");
    }
    assert_eq!(svg.matches("<circle").count(), 3);
    assert_eq!(svg, chart.svg().unwrap());
}

#[test]
fn bars_are_drawn_where_there_is_a_number() {
    let told = r#"{"title": "crawl", "x": {"name": ""}, "y": {"name": "s", "is_logarithmic": true},
        "shows": {"bars": {"groups": ["plain", "slow"], "bars": [
            {"name": "straight", "values": [[0.1, 0.2, 0.3], [3.0, 4.0, 5.0]]},
            {"name": "through", "values": [[0.5, 0.6, 0.7], null]}]}}}"#;
    let chart: Chart = serde_json::from_str(told).unwrap();
    let svg = chart.svg().unwrap();
    for text in ["plain", "slow", "straight", "through", "0.6"] {
        assert!(svg.contains(text), "{text} is missing in {svg}");
    }
    let bars = COLOURS[..2].iter().map(|colour| {
        let RGBColor(r, g, b) = colour;
        svg.matches(&format!("fill=\"#{r:02X}{g:02X}{b:02X}\" stroke=\"none\"")).count()
    });
    assert_eq!(bars.collect::<Vec<_>>(), [2, 1], "{svg}");
}

#[test]
fn what_shows_nothing_is_an_error() {
    assert!(lines(Vec::new()).svg().unwrap_err().contains("nothing to show"));
    assert!(lines(vec![(1.0, f64::NAN)]).svg().unwrap_err().contains("a number that is none"));
}

#[test]
fn numbers_are_short() {
    let all = [
        (0.25, "0.25"),
        (1.0, "1"),
        (12.34, "12.3"),
        (10_000.0, "10k"),
        (2.5e6, "2.5M"),
        (100.0, "100"),
    ];
    for (number, want) in all {
        assert_eq!(short(number), want);
    }
    assert_eq!([0.7, 1.2, 34.0].map(round_step), [1.0, 2.0, 50.0]);
}
