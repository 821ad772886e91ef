//! Names nobody reads: keys of the file, and variables that look like ours.

use super::env::Env;
use super::file::ConfigFile;
use super::key::Catalogue;
use super::problem::Warning;
use super::suggest::nearest;

/// The most warnings about unknown names; what is beyond is counted in a last one.
const MAX_UNKNOWN: usize = 50;

/// Keys of Athens's sample file that its program does not read either, in small letters.
const DEAD: [&str; 1] = ["storage.cdn.endpoint"];

/// One warning for each key of the file that nobody declared, in the order of lines.
pub(super) fn keys(file: &ConfigFile, catalogue: &Catalogue) -> Vec<Warning> {
    let warn = |(written, line): &(String, usize)| {
        let tail = match suggestion(written, catalogue) {
            _ if DEAD.contains(&written.to_ascii_lowercase().as_str()) => {
                "ignored; Athens ignores it too, take it out".to_owned()
            }
            Some(near) => format!("ignored; did you mean {near}?"),
            None => "ignored".to_owned(),
        };
        Warning(format!("{}:{line}: the key {written} is unknown, {tail}", file.path.display()))
    };
    capped(file.unknown.iter().map(warn).collect())
}

/// The nearest path, or the path in another table that ends in the same name.
fn suggestion<'c>(written: &str, catalogue: &'c Catalogue) -> Option<&'c str> {
    let paths = || catalogue.keys().map(|key| key.path.as_str());
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    // A key in the wrong table is the usual slip: TOML has no way back to the top level.
    let mut elsewhere = paths().filter(|path| last(path) == last(written));
    match (elsewhere.next(), elsewhere.next()) {
        (Some(only), None) => Some(only),
        _ => nearest(written, paths()),
    }
}

/// One warning for each variable that begins like ours and that nobody reads.
pub(super) fn variables(env: &dyn Env, catalogue: &Catalogue) -> Vec<Warning> {
    let known = catalogue.variables();
    let mut strange: Vec<String> = env
        .names()
        .into_iter()
        .filter(|name| name.starts_with("ATHENS_") || name.starts_with("DIPYLON_"))
        .filter(|name| !known.contains(name.as_str()) && !is_service_link(name))
        .collect();
    strange.sort();
    let warn = |name: &String| {
        let tail = nearest(name, known.iter().copied())
            .map_or_else(|| "ignored".to_owned(), |near| format!("ignored; did you mean {near}?"));
        Warning(format!("the environment variable {name} is unknown, {tail}"))
    };
    capped(strange.iter().map(warn).collect())
}

/// Kubernetes gives each container `NAME_SERVICE_*` and `NAME_PORT_*` for each Service.
fn is_service_link(name: &str) -> bool {
    let rest = name.split_once('_').map_or("", |(_, rest)| rest);
    rest.starts_with("SERVICE_")
        || rest.starts_with("PORT_")
        || rest.contains("_SERVICE_")
        || rest.contains("_PORT_")
}

fn capped(mut warnings: Vec<Warning>) -> Vec<Warning> {
    let more = warnings.len().saturating_sub(MAX_UNKNOWN);
    warnings.truncate(MAX_UNKNOWN);
    if more > 0 {
        warnings.push(Warning(format!("{more} more unknown names are ignored")));
    }
    warnings
}
