//! Servers that suites need and no Linux package holds: built once by package name, with the ordinary
//! `go` client, and kept in a cache folder outside the repository.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Seconds that a whole build may take; a cold module cache on two slow cores needs about ten minutes.
const BUILD_LIMIT_SECS: u64 = 45 * 60;
/// Compilers at one time: the suites' own builds go on meanwhile.
const GO_BUILD_JOBS: &str = "1";

/// One server.
struct Server {
    /// The word after `needs` in a reason, and the first part of the file's name.
    name: &'static str,
    /// The version, as its packages have it; part of the file's name, so that a new one is built anew.
    version: &'static str,
    /// Builds it from this folder into that file.
    build: fn(&Path, &Path) -> Result<(), String>,
}

const SERVERS: &[Server] =
    &[Server { name: "otelcol", version: OTELCOL_VERSION, build: build_otelcol }];

/// The file of a server that has been built, else what to do.
///
/// # Errors
/// One line: there is no such server, or it is not built yet.
pub(crate) fn find(name: &str) -> Result<PathBuf, String> {
    let server = server(name)?;
    let path = file(server)?;
    if path.is_file() {
        return Ok(path);
    }
    Err(format!("{name} is not in {}: build it with `cargo xtask stack {name}`", path.display()))
}

/// The file of a server, built now if it is not there.
///
/// # Errors
/// One line: what could not be built, and the last thing that `go` said.
pub(crate) fn ensure(name: &str) -> Result<PathBuf, String> {
    let server = server(name)?;
    let path = file(server)?;
    if path.is_file() {
        return Ok(path);
    }
    println!("building {name} {} into {} (minutes)", server.version, path.display());
    let folder = folder()?;
    let work = folder.join(format!("build-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&work).map_err(|error| format!("{}: {error}", work.display()))?;
    let built = work.join("built");
    let result = (server.build)(&work, &built).and_then(|()| {
        // A half-written program never stands under the final name.
        std::fs::rename(&built, &path).map_err(|error| format!("{}: {error}", path.display()))
    });
    let removed = std::fs::remove_dir_all(&work);
    result?;
    removed.map_err(|error| format!("{} cannot be removed: {error}", work.display()))?;
    Ok(path)
}

fn server(name: &str) -> Result<&'static Server, String> {
    let known: Vec<&str> = SERVERS.iter().map(|server| server.name).collect();
    SERVERS
        .iter()
        .find(|server| server.name == name)
        .ok_or_else(|| format!("no server {name:?} is known: there are {}", known.join(", ")))
}

fn file(server: &Server) -> Result<PathBuf, String> {
    Ok(folder()?.join(format!("{}-{}", server.name, server.version)))
}

/// `$XDG_CACHE_HOME/dipylon-stack`, else `~/.cache/dipylon-stack`. The suites look in the same place.
fn folder() -> Result<PathBuf, String> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let cache = set("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".cache")));
    let cache = cache.ok_or("neither XDG_CACHE_HOME nor HOME is set: there is no cache folder")?;
    Ok(cache.join("dipylon-stack"))
}

/// Writes one input of a build.
fn write(folder: &Path, name: &str, text: &str) -> Result<(), String> {
    let path = folder.join(name);
    std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Runs a step of a build in `folder`, within [`BUILD_LIMIT_SECS`].
fn run(folder: &Path, program: &str, args: &[&str]) -> Result<(), String> {
    let mut command = Command::new("timeout");
    command.arg("--kill-after=5s").arg(format!("{BUILD_LIMIT_SECS}s")).arg(program).args(args);
    command.current_dir(folder).stdin(std::process::Stdio::null());
    command.env("GOFLAGS", "-buildvcs=false").env("GOBIN", folder);
    let output = command.output().map_err(|error| format!("{program} cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().last().unwrap_or("it said nothing");
    Err(format!("{program} {} failed: {last}", args.join(" ")))
}

// === The OpenTelemetry collector: OTLP in, a file of JSON lines out ===

const OTELCOL_VERSION: &str = "0.160.0";

/// What the collector's own builder is told.
const OTELCOL_PARTS: &str = "\
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
const OTELCOL_GO_MOD: &str = "\
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

fn build_otelcol(work: &Path, built: &Path) -> Result<(), String> {
    let builder = format!("go.opentelemetry.io/collector/cmd/builder@v{OTELCOL_VERSION}");
    run(work, "go", &["install", "-p", GO_BUILD_JOBS, &builder])?;
    write(work, "parts.yaml", OTELCOL_PARTS)?;
    let written = ["--config", "parts.yaml", "--skip-compilation", "--skip-get-modules"];
    run(work, &work.join("builder").display().to_string(), &written)?;
    write(work, "src/go.mod", OTELCOL_GO_MOD)?;
    let out = built.display().to_string();
    let args = ["build", "-p", GO_BUILD_JOBS, "-mod=mod", "-trimpath", "-o", &out, "."];
    run(&work.join("src"), "go", &args)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_server_is_refused_with_the_known_ones() {
        let refused = ensure("unicorn").unwrap_err();
        assert_eq!(refused, "no server \"unicorn\" is known: there are otelcol");
    }

    #[test]
    fn a_failed_step_says_what_failed() {
        let refused = run(Path::new("."), "sh", &["-c", "echo one >&2; echo two >&2; exit 1"]);
        assert_eq!(refused, Err("sh -c echo one >&2; echo two >&2; exit 1 failed: two".to_owned()));
    }

    #[test]
    fn the_version_is_part_of_the_name() {
        let path = file(server("otelcol").unwrap()).unwrap();
        assert!(path.ends_with("dipylon-stack/otelcol-0.160.0"), "{}", path.display());
    }
}
