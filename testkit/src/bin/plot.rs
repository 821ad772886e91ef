//! Draws charts that other programs describe: `plot FILE.json...` writes `FILE.svg` beside each. What a description
//! says
//! is `dipylon_testkit::plot::Chart`.

use std::path::Path;
use std::process::ExitCode;

use dipylon_testkit::plot::Chart;

fn main() -> ExitCode {
    for file in std::env::args().skip(1) {
        if let Err(why) = draw(Path::new(&file)) {
            eprintln!("plot: {file}: {why}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn draw(file: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let chart: Chart = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    std::fs::write(file.with_extension("svg"), chart.svg()?).map_err(|error| error.to_string())
}
