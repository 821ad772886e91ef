//! Golden tests: `testdata/<part>/*.txtar` hold input and the answer wanted.

mod support;

use std::fmt::Display;

use dipylon_protocol::path::check_file_path;
use dipylon_protocol::pattern::{match_prefix_patterns, path_match, prefix_match};
use dipylon_protocol::pseudo::Pseudo;
use dipylon_protocol::{
    GoMod, Info, ModulePath, Route, SumDbPath, Version, VersionQuery, list, semver,
};
use support::{Golden, check_golden, line_by_line};

#[test]
fn module_and_file_paths_are_judged_as_recorded() {
    check_golden("path", |golden| {
        line_by_line(golden, |line| match line.split_once(' ') {
            Some(("module", path)) => {
                or_error(ModulePath::parse(path).map(|m| describe_module(&m)))
            }
            Some(("escaped", path)) => {
                or_error(ModulePath::from_escaped(path).map(|m| describe_module(&m)))
            }
            Some(("file", path)) => or_error(check_file_path(path).map(|()| "ok".to_owned())),
            _ => panic!("malformed input line {line}"),
        })
    });
}

fn describe_module(module: &ModulePath) -> String {
    let (prefix, major) = module.split_major();
    let impossible = if module.impossible().is_some() { ", impossible" } else { "" };
    format!("{} = {prefix} + {major:?}{impossible}", module.escaped())
}

#[test]
fn versions_and_queries_are_judged_as_recorded() {
    check_golden("version", |golden| {
        let module = golden.section("module").trim();
        let module = ModulePath::parse(module).expect("the module of a golden file is valid");
        line_by_line(golden, |text| {
            or_error(VersionQuery::parse(text).map(|query| match query.canonical() {
                None => format!("query, canonical {:?}", semver::canonical_version(text)),
                Some(version) => describe_version(version, &module),
            }))
        })
    });
}

fn describe_version(version: &Version, module: &ModulePath) -> String {
    let mut words = vec![version.major().to_owned()];
    let marks = [
        (version.is_prerelease(), "prerelease"),
        (version.is_incompatible(), "incompatible"),
        (version.is_pseudo(), "pseudo"),
    ];
    words.extend(marks.iter().filter(|(set, _)| *set).map(|(_, mark)| (*mark).to_owned()));
    if version.is_pseudo() {
        words.push(match Pseudo::parse(version.as_str()) {
            Ok(pseudo) => format!("base {:?} time {:?}", pseudo.base, pseudo.rfc3339()),
            Err(error) => error.to_string(),
        });
    }
    words.push(match module.accepts(version) {
        Ok(()) => "fits".to_owned(),
        Err(error) => error.to_string(),
    });
    words.join(", ")
}

#[test]
fn request_paths_are_read_as_recorded() {
    check_golden("route", |golden| {
        line_by_line(golden, |raw| {
            or_error(Route::parse(raw).map(|route| format!("{} {route}", describe_route(&route))))
        })
    });
}

fn describe_route(route: &Route) -> String {
    match route {
        Route::List { module } => format!("list of {module}, as"),
        Route::Latest { module } => format!("latest of {module}, as"),
        Route::File { module, version, kind } => {
            let noun = if version.canonical().is_some() { "version" } else { "query" };
            format!("{kind} of {module} at {noun} {version}, as")
        }
        Route::SumDb { name, path } => match path {
            SumDbPath::Supported => format!("supported of {name}, as"),
            SumDbPath::Latest => format!("latest of {name}, as"),
            SumDbPath::Tile(_) => format!("tile of {name}, as"),
            SumDbPath::Lookup { module, version } => {
                format!("lookup of {module} at {version} in {name}, as")
            }
        },
    }
}

#[test]
fn lists_are_filtered_as_recorded() {
    check_golden("list", |golden| {
        let module = golden.section("module").trim();
        let module = ModulePath::parse(module).expect("the module of a golden file is valid");
        match list::filter_list(&module, golden.section("body").as_bytes()) {
            Err(error) => format!("error: {error}\n"),
            Ok(versions) => {
                let latest = list::latest_of(&versions).map(Version::as_str);
                format!("{}latest: {latest:?}\n", list::render_list(&versions))
            }
        }
    });
}

#[test]
fn go_mod_files_are_read_as_recorded() {
    check_golden("gomod", |golden| match GoMod::parse(golden.section("go.mod").as_bytes()) {
        Err(error) => format!("error: {error}\n"),
        Ok(file) => {
            let mut text = format!("module: {}\n", file.module);
            text += &format!("go: {:?}\ntoolchain: {:?}\n", file.go, file.toolchain);
            text += &format!("deprecated: {:?}\n", file.deprecated);
            for range in &file.retractions {
                text +=
                    &format!("retract: {} to {}: {:?}\n", range.low, range.high, range.rationale);
            }
            text
        }
    });
}

#[test]
fn info_bodies_are_read_as_recorded() {
    check_golden("info", |golden| {
        let module = ModulePath::parse("example.com/mod").expect("a valid path");
        line_by_line(golden, |line| {
            let (asked, body) = line.split_once(' ').expect("a version and a body");
            let asked = VersionQuery::parse(asked).expect("a valid version");
            or_error(Info::parse(body.as_bytes()).and_then(|info| {
                info.check(&asked, &module)?;
                Ok(format!("{} at {:?}", info.version, info.time))
            }))
        })
    });
}

#[test]
fn patterns_match_as_recorded() {
    check_golden("pattern", |golden: &Golden| {
        line_by_line(golden, |line| {
            let (pattern, name) = line.split_once(' ').expect("a pattern and a name");
            let whole = path_match(pattern, name).map_or("malformed".to_owned(), |m| m.to_string());
            let list = match_prefix_patterns(pattern, name);
            format!("whole {whole}, list {list}, mode {}", prefix_match(pattern, name))
        })
    });
}

fn or_error(answer: Result<String, impl Display>) -> String {
    answer.unwrap_or_else(|error| format!("error: {error}"))
}
