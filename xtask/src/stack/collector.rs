//! The OpenTelemetry collector, reduced to what the suites read: OTLP in, a file of JSON lines out.

use std::path::Path;

use super::install::{GO_BUILD, run, write};

pub(super) const VERSION: &str = "0.160.0";
/// The project's own builder, which writes the collector's sources.
pub(super) const BUILDER: &str = "go.opentelemetry.io/collector/cmd/builder";

/// What the collector's own builder is told.
const PARTS: &str = "\
dist: {name: otelcol-lite, module: local/otelcol-lite, output_path: ./src, version: 0.160.0}
receivers:
- gomod: go.opentelemetry.io/collector/receiver/otlpreceiver v0.160.0
exporters:
- gomod: go.opentelemetry.io/collector/exporter/debugexporter v0.160.0
- gomod: github.com/open-telemetry/opentelemetry-collector-contrib/exporter/fileexporter v0.160.0
processors:
- gomod: go.opentelemetry.io/collector/processor/batchprocessor v0.160.0
";

/// Written by hand: the builder's own `go mod tidy` also wants what only the parts' tests need.
const GO_MOD: &str = "\
module local/otelcol-lite

go 1.25.0

require (
\tgo.opentelemetry.io/collector/component v1.66.0
\tgo.opentelemetry.io/collector/confmap v1.66.0
\tgo.opentelemetry.io/collector/confmap/provider/envprovider v1.66.0
\tgo.opentelemetry.io/collector/confmap/provider/fileprovider v1.66.0
\tgo.opentelemetry.io/collector/confmap/provider/httpprovider v1.66.0
\tgo.opentelemetry.io/collector/confmap/provider/httpsprovider v1.66.0
\tgo.opentelemetry.io/collector/confmap/provider/yamlprovider v1.66.0
\tgo.opentelemetry.io/collector/otelcol v0.160.0
\tgo.opentelemetry.io/collector/receiver/otlpreceiver v0.160.0
\tgo.opentelemetry.io/collector/exporter/debugexporter v0.160.0
\tgo.opentelemetry.io/collector/processor/batchprocessor v0.160.0
\tgithub.com/open-telemetry/opentelemetry-collector-contrib/exporter/fileexporter v0.160.0
)
";

/// Builds it in the folder `work` into the file `built`.
pub(super) fn build(work: &Path, built: &Path) -> Result<(), String> {
    let builder = format!("{BUILDER}@v{VERSION}");
    run(work, "go", &["install", &builder])?;
    write(work, "parts.yaml", PARTS)?;
    let written = ["--config", "parts.yaml", "--skip-compilation", "--skip-get-modules"];
    run(work, &work.join("builder").display().to_string(), &written)?;
    write(work, "src/go.mod", GO_MOD)?;
    let out = built.display().to_string();
    let args = [GO_BUILD, &["-o", &out, "."]].concat();
    run(&work.join("src"), "nice", &args)
}
