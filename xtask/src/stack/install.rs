//! Installing a component: into a folder of its own first, proven to run, then under its final name.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::components::{Component, Kind, Launch};
use super::lock::alone;
use super::{cache_folder, collector};

/// Seconds that a whole build may take; a cold module cache on two slow cores needs about ten minutes.
const BUILD_LIMIT_SECS: u64 = 45 * 60;
/// Seconds that a program may take to say its version.
const PROOF_LIMIT_SECS: u64 = 30;
/// Seconds for another installer's hold on the package database.
const APT_LOCK: &str = "DPkg::Lock::Timeout=120";

/// What stands before the arguments of every build: kind to the other core's work, reproducible, and
/// with `-mod=mod`, since a scratch module's sums are looked up as it is built.
pub(super) const GO_BUILD: &[&str] =
    &["-n", "10", "go", "build", "-p", "2", "-mod=mod", "-trimpath"];

/// The component, installed now if it is not there.
///
/// # Errors
/// One line: the component, the step that failed and the last thing it said.
pub(crate) fn ensure(component: &'static Component) -> Result<Launch, String> {
    if let Ok(launch) = component.find() {
        return Ok(launch);
    }
    let cache = cache_folder()?;
    std::fs::create_dir_all(&cache).map_err(|error| format!("{}: {error}", cache.display()))?;
    let _alone = alone(&cache, component.name, Duration::from_secs(BUILD_LIMIT_SECS))?;
    // Another clone may have installed it while this one waited.
    if let Ok(launch) = component.find() {
        return Ok(launch);
    }
    eprintln!("installing {} from {} (may take minutes)", component.name, component.origin());
    let began = Instant::now();
    install(&cache, component).map_err(|error| format!("{}: {error}", component.name))?;
    eprintln!("installed {} in {:.0} s", component.name, began.elapsed().as_secs_f64());
    component.find()
}

fn install(cache: &Path, component: &Component) -> Result<(), String> {
    if let Kind::Apt { packages } = component.kind {
        apt(packages)?;
        return prove(&component.find()?, component.proof);
    }
    let work = cache.join(format!("build-{}", component.name));
    // Nobody else is at work here; what is there was left by an installer that was killed.
    remove(&work)?;
    std::fs::create_dir_all(&work).map_err(|error| format!("{}: {error}", work.display()))?;
    let result = build_and_place(&work, component);
    let removed = remove(&work);
    result.and(removed)
}

fn remove(folder: &Path) -> Result<(), String> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("{} cannot be removed: {error}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// A half-made or broken program never stands under the final name.
fn build_and_place(work: &Path, component: &Component) -> Result<(), String> {
    let built = work.join("built");
    build(work, &built, component)?;
    prove(&component.launch_in(&built), component.proof)?;
    let place = component.place()?;
    std::fs::rename(&built, &place).map_err(|error| format!("{}: {error}", place.display()))
}

fn build(work: &Path, built: &Path, component: &Component) -> Result<(), String> {
    let out = built.display().to_string();
    match component.kind {
        Kind::Apt { .. } => Ok(()),
        Kind::Go { module, package } => {
            checks_sums()?;
            write(work, "go.mod", &scratch_module(module, component.version))?;
            run(work, "nice", &[GO_BUILD, &["-o", &out, package]].concat())
        }
        Kind::GoMain { module, source } => {
            checks_sums()?;
            write(work, "go.mod", &scratch_module(module, component.version))?;
            write(work, "main.go", source)?;
            run(work, "nice", &[GO_BUILD, &["-o", &out, "."]].concat())
        }
        Kind::Collector => {
            checks_sums()?;
            collector::build(work, built)
        }
        Kind::Npm { package, beside, .. } => {
            let exact = format!("{package}@{}", component.version);
            // Nothing that a package would like to run at install time is needed here.
            let quiet = ["--no-fund", "--no-audit", "--ignore-scripts"];
            let install = ["install", "--prefix", &out, &exact];
            run(work, "npm", &[&install, beside, &quiet[..]].concat())
        }
        Kind::Pip { package } => {
            run(work, "python3", &["-m", "venv", &out])?;
            let exact = format!("{package}=={}", component.version);
            let pip = built.join("bin/pip").display().to_string();
            run(work, &pip, &["install", "--no-input", &exact])
        }
    }
}

/// `go install PROGRAM@VERSION` refuses a module that has `replace` lines, and wants a list of all
/// versions that not every mirror hands out. A module that requires the exact version needs neither.
fn scratch_module(module: &str, version: &str) -> String {
    format!("module scratch\n\ngo 1.25\n\nrequire {module} v{version}\n")
}

/// What is built is run, so the checksum database has its say.
fn checks_sums() -> Result<(), String> {
    let said = crate::step::ask(&std::env::temp_dir(), "go", &["env", "GOSUMDB"])
        .ok_or("no go command on PATH (Debian: apt-get install golang-go)")?;
    if said.trim() == "off" {
        return Err("GOSUMDB is off, so nothing vouches for what would be built: set it".to_owned());
    }
    Ok(())
}

/// Proves that a program runs on this machine.
fn prove(launch: &Launch, proof: &[&str]) -> Result<(), String> {
    let mut args: Vec<&str> = launch.before.iter().map(String::as_str).collect();
    args.extend(proof);
    let program = launch.program.display().to_string();
    run_within(PROOF_LIMIT_SECS, &std::env::temp_dir(), &program, &args)
}

/// Installs Debian packages, where we are root and apt is here.
///
/// # Errors
/// One line: what to run by hand, or what apt said last.
pub(crate) fn apt(packages: &[&str]) -> Result<(), String> {
    static LISTS_ARE_FRESH: AtomicBool = AtomicBool::new(false);
    let here = std::env::temp_dir();
    let is_root = crate::step::ask(&here, "id", &["-u"]).is_some_and(|id| id.trim() == "0");
    if !is_root || crate::step::ask(&here, "apt-get", &["--version"]).is_none() {
        return Err(format!("install it (Debian: apt-get install {})", packages.join(" ")));
    }
    eprintln!("installing {}", packages.join(" "));
    if !LISTS_ARE_FRESH.swap(true, Ordering::Relaxed) {
        run(&here, "apt-get", &["-o", APT_LOCK, "update"])?;
    }
    // Recommended packages would bring servers that nobody asked for.
    let install = ["-o", APT_LOCK, "install", "-y", "--no-install-recommends"];
    run(&here, "apt-get", &[&install, packages].concat())
}

/// Writes one input of a build.
pub(super) fn write(folder: &Path, name: &str, text: &str) -> Result<(), String> {
    let path = folder.join(name);
    std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Runs a step of a build in `folder`, within [`BUILD_LIMIT_SECS`].
pub(super) fn run(folder: &Path, program: &str, args: &[&str]) -> Result<(), String> {
    run_within(BUILD_LIMIT_SECS, folder, program, args)
}

fn run_within(limit_secs: u64, folder: &Path, program: &str, args: &[&str]) -> Result<(), String> {
    // The build ends with us: it is in our group, for what interrupts us, and the kernel tells it of our end.
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "TERM", "timeout", "--foreground", "--kill-after=5s"])
        .arg(format!("{limit_secs}s"))
        .arg(program)
        .args(args);
    command.current_dir(folder).stdin(Stdio::null());
    command.env("GOFLAGS", "-buildvcs=false").env("GOBIN", folder);
    command.env("GOWORK", "off").env("DEBIAN_FRONTEND", "noninteractive");
    let output = command.output().map_err(|error| format!("{program} cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.trim().lines().last().unwrap_or("it said nothing");
    Err(format!("{program} {} failed: {last}", args.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_says_what_failed() {
        let refused = run(Path::new("."), "sh", &["-c", "echo one >&2; echo two >&2; exit 1"]);
        assert_eq!(refused, Err("sh -c echo one >&2; echo two >&2; exit 1 failed: two".to_owned()));
    }

    #[test]
    fn a_program_that_does_not_run_is_no_installation() {
        let sh = Launch { program: "sh".into(), before: vec!["-c".to_owned()] };
        assert_eq!(prove(&sh, &["exit 0"]), Ok(()));
        assert_eq!(prove(&sh, &["exit 3"]).unwrap_err(), "sh -c exit 3 failed: it said nothing");
    }

    #[test]
    fn a_scratch_module_requires_the_exact_version() {
        let text = scratch_module("example.com/m/v2", "2.1.0");
        assert!(text.contains("\nrequire example.com/m/v2 v2.1.0\n"), "{text}");
    }
}
