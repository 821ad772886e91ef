//! Walks every declared key, so that a new one is tested by being declared.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;

use super::file::ConfigFile;
use super::key::{Catalogue, KeyInfo, Table as _};
use super::loader::Loader;
use super::problem::{ConfigError, Origin, quote};
use super::{Config, LoadArgs};

type Variables = BTreeMap<String, String>;

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(Config::catalogue);

/// Two values of a key that differ from each other and from the default, and a wrong one, each as
/// the environment writes it; and how TOML writes them.
struct Sample {
    first: &'static str,
    second: &'static str,
    wrong: Option<&'static str>,
    toml: fn(&str) -> String,
}

/// Chooses samples by what the key accepts, so that no key has to be listed here.
fn sample(key: &KeyInfo) -> Sample {
    let text: fn(&str) -> String = quote;
    let bare: fn(&str) -> String = str::to_owned;
    let list: fn(&str) -> String = |item| format!("[{}]", quote(item));
    let pair: fn(&str) -> String = |pair| {
        let (name, value) = pair.split_once(':').expect("a sample pair");
        format!("{{ {} = {} }}", quote(name), quote(value))
    };
    let accepted = key.accepted.as_str();
    let of = |first, second, wrong, toml| Sample { first, second, wrong, toml };
    match key.path.as_str() {
        "NoSumPatterns" | "SingleFlight.RedisSentinel.Endpoints" => of("a:1", "b:2", None, list),
        "SumDBs" => of("https://a.test", "https://b.test", Some("http://a.test"), list),
        "GoBinaryEnvVars" => of("GOPROXY=off", "GOPROXY=direct", Some("x"), list),
        "Dipylon.TrustedProxies" => of("10.0.0.0/8", "::1/128", Some("10.0.0.0/99"), list),
        "Storage.Mongo.URL" => of("mongodb://a", "mongodb+srv://b", Some("http://a"), text),
        "DownloadMode" => of("none", "file:/a", Some("snyc"), text),
        _ if accepted == "are true and false" && key.default == "true" => {
            of("false", "false", Some("maybe"), bare)
        }
        _ if accepted == "are true and false" => of("true", "true", Some("maybe"), bare),
        _ if accepted.starts_with("is a number of bytes") => {
            of("2097152", "4194304", Some("-1"), bare)
        }
        _ if accepted.starts_with("is a whole number from 10 ") => of("11", "12", Some("-1"), bare),
        _ if accepted.starts_with("is a whole number")
            || accepted.starts_with("is a port from") =>
        {
            of("7", "9", Some("-1"), bare)
        }
        _ if accepted.starts_with("is a duration") => of("300ms", "5s", Some("300"), text),
        _ if accepted == "is a number from 0 to 1" => of("0.25", "0.5", Some("2"), bare),
        _ if accepted.starts_with("is a port or") => of("127.0.0.1:81", ":82", Some("x"), text),
        _ if accepted.starts_with("is a table") => of("a:1", "b:2", Some("ab"), pair),
        _ if accepted.starts_with("is a URL that") => of("https://a", "http://b", Some("a"), text),
        _ if accepted.starts_with("is a path that") => of("/a", "/b", Some("a"), text),
        _ if accepted.starts_with("are ") => words(key, text),
        _ => of("/one", "/two", None, text),
    }
}

/// Two words of a closed set that are not the default.
fn words(key: &KeyInfo, toml: fn(&str) -> String) -> Sample {
    // Synonyms are shown as the word they stand for, so they are no samples.
    let synonyms = ["trace", "warning", "fatal", "panic", "\"\""];
    let listed = key.accepted.trim_start_matches("are ").split(", ");
    let others: Vec<&str> =
        listed.filter(|w| quote(w) != key.default && !synonyms.contains(w)).collect();
    let leak = |word: &str| -> &'static str { Box::leak(word.to_owned().into_boxed_str()) };
    let first = others.first().map_or("", |word| leak(word));
    let second = others.get(1).map_or(first, |word| leak(word));
    let lenient = ["CloudRuntime", "TraceExporter", "StatsExporter"].contains(&key.path.as_str());
    Sample { first, second, wrong: (!lenient).then_some("no-such-word"), toml }
}

fn toml_of(path: &str, value: &str) -> String {
    format!("{path} = {value}\n")
}

fn variables(pairs: &[(&str, &str)]) -> Variables {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

/// Loads without the rules over several keys, so that one key can be looked at alone.
fn one(key: &KeyInfo, toml: &str, env: &Variables) -> Result<(String, Origin), ConfigError> {
    let file =
        ConfigFile::parse(Path::new("t.toml"), toml, &CATALOGUE).expect("a file that parses");
    assert!(file.unknown.is_empty(), "{toml} has only known keys");
    let mut loader = Loader::new(env, Some(&file));
    let _config = Config::load_table(&mut loader);
    if let Some(error) = loader.errors.iter().find(|error| error.key() == Some(&key.path)) {
        return Err(error.clone());
    }
    let entries = loader.effective.entries();
    let entry = entries.iter().find(|entry| entry.key == key.path).expect("every key has a value");
    Ok((entry.value.clone(), entry.origin.clone()))
}

/// What the effective configuration shows for a sample.
fn shown(key: &KeyInfo, value: &str) -> String {
    one(key, "", &variables(&[(key.variables[0].as_str(), value)])).expect("a good sample").0
}

fn environment(variable: &str) -> Origin {
    Origin::Environment { variable: variable.to_owned() }
}

#[test]
fn every_key_is_set_by_the_file_in_any_letter_case() {
    for key in CATALOGUE.keys() {
        let sample = sample(key);
        let toml = toml_of(&key.path, &(sample.toml)(sample.first));
        let (value, origin) = one(key, &toml, &Variables::new()).expect(&key.path);
        let want = Origin::File { path: Path::new("t.toml").into(), line: 1 };
        assert_eq!(origin, want, "{}", key.path);
        if !key.accepted.starts_with("is a table") {
            assert_eq!(value, shown(key, sample.first), "{}", key.path);
        }
        // A default that is secret looks like any other secret; its origin was compared above.
        let differs = value != key.default;
        assert!(differs || key.secret, "{}: the sample is not the default", key.path);
        for folded in [key.path.to_ascii_lowercase(), key.path.to_ascii_uppercase()] {
            let toml = toml_of(&folded, &(sample.toml)(sample.first));
            let (again, _) = one(key, &toml, &Variables::new()).expect(&folded);
            assert_eq!(again, value, "{folded}");
        }
    }
}

#[test]
fn every_key_is_set_by_each_of_its_variables_and_the_long_name_wins() {
    for key in CATALOGUE.keys() {
        let sample = sample(key);
        let toml = toml_of(&key.path, &(sample.toml)(sample.second));
        for variable in &key.variables {
            let env = variables(&[(variable, sample.first)]);
            let (value, origin) = one(key, &toml, &env).expect(variable);
            assert_eq!(origin, environment(variable), "a variable wins over the file");
            assert_eq!(value, shown(key, sample.first), "{variable}");
        }
        if let [first, second, ..] = key.variables.as_slice() {
            let env = variables(&[(first, sample.first), (second, sample.second)]);
            let (value, origin) = one(key, &toml, &env).expect(first);
            assert_eq!(origin, environment(first), "{}", key.path);
            assert_eq!(value, shown(key, sample.first), "{}", key.path);
        }
    }
}

#[test]
fn every_credential_is_read_from_a_file_and_not_from_both() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("secret");
    let path_text = path.to_str().expect("a UTF-8 path").to_owned();
    for key in CATALOGUE.keys().filter(|key| !key.file_variables.is_empty()) {
        let sample = sample(key);
        for (variable, plain) in key.file_variables.iter().zip(&key.variables) {
            std::fs::write(&path, format!("{}\r\n", sample.first)).expect("written");
            let env = variables(&[(variable, &path_text)]);
            let (value, origin) = one(key, "", &env).expect(variable);
            assert_eq!(value, shown(key, sample.first), "{variable}");
            let want = Origin::SecretFile { variable: variable.clone(), path: path.clone() };
            assert_eq!(origin, want);
            let env = variables(&[(variable, &path_text), (plain, sample.first)]);
            let error = one(key, "", &env).expect_err("both are set").to_string();
            assert!(error.contains(variable) && error.contains(plain), "{error}");
        }
    }
}

#[test]
fn every_wrong_value_is_reported_with_key_origin_value_and_what_is_accepted() {
    for key in CATALOGUE.keys() {
        let sample = sample(key);
        let Some(wrong) = sample.wrong else { continue };
        let variable = &key.variables[0];
        let error = one(key, "", &variables(&[(variable, wrong)])).expect_err(variable).to_string();
        assert!(error.starts_with(&key.path), "{error}");
        assert!(error.contains(&format!("(from environment {variable})")), "{error}");
        assert!(error.contains(&format!("accepted {}", key.accepted)), "{error}");
        let hidden = error.contains("= ***");
        assert!(hidden || error.contains(wrong), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn every_wrong_type_in_the_file_is_reported_with_its_line() {
    for key in CATALOGUE.keys() {
        // A date is what no key takes.
        let toml = format!("\n\n{}", toml_of(&key.path, "1979-05-27"));
        let error = one(key, &toml, &Variables::new()).expect_err(&key.path).to_string();
        assert!(error.contains("(from t.toml:3): this is a date"), "{error}");
        assert!(error.contains(&format!("accepted {}", key.accepted)), "{error}");
    }
}

#[test]
fn an_empty_variable_counts_as_set_except_where_athens_says_otherwise() {
    for key in CATALOGUE.keys() {
        let sample = sample(key);
        let toml = toml_of(&key.path, &(sample.toml)(sample.first));
        let variable = key.variables.last().expect("every key has a variable");
        let result = one(key, &toml, &variables(&[(variable, "")]));
        let number = key.default.parse::<f64>().is_ok() || key.accepted == "are true and false";
        match key.path.as_str() {
            "GoBinaryEnvVars" => assert!(matches!(result, Ok((_, Origin::File { .. })))),
            "Port" | "PprofPort" => {
                let (value, origin) = result.expect("empty means the default");
                assert_eq!((value, origin), (key.default.clone(), environment(variable)));
            }
            path if number || key.required || key.accepted.starts_with("is a duration") => {
                assert!(result.is_err(), "{path}")
            }
            _ => match result {
                Ok((_, origin)) => assert_eq!(origin, environment(variable), "{}", key.path),
                Err(error) => assert!(key.accepted.starts_with("are "), "{error}"),
            },
        }
    }
}

#[test]
fn no_name_is_declared_twice() {
    let catalogue = &*CATALOGUE;
    let mut paths = BTreeSet::new();
    let mut owners: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for key in catalogue.keys() {
        for path in key.aliases.iter().chain([&key.path]) {
            assert!(paths.insert(path.to_ascii_lowercase()), "{path} is declared once");
        }
        for variable in key.variables.iter().chain(&key.file_variables) {
            owners.entry(variable).or_default().push(&key.path);
        }
    }
    for (variable, owners) in owners {
        // Athens shares these between Redis and its sentinels.
        let shared = variable.starts_with("ATHENS_REDIS_");
        assert!(owners.len() == 1 || shared, "{variable} belongs to {owners:?}");
    }
}

#[test]
fn our_own_variables_are_named_after_their_keys() {
    let catalogue = &*CATALOGUE;
    let own = catalogue.keys().filter_map(|key| Some((key.path.strip_prefix("Dipylon.")?, key)));
    for (name, key) in own.filter(|(name, _)| *name != "StorageEmulatorHost") {
        assert_eq!(key.variables, [format!("DIPYLON_{}", screaming_snake(name))]);
    }
}

/// `NegativePathTTL` to `NEGATIVE_PATH_TTL`, `Lock.Lease` to `LOCK_LEASE`.
fn screaming_snake(name: &str) -> String {
    let mut snake = String::new();
    let mut after_small = false;
    for c in name.chars() {
        if c == '.' {
            snake.push('_');
            after_small = false;
            continue;
        }
        if c.is_ascii_uppercase() && after_small {
            snake.push('_');
        }
        after_small = !c.is_ascii_uppercase();
        snake.push(c.to_ascii_uppercase());
    }
    snake
}

#[test]
fn the_long_names_are_athens_s() {
    let catalogue = &*CATALOGUE;
    let long = |path: &str| find(catalogue, path).variables[0].clone();
    assert_eq!(long("StorageType"), "ATHENS_ATHENS_STORAGE_TYPE");
    assert_eq!(long("GoEnv"), "ATHENS_GO_ENV");
    assert_eq!(long("Storage.S3.Region"), "ATHENS_STORAGE_S3_AWS_REGION");
    assert_eq!(
        long("SingleFlight.Redis.Endpoint"),
        "ATHENS_SINGLEFLIGHT_REDIS_ATHENS_REDIS_ENDPOINT"
    );
    assert_eq!(
        long("SingleFlight.RedisSentinel.LockConfig.TTL"),
        "ATHENS_SINGLEFLIGHT_REDISSENTINEL_LOCKCONFIG_ATHENS_REDIS_LOCK_TTL"
    );
}

fn find<'c>(catalogue: &'c Catalogue, path: &str) -> &'c KeyInfo {
    catalogue.keys().find(|key| key.path == path).expect(path)
}

#[test]
fn every_secret_is_hidden_wherever_it_is_printed() {
    const MARKER: &str = "hunter2marker";
    for key in CATALOGUE.keys().filter(|key| key.secret) {
        let table = key.accepted.starts_with("is a table");
        let value = if table { format!("a:{MARKER}") } else { MARKER.to_owned() };
        let env = variables(&[(key.variables[0].as_str(), value.as_str())]);
        let mut loader = Loader::new(&env, None);
        let config = Config::load_table(&mut loader);
        let print = format!("{config:?}{config:#?}{}{:?}", loader.effective, loader.effective);
        let print = print + &loader.effective.to_toml();
        assert!(!print.contains(MARKER), "{}", key.path);
        let wrong_type = toml_of(&key.path, &format!("[\"{MARKER}\"]"));
        let error = one(key, &wrong_type, &Variables::new()).expect_err("a list is no secret");
        assert!(!format!("{error}{error:?}").contains(MARKER), "{error}");
    }
}

#[test]
fn the_default_configuration_needs_nothing_and_warns_of_nothing() {
    let args = LoadArgs { config_file: None, cwd: "/nonexistent".into() };
    let loaded = Config::load(args, &Variables::new()).expect("the defaults are sound");
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.file, None);
    assert!(loaded.effective.changed().entries().is_empty());
}
