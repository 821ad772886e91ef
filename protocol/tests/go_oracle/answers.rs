//! Our answers to the oracle's questions, in its words.

use std::cmp::Ordering;
use std::fmt::Display;

use dipylon_protocol::info::InfoError;
use dipylon_protocol::path::{check_file_path, check_path_major, unescape};
use dipylon_protocol::pattern::{match_prefix_patterns, path_match};
use dipylon_protocol::pseudo::{Pseudo, is_pseudo};
use dipylon_protocol::{GoMod, Info, ModulePath, Route, VersionQuery, semver};

pub(crate) fn answer(question: &[String]) -> String {
    let texts: Vec<&str> = question.iter().map(String::as_str).collect();
    match texts[..] {
        ["path", path] => or_refused(ModulePath::parse(path).map(|module| {
            let (prefix, major) = module.split_major();
            format!("{prefix} {major} {}", module.escaped())
        })),
        ["unescape path", path] => or_refused(ModulePath::from_escaped(path)),
        ["file", path] => yes(check_file_path(path).is_ok()),
        ["file characters", block] => file_characters(block),
        ["escape version", text] => {
            or_refused(VersionQuery::parse(text).map(|query| query.escaped()))
        }
        ["unescape version", text] => or_refused(VersionQuery::from_escaped(text)),
        ["semver", text] => [
            yes(semver::is_valid(text)),
            semver::canonical(text).unwrap_or_default(),
            semver::major(text).to_owned(),
            semver::major_minor(text),
            semver::prerelease(text).to_owned(),
            semver::build(text).to_owned(),
            semver::canonical_version(text).unwrap_or_default(),
        ]
        .join(" "),
        ["compare", left, right] => match semver::compare(left, right) {
            Ordering::Less => "-1".to_owned(),
            Ordering::Equal => "0".to_owned(),
            Ordering::Greater => "1".to_owned(),
        },
        ["major", version, major] => yes(check_path_major(version, major).is_ok()),
        ["pseudo", text] => pseudo(text),
        ["match", pattern, name] => path_match(pattern, name).map_or("malformed".to_owned(), yes),
        ["prefix", globs, target] => yes(match_prefix_patterns(globs, target)),
        ["tile", path] => {
            yes(path.starts_with("tile/") && Route::parse(&format!("/sumdb/a.b/{path}")).is_ok())
        }
        ["go.mod", text] => go_mod(text),
        ["info", body] => info(body),
        _ => panic!("unknown question {question:?}"),
    }
}

/// Times outside RFC 3339 that Go's JSON reader takes: offsets out of range, one digit, a comma.
const LAX_TIMES: [&str; 4] = ["54+24:00\"", "54+02:60\"", "T1:26:54Z\"", "54,5Z\""];

/// Where this crate refuses what the library takes, by decision; each has its reason beside it.
pub(crate) fn is_stricter_on_purpose(question: &[String], ours: &str, go: &str) -> bool {
    let text = question[1].as_str();
    match question[0].as_str() {
        // A leading dash could be read as a flag; the words are never asked for as files.
        "escape version" | "unescape version" if ours == "refused" => {
            let plain = unescape(text).unwrap_or_else(|_| text.to_owned());
            plain.starts_with('-') || ["latest", "upgrade", "patch"].contains(&plain.as_str())
        }
        // Faulty lines are skipped where the library gives the whole file up.
        "go.mod" => go == "refused",
        // A tree of less than 2^63 records has no such level.
        "tile" => ours == "no" && text == "tile/8/64/001",
        // Go's reader of times lets pass what RFC 3339 does not, as its source notes.
        "info" => ours == "refused" && LAX_TIMES.iter().any(|time| text.contains(time)),
        _ => false,
    }
}

fn yes(answer: bool) -> String {
    if answer { "yes" } else { "no" }.to_owned()
}

fn or_refused(answer: Result<impl Display, impl Display>) -> String {
    answer.map_or_else(|_| "refused".to_owned(), |text| format!("={text}"))
}

fn file_characters(block: &str) -> String {
    let start = u32::from_str_radix(block, 16).expect("a hexadecimal number");
    (start..start + 0x1000)
        .map(|code| {
            let allowed =
                char::from_u32(code).is_some_and(|c| check_file_path(&format!("x{c}x")).is_ok());
            if allowed { '1' } else { '0' }
        })
        .collect()
}

fn pseudo(text: &str) -> String {
    if !is_pseudo(text) {
        return "no".to_owned();
    }
    Pseudo::parse(text).map_or_else(
        |_| "refused".to_owned(),
        |pseudo| {
            let base = pseudo.base.clone().unwrap_or_default();
            let time = pseudo.rfc3339().unwrap_or_else(|| "unknown".to_owned());
            format!("{base} {} {time}", pseudo.revision)
        },
    )
}

/// Rust's and Go's quoting agree on the texts that are asked about.
fn go_mod(text: &str) -> String {
    let Ok(file) = GoMod::parse(text.as_bytes()) else {
        return "refused".to_owned();
    };
    let mut answer = format!("{:?}", file.module);
    if let Some(go) = &file.go {
        answer += &format!(" go {go:?}");
    }
    answer += &format!(" deprecated {:?}", file.deprecated.unwrap_or_default());
    for range in &file.retractions {
        answer += &format!(" retract {:?} {:?} {:?}", range.low, range.high, range.rationale);
    }
    answer
}

/// The library's words for a body that is JSON but of no use are an empty version.
fn info(body: &str) -> String {
    match Info::parse(body.as_bytes()) {
        Ok(info) => format!("{} {}", info.version, yes(info.time.is_none())),
        Err(InfoError::NoVersion) => " yes".to_owned(),
        Err(_) if body == "null" => " yes".to_owned(),
        Err(_) => "refused".to_owned(),
    }
}
