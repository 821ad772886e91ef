//! Configuration seen from outside: golden reports, the sample with every key, the reference page.
//!
//! A golden is one file under `tests/config/` with `-- athens.toml --`, `-- env --` and what is
//! wanted: `-- errors --`, or `-- warnings --` and `-- effective --` (what is not a default). In a
//! golden, `$DIR` is the directory of the file. `DIPYLON_BLESS=1` writes the wanted parts anew.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dipylon::config::{
    Config, ConfigErrors, DownloadMode, Env, IndexType, LoadArgs, Loaded, Mode, SingleFlightType,
    StorageType,
};

type Variables = BTreeMap<String, String>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Compares with what is on disk, or writes it.
fn compare(path: &Path, got: &str) {
    if dipylon_testkit::bless::is_asked_for() {
        std::fs::write(path, got).expect("the golden is written");
        return;
    }
    let want = std::fs::read_to_string(path).unwrap_or_default();
    let hint = "run it with DIPYLON_BLESS=1 to accept";
    assert_eq!(got, want, "{} differs; {hint}", path.display());
}

fn variables(pairs: &[(&str, &str)]) -> Variables {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

/// Loads a file with this text, and an environment.
fn load(toml: &str, env: &Variables) -> Result<Loaded, ConfigErrors> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(directory.path().join("athens.toml"), toml).expect("written");
    Config::load(LoadArgs { config_file: None, cwd: directory.path().to_owned() }, env)
}

fn load_env(pairs: &[(&str, &str)]) -> Result<Loaded, ConfigErrors> {
    let args = LoadArgs { config_file: None, cwd: "/nonexistent".into() };
    Config::load(args, &variables(pairs))
}

/// The sections of a golden, by name.
fn sections(text: &str) -> BTreeMap<String, String> {
    let mut sections = BTreeMap::new();
    let mut name = String::new();
    for line in text.lines() {
        match line.strip_prefix("-- ").and_then(|rest| rest.strip_suffix(" --")) {
            Some(next) => next.clone_into(&mut name),
            None => {
                let section: &mut String = sections.entry(name.clone()).or_default();
                section.push_str(line);
                section.push('\n');
            }
        }
    }
    sections
}

/// Runs a golden and returns it with what is wanted replaced by what was got.
fn run(text: &str) -> String {
    let sections = sections(text);
    let part = |name: &str| sections.get(name).cloned().unwrap_or_default();
    let env: Variables = part("env")
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let directory = tempfile::tempdir().expect("a temporary directory");
    if sections.contains_key("athens.toml") {
        std::fs::write(directory.path().join("athens.toml"), part("athens.toml")).expect("written");
    }
    let args = LoadArgs { config_file: None, cwd: directory.path().to_owned() };
    let mut got = part("");
    for name in ["athens.toml", "env"] {
        if sections.contains_key(name) {
            write!(got, "-- {name} --\n{}", part(name)).expect("written to a text");
        }
    }
    match Config::load(args, &env) {
        Err(errors) => write!(got, "-- errors --\n{errors}\n"),
        Ok(loaded) => {
            let warnings: String = loaded.warnings.iter().map(|w| format!("{w}\n")).collect();
            let effective = loaded.effective.changed().to_toml();
            write!(got, "-- warnings --\n{warnings}-- effective --\n{effective}")
        }
    }
    .expect("written to a text");
    got.replace(directory.path().to_str().expect("a UTF-8 path"), "$DIR")
}

#[test]
fn reports_are_the_golden_ones() {
    let directory = root().join("tests/config");
    let mut seen = 0;
    for entry in std::fs::read_dir(&directory).expect("tests/config is there") {
        let path = entry.expect("a directory entry").path();
        if path.extension().is_some_and(|extension| extension == "txtar") {
            let text = std::fs::read_to_string(&path).expect("a golden is readable");
            compare(&path, &run(&text));
            seen += 1;
        }
    }
    assert!(seen >= 8, "only {seen} goldens were found");
}

#[test]
fn the_reference_page_is_made_from_the_declarations() {
    compare(&root().join("docs/reference/configuration.md"), &Config::reference_page());
}

#[test]
fn the_defaults_print_as_a_table_with_origins() {
    let loaded = load_env(&[("ATHENS_LOG_LEVEL", "info")]).expect("sound");
    compare(&root().join("tests/config/defaults.txt"), &loaded.effective.to_string());
}

/// Every key there is, set in one Athens-like file.
fn every_key() -> Loaded {
    let toml = std::fs::read_to_string(root().join("tests/config/every_key.toml"))
        .expect("the sample is there");
    load(&toml, &Variables::new()).expect("the sample is sound")
}

#[test]
fn a_file_with_every_key_loads_without_a_warning() {
    let loaded = every_key();
    assert_eq!(loaded.warnings, []);
    let defaults: Vec<_> = loaded
        .effective
        .entries()
        .iter()
        .filter(|entry| entry.origin == dipylon::config::Origin::Default)
        .map(|entry| entry.key.as_str())
        .collect();
    assert_eq!(defaults, Vec::<&str>::new(), "the sample sets every key");
}

#[test]
fn the_values_of_the_file_reach_the_fields() {
    let config = every_key().config;
    assert_eq!(config.storage_type, StorageType::Minio);
    assert_eq!(config.single_flight_type, SingleFlightType::Etcd);
    assert_eq!(config.index_type, IndexType::Postgres);
    assert_eq!(config.download_mode, DownloadMode::Mode(Mode::AsyncRedirect));
    assert_eq!(config.download_url.as_str(), "https://user:hunter2@mirror.example");
    assert_eq!(config.port.to_string(), "127.0.0.1:3300");
    assert_eq!(config.path_prefix.as_str(), "/goproxy");
    assert_eq!(config.timeout, Duration::from_secs(301));
    assert_eq!(
        config.go_binary_env_vars.get("GOPROXY"),
        Some("https://u:hunter2@up.example,direct")
    );
    assert_eq!(config.basic_auth_pass.expose(), "hunter2");
    assert_eq!(config.storage.mongo.default_db_name, "gomods");
    assert!(config.storage.mongo.insecure, "Athens's InsecureConn is read");
    assert_eq!(config.storage.minio.secret.expose(), "hunter2");
    assert_eq!(config.storage.azure_blob.account_key.expose(), "aHVudGVyMg==");
    assert_eq!(config.single_flight.etcd.endpoints.0.len(), 3);
    assert_eq!(config.single_flight.redis.lock_config.max_retries, 11);
    assert_eq!(config.single_flight.redis_sentinel.sentinel_password.expose(), "hunter2");
    assert_eq!(config.single_flight.s3.ttl, Duration::from_secs(901));
    assert_eq!(config.index.mysql.params["timeout"], "5s");
    assert_eq!(config.index.mysql.params["parseTime"], "true", "a default entry stays");
    assert_eq!(config.dipylon.trace_headers["Authorization"].expose(), "Bearer hunter2");
    let proxy: IpAddr = "10.9.8.7".parse().expect("an address");
    assert!(config.dipylon.trusted_proxies[0].contains(proxy));
    assert_eq!(config.dipylon.max_spool_bytes, 1 << 30);
}

#[test]
fn no_secret_of_the_sample_is_printed() {
    let loaded = every_key();
    let effective = &loaded.effective;
    let json = serde_json::to_string(effective).expect("serializable");
    let print = format!("{loaded:?}{loaded:#?}{effective}{}{json}", effective.to_toml());
    for secret in ["hunter2", "aHVudGVyMg"] {
        assert!(!print.contains(secret), "{secret} is printed");
    }
}

#[test]
fn no_secret_is_printed_in_errors() {
    const SECRETS: [&str; 2] = ["hunter2", "aHVudGVyMg"];
    let toml = std::fs::read_to_string(root().join("tests/config/every_key.toml"))
        .expect("the sample is there");
    let holds = |line: &str| SECRETS.iter().any(|secret| line.contains(secret));
    // Each value with a secret in turn gets the wrong type: a list around it.
    for (index, broken) in toml.lines().enumerate().filter(|(_, line)| holds(line)) {
        let wrap = |(at, line): (usize, &str)| match line.split_once(" = ") {
            Some((key, value)) if at == index => format!("{key} = [{value}]"),
            _ => line.to_owned(),
        };
        let text = toml.lines().enumerate().map(wrap).collect::<Vec<_>>().join("\n");
        let errors = load(&text, &Variables::new()).expect_err(broken);
        assert_eq!(errors.errors().len(), 1, "{errors}");
        assert!(!holds(&format!("{errors}{errors:?}")), "{errors}");
    }
}

#[test]
fn the_effective_configuration_is_a_configuration() {
    let loaded = load_env(&[
        ("ATHENS_STORAGE_TYPE", "disk"),
        ("ATHENS_DISK_STORAGE_ROOT", "/srv/\"odd\"\\path"),
        ("ATHENS_GO_BINARY_ENV_VARS", "GOPROXY=direct;GOFLAGS_X=1"),
        ("ATHENS_INDEX_MYSQL_PARAMS", "a:b=c,d=e"),
        ("DIPYLON_TRUSTED_PROXIES", "10.0.0.0/8,::1"),
    ])
    .expect("sound");
    // The sentinels' password is the one default that is hidden.
    let toml = loaded.effective.to_toml();
    let again = load(&toml, &Variables::new()).expect("it reads back");
    assert_eq!(again.warnings, []);
    for (one, other) in loaded.effective.entries().iter().zip(again.effective.entries()) {
        if one.key != "Index.MySQL.Params" {
            assert_eq!((&one.key, &one.value), (&other.key, &other.value));
        }
    }
}

#[test]
fn port_counts_when_athens_port_is_unset_or_empty() {
    let port = |pairs: &[(&str, &str)]| load_env(pairs).expect("sound").config.port.to_string();
    assert_eq!(port(&[("PORT", "8080")]), ":8080");
    assert_eq!(port(&[("PORT", "8080"), ("ATHENS_PORT", "")]), ":8080");
    assert_eq!(port(&[("PORT", "8080"), ("ATHENS_PORT", "9090")]), ":9090");
    assert_eq!(port(&[("PORT", ""), ("ATHENS_PORT", "")]), ":3000");
    let env = variables(&[("PORT", "8080")]);
    let loaded = load("Port = \"127.0.0.1:1\"", &env).expect("sound");
    assert_eq!(loaded.config.port.to_string(), ":8080", "the variable wins over the file");
}

#[test]
fn numbers_in_variables_are_go_s() {
    let workers = |text: &str| {
        load_env(&[("ATHENS_GOGET_WORKERS", text)]).map(|loaded| loaded.config.go_get_workers)
    };
    for (text, want) in [("16", 16), ("0x10", 16), ("0o20", 16), ("020", 16), ("1_000", 1000)] {
        assert_eq!(workers(text), Ok(want), "{text}");
    }
    for text in ["", "ten", "-1", "0", "1.5", " 1", "100001", "99999999999999999999"] {
        let error = workers(text).expect_err(text).to_string();
        let want = "(from environment ATHENS_GOGET_WORKERS): accepted is a whole number from 1";
        assert!(error.contains(want), "{error}");
    }
}

#[test]
fn a_named_file_must_exist_and_an_empty_name_is_none() {
    let named = |name: &str| {
        let args = LoadArgs { config_file: Some(name.into()), cwd: "/nonexistent".into() };
        Config::load(args, &Variables::new())
    };
    let error = named("/nonexistent/config.toml").expect_err("it does not exist").to_string();
    assert!(error.contains("/nonexistent/config.toml: cannot be read"), "{error}");
    assert_eq!(named("").expect("no file is named").file, None);
}

#[test]
fn a_named_file_wins_over_the_one_in_the_working_directory() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let write = |name: &str, level: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, format!("LogLevel = \"{level}\"")).expect("written");
        path
    };
    write("athens.toml", "info");
    let named = write("other.toml", "warn");
    let load = |config_file: Option<PathBuf>| {
        let args = LoadArgs { config_file, cwd: directory.path().to_owned() };
        Config::load(args, &Variables::new()).expect("sound")
    };
    assert_eq!(load(Some(named)).config.log_level.as_str(), "warn");
    let found = load(None);
    assert_eq!(found.config.log_level.as_str(), "info");
    assert_eq!(found.file, Some(directory.path().join("athens.toml")));
}

#[test]
fn files_beyond_their_limits_are_refused() {
    let long = format!("# {}\n", "x".repeat(1024 * 1024));
    let error = load(&long, &Variables::new()).expect_err("too long").to_string();
    assert!(error.contains("is longer than 1048576 bytes"), "{error}");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "x".repeat(64 * 1024 + 1)).expect("written");
    let path = secret.to_str().expect("a UTF-8 path");
    let error = load_env(&[("BASIC_AUTH_PASS_FILE", path)]).expect_err("too long").to_string();
    assert!(error.contains("BASIC_AUTH_PASS_FILE) is longer than 65536 bytes"), "{error}");
    std::fs::write(&secret, b"\xff\xfe").expect("written");
    let error = load_env(&[("BASIC_AUTH_PASS_FILE", path)]).expect_err("no text").to_string();
    assert!(error.contains("is not UTF-8"), "{error}");
}

#[cfg(unix)]
#[test]
fn production_wants_files_that_others_cannot_change() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = directory.path().join("athens.toml");
    let filter = directory.path().join("filter");
    let set_mode = |path: &Path, mode: u32| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path, permissions).expect("the mode is set");
    };
    std::fs::write(&config, format!("GoEnv = \"production\"\nFilterFile = {filter:?}\n"))
        .expect("written");
    std::fs::write(&filter, "").expect("written");
    let load = |env: &Variables| {
        Config::load(LoadArgs { config_file: None, cwd: directory.path().to_owned() }, env)
    };
    for (mode, fits) in [
        (0o644, true),
        (0o600, true),
        (0o744, true),
        (0o664, false),
        (0o645, false),
        (0o646, false),
    ] {
        set_mode(&filter, 0o644);
        set_mode(&config, mode);
        assert_eq!(load(&Variables::new()).is_ok(), fits, "{mode:o}");
        set_mode(&config, 0o644);
        set_mode(&filter, mode);
        assert_eq!(load(&Variables::new()).is_ok(), fits, "{mode:o} of the filter file");
    }
    set_mode(&filter, 0o666);
    let error = load(&Variables::new()).expect_err("others may write").to_string();
    assert!(error.contains("has mode 0666") && error.contains("chmod 0644"), "{error}");
    let development = variables(&[("GO_ENV", "development")]);
    assert!(load(&development).is_ok(), "the environment is looked at first");
    std::fs::remove_file(&filter).expect("removed");
    assert!(load(&Variables::new()).is_ok(), "a missing filter file is the filter's business");
}

/// An environment with a value that is not UTF-8.
#[cfg(unix)]
#[test]
fn a_variable_that_is_not_utf8_is_an_error_and_no_panic() {
    struct Odd;
    impl Env for Odd {
        fn get(&self, name: &str) -> Option<OsString> {
            use std::os::unix::ffi::OsStringExt as _;
            (name == "ATHENS_LOG_LEVEL").then(|| OsString::from_vec(vec![0xff]))
        }
        fn names(&self) -> Vec<String> {
            vec!["ATHENS_LOG_LEVEL".to_owned()]
        }
    }
    let args = LoadArgs { config_file: None, cwd: "/nonexistent".into() };
    let error = Config::load(args, &Odd).expect_err("not UTF-8").to_string();
    assert!(error.contains("LogLevel") && error.contains("not UTF-8"), "{error}");
}

#[test]
fn many_unknown_names_do_not_flood_the_log() {
    let toml: String = (0..200).map(|n| format!("NoSuchKeyAtAll{n} = 1\n")).collect();
    let loaded = load(&toml, &Variables::new()).expect("unknown keys are ignored");
    assert_eq!(loaded.warnings.len(), 51);
    assert_eq!(loaded.warnings[50].to_string(), "150 more unknown names are ignored");
}

#[test]
fn a_deeply_nested_file_is_an_error_and_no_overflow() {
    let toml = format!("a = {}{}", "[".repeat(20_000), "]".repeat(20_000));
    assert!(load(&toml, &Variables::new()).is_err());
    let toml = format!("a.{}b = 1", "a.".repeat(20_000));
    let _either = load(&toml, &Variables::new());
}
