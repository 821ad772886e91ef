//! `cargo xtask compose`: what containers are made of, each held to a parser that is not ours.
//!
//! `docker-compose.yml` is read by compose-go, the `Dockerfile` by hadolint, the balancer's configuration
//! by nginx; and what the image is built from, by cargo. Each also gets a broken sample that it must
//! refuse: a check that cannot fail is none.

use std::path::Path;
use std::process::Command;

use crate::stack;
use crate::step::{Tally, step};

/// Seconds that one check may take.
const CHECK_LIMIT_SECS: u64 = 60;
/// What a platform team looks at together; a file without one of them shows less.
const SERVICES: &[&str] = &[
    "gateway-1",
    "gateway-2",
    "balancer",
    "minio",
    "mongo",
    "redis",
    "etcd",
    "prometheus",
    "alertmanager",
    "grafana",
    "jaeger",
];
/// A service that does its work and ends: it is waited for by its exit, not by its health.
const ENDING_SERVICES: &[&str] = &["bucket"];

/// Runs every check whose tool is here or can be had; the others are skipped, loudly.
pub(crate) fn run(root: &Path) -> Tally {
    let mut tally = Tally::default();
    let checks: [(&str, Check); 4] = [
        ("docker-compose.yml", compose_file),
        ("Dockerfile", dockerfile),
        (".dockerignore", context),
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
                tally = tally.missing(1);
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

/// What was found wrong, in one line.
fn none_of(problems: &[String]) -> Result<String, String> {
    if problems.is_empty() { Ok(String::new()) } else { Err(problems.join("; ")) }
}

// === docker-compose.yml ===

fn compose_file(root: &Path) -> Verdict {
    let tool = match program("composelint") {
        Ok(tool) => tool,
        Err(why) => return Verdict::Skipped(why),
    };
    let read = |file: &str| ask_within(root, CHECK_LIMIT_SECS, &[&tool, file]);
    let facts = read("docker-compose.yml");
    let good = facts.and_then(|facts| none_of(&[problems(&facts), absent(&facts)].concat()));
    judge(good, read("xtask/compose/broken.yml"))
}

/// What the file should start, and does not.
fn absent(facts: &str) -> Vec<String> {
    let has = |name: &str| facts.lines().any(|line| line.split(' ').next() == Some(name));
    let absent = SERVICES.iter().filter(|name| !has(name));
    absent.map(|name| format!("it has no service {name}")).collect()
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

// === Dockerfile ===

fn dockerfile(root: &Path) -> Verdict {
    let tool = match program("hadolint") {
        Ok(tool) => tool,
        Err(why) => return Verdict::Skipped(why),
    };
    let linted = |file: &str| ask_within(root, CHECK_LIMIT_SECS, &[&tool, file]);
    let image = |file: &str| none_of(&image_problems(&read(&root.join(file))?));
    let [good, broken] = ["Dockerfile", "xtask/compose/broken.Dockerfile"];
    match judge(linted(good), linted(broken)) {
        Verdict::Good => judge(image(good), image(broken)),
        other => other,
    }
}

/// What the linter has no opinion on: who the program runs as, and whether anybody asks how it is. The last
/// stage is the image.
fn image_problems(text: &str) -> Vec<String> {
    let last = text.rfind("\nFROM ").map_or(text, |at| &text[at..]);
    let said = |word: &str| last.lines().rev().find_map(|line| line.strip_prefix(word));
    let mut problems = Vec::new();
    // A number, since a name may stand for 0, and Kubernetes cannot tell (`runAsNonRoot`).
    let user = said("USER ").and_then(|user| user.split(':').next()?.trim().parse::<u32>().ok());
    if user.is_none_or(|user| user == 0) {
        problems.push("the image runs as root: end it with USER and a number above 0".to_owned());
    }
    if said("HEALTHCHECK ").is_none_or(|check| check.trim() == "NONE") {
        problems.push("the image has no HEALTHCHECK".to_owned());
    }
    problems
}

// === .dockerignore ===

/// What the image is built from must be a workspace that cargo can read, with cargo's own settings and
/// the tool that they name. The broken sample lacks one member.
fn context(root: &Path) -> Verdict {
    let samples = read(&root.join(".dockerignore")).and_then(|rules| {
        let good = built_from(root, &rules)?;
        Ok((good, built_from(root, &rules.replace("!protocol\n", ""))?))
    });
    match samples {
        Ok((good, broken)) => judge(good, broken),
        Err(why) => Verdict::Bad(why),
    }
}

/// Copies what `rules` let through into a folder and asks cargo about it.
fn built_from(root: &Path, rules: &str) -> Result<Read, String> {
    let listed = ask_within(root, CHECK_LIMIT_SECS, &["git", "ls-files"])?;
    let folder = std::env::temp_dir().join(format!("dipylon-context-{}", std::process::id()));
    let copied = listed.lines().filter(|name| is_in_context(rules, name)).try_for_each(|name| {
        let to = folder.join(name);
        let copied = std::fs::create_dir_all(to.parent().unwrap_or(&folder))
            .and_then(|()| std::fs::copy(root.join(name), to));
        copied.map(drop).map_err(|error| format!("{name}: {error}"))
    });
    let answer = copied.map(|()| {
        let settings = folder.join(".cargo/config.toml");
        let protoc = folder.join("tools/protoc");
        if let Some(missing) = [settings, protoc].iter().find(|path| !path.exists()) {
            return Err(format!("{} is not in what the image is built from", missing.display()));
        }
        let words = ["cargo", "metadata", "--locked", "--no-deps", "--format-version", "1"];
        ask_within(&folder, CHECK_LIMIT_SECS, &words)
    });
    match std::fs::remove_dir_all(&folder) {
        Ok(()) => answer,
        Err(error) => Err(format!("{}: {error}", folder.display())),
    }
}

/// Whether `.dockerignore` lets a file through: the last rule that matches it or a folder above it
/// decides. Of its patterns only those in use are known: `*`, a path, and `**/name`.
fn is_in_context(rules: &str, file: &str) -> bool {
    let matches = |pattern: &str| match pattern.strip_prefix("**/") {
        Some(name) => file.split('/').any(|part| part == name),
        None => pattern == "*" || file == pattern || file.starts_with(&format!("{pattern}/")),
    };
    let rules = rules.lines().map(str::trim).filter(|rule| !rule.is_empty());
    let mut rules = rules.filter(|rule| !rule.starts_with('#')).rev();
    let decides = rules.find(|rule| matches(rule.trim_start_matches('!')));
    decides.is_none_or(|rule| rule.starts_with('!'))
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

// === nginx.conf ===

fn balancer(root: &Path) -> Verdict {
    let tool = match program("nginx") {
        Ok(tool) => tool,
        Err(why) => return Verdict::Skipped(why),
    };
    match balancer_samples(root, &tool) {
        Ok((good, broken)) => judge(good, broken),
        Err(why) => Verdict::Bad(why),
    }
}

type Read = Result<String, String>;

/// nginx looks up the names of its upstreams when it reads; here they are this machine.
fn balancer_samples(root: &Path, nginx: &str) -> Result<(Read, Read), String> {
    let text = read(&root.join("deploy/nginx.conf"))?;
    let text = text.replace("gateway-1:", "127.0.0.1:").replace("gateway-2:", "127.0.0.1:");
    let ask = |text: &str| {
        let file = std::env::temp_dir().join(format!("dipylon-nginx-{}.conf", std::process::id()));
        std::fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
        let name = file.display().to_string();
        let said = ask_within(root, CHECK_LIMIT_SECS, &[nginx, "-t", "-q", "-c", &name]);
        std::fs::remove_file(&file).map_err(|error| format!("{name}: {error}"))?;
        said
    };
    Ok((ask(&text), ask(&text.replace("proxy_pass", "proxy_past"))))
}

// === Tools ===

/// A program of the native stack, installed if it is not there.
fn program(name: &str) -> Result<String, String> {
    let launch = stack::ensure(stack::component(name)?)?;
    Ok(launch.program.display().to_string())
}

/// Runs a command in `dir`: what it printed, or the last line that it said.
fn ask_within(dir: &Path, seconds: u64, words: &[&str]) -> Result<String, String> {
    let mut command = Command::new("timeout");
    command.arg("--kill-after=5s").arg(format!("{seconds}s")).args(words).current_dir(dir);
    command.stdin(std::process::Stdio::null());
    let output = command.output().map_err(|error| format!("timeout cannot be run: {error}"))?;
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(out);
    }
    let err = String::from_utf8_lossy(&output.stderr);
    let said = err.lines().last().or_else(|| out.lines().last()).unwrap_or("it said nothing");
    Err(format!("{} failed: {said}", words.join(" ")))
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
    fn a_service_that_is_gone_is_missed() {
        let facts: String = SERVICES.iter().map(|name| format!("{name} a:1 test\n")).collect();
        assert!(absent(&facts).is_empty());
        let without = facts.replace("redis a:1", "redis-2 a:1");
        assert_eq!(absent(&without), ["it has no service redis"]);
    }

    #[test]
    fn an_image_runs_as_nobody_s_root_and_with_a_health_check() {
        let image = |user: &str, check: &str| {
            let build = "FROM a:1 AS build\nUSER 1\nHEALTHCHECK CMD [\"a\"]";
            format!("{build}\n\nFROM b:1\n{user}\n{check}\n")
        };
        let check = "HEALTHCHECK --interval=30s \\\n    CMD [\"dipylon\", \"healthcheck\"]";
        assert!(image_problems(&image("USER 10001:10001", check)).is_empty());
        for user in ["", "USER root", "USER 0:0", "USER 1\nUSER 0"] {
            let problems = image_problems(&image(user, check));
            assert!(matches!(&problems[..], [one] if one.contains("root")), "{user}: {problems:?}");
        }
        for check in ["", "HEALTHCHECK NONE"] {
            let problems = image_problems(&image("USER 1", check));
            assert_eq!(problems, ["the image has no HEALTHCHECK"], "{check}");
        }
    }

    #[test]
    fn the_last_rule_that_matches_decides_what_the_image_is_built_from() {
        let rules = "# why\n*\n!src\n!Cargo.toml\n**/testdata\n";
        for (file, want) in [
            ("Cargo.toml", true),
            ("src/main.rs", true),
            ("src/a/testdata/b", false),
            ("srcs/main.rs", false),
            ("docs/a.md", false),
        ] {
            assert_eq!(is_in_context(rules, file), want, "{file}");
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
