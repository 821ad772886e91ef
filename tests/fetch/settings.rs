//! Where the Go settings come from.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use dipylon::fetch::environment::{
    GoSettings, NAMES, Origin, SettingsError, SettingsSource, SumDbSetting,
};
use dipylon::fetch::go_env::GoEnv;
use dipylon_testkit::checksum_db::ChecksumDb;

/// A `go` that answers `env -json` with `json` and leaves what it was called with behind.
fn fake_go(directory: &Path, script: &str) -> String {
    let path = directory.join("go");
    // Not by this process: what another test starts in that moment would hold it open, and what is open for writing
    // cannot be run.
    let text = directory.join("go.txt");
    std::fs::write(&text, format!("#!/bin/sh\n{script}\n")).unwrap();
    let mut install = std::process::Command::new("install");
    assert!(install.args(["-m", "755"]).args([&text, &path]).status().unwrap().success());
    path.to_str().unwrap().to_owned()
}

struct Case<'a> {
    vars: &'a [(&'a str, &'a str)],
    environment: &'a [(&'a str, &'a str)],
    go: &'a str,
    no_sum_patterns: &'a [&'a str],
}

/// Where the gateway itself listens.
const OWN_PORT: u16 = 3999;

const NO_GO: Case<'static> =
    Case { vars: &[], environment: &[], go: "/nowhere/go", no_sum_patterns: &[] };

async fn resolve(case: Case<'_>) -> Result<GoSettings, SettingsError> {
    let owned = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let environment: BTreeMap<String, String> = owned(case.environment).into_iter().collect();
    let patterns: Vec<String> = case.no_sum_patterns.iter().map(|p| (*p).to_owned()).collect();
    GoSettings::resolve(&SettingsSource {
        go_binary_env_vars: &owned(case.vars),
        environment: &|name| environment.get(name).cloned(),
        go_binary: case.go,
        no_sum_patterns: &patterns,
        own_port: Some(OWN_PORT),
    })
    .await
}

fn origin(settings: &GoSettings, name: &str) -> (String, Origin) {
    let setting = settings.settings.iter().find(|setting| setting.name == name).unwrap();
    (setting.value.clone(), setting.origin)
}

#[tokio::test]
async fn without_anything_there_is_no_upstream_and_the_public_database() {
    let settings = resolve(NO_GO).await.unwrap();
    assert!(settings.proxies.is_empty());
    assert_eq!(settings.go_env, GoEnv::Missing);
    let SumDbSetting::Database(database) = &settings.sumdb else { panic!("a database") };
    assert_eq!(database.name, "sum.golang.org");
    let names: Vec<&str> = settings.settings.iter().map(|setting| setting.name).collect();
    assert_eq!(names, NAMES);
}

#[tokio::test]
async fn the_configuration_beats_the_environment_beats_go_env() {
    let directory = tempfile::tempdir().unwrap();
    let go = fake_go(
        directory.path(),
        r#"echo '{"GOPROXY":"https://c.test","GOSUMDB":"off","GOVCS":"*:git","GOPRIVATE":""}'"#,
    );
    let settings = resolve(Case {
        vars: &[("GOPROXY", "https://a.test"), ("GOINSECURE", "")],
        environment: &[("GOPROXY", "https://b.test"), ("GOPRIVATE", "corp.test")],
        go: &go,
        ..NO_GO
    })
    .await
    .unwrap();
    let found = |name| origin(&settings, name);
    assert_eq!(found("GOPROXY"), ("https://a.test".into(), Origin::GoBinaryEnvVars));
    assert_eq!(found("GOPRIVATE"), ("corp.test".into(), Origin::Environment));
    assert_eq!(found("GOSUMDB"), ("off".into(), Origin::GoEnv));
    assert_eq!(found("GOVCS"), ("*:git".into(), Origin::GoEnv));
    assert_eq!(found("GONOPROXY"), ("corp.test".into(), Origin::Default));
    assert_eq!(found("GOINSECURE"), (String::new(), Origin::Default));
    assert_eq!(settings.sumdb, SumDbSetting::Off);
    assert!(settings.no_proxy.matches("corp.test/x") && settings.no_sum.matches("corp.test/x"));
}

#[tokio::test]
async fn go_is_asked_once_in_a_clean_environment_with_what_is_known() {
    let directory = tempfile::tempdir().unwrap();
    let record = directory.path().join("record");
    let go = fake_go(
        directory.path(),
        &format!("{{ echo \"$@\"; pwd; env | sort; }} >> {}; echo '{{}}'", record.display()),
    );
    resolve(Case {
        vars: &[("GOPRIVATE", "corp.test")],
        environment: &[
            ("HOME", "/h"),
            ("PATH", "/usr/bin:/bin"),
            ("GOFLAGS", "-x"),
            ("SECRET", "s"),
        ],
        go: &go,
        ..NO_GO
    })
    .await
    .unwrap();
    let record = std::fs::read_to_string(record).unwrap();
    let want = "env -json GOPROXY GONOPROXY GOSUMDB GONOSUMDB GOINSECURE GOVCS GOTOOLCHAIN\n/\n";
    assert!(record.starts_with(want), "{record}");
    assert!(
        record.contains("\nHOME=/h\n") && record.contains("\nGOPRIVATE=corp.test\n"),
        "{record}"
    );
    assert!(!record.contains("GOFLAGS") && !record.contains("SECRET"), "{record}");
    assert_eq!(record.matches("env -json").count(), 1);
}

#[tokio::test]
async fn go_is_not_asked_when_everything_is_said() {
    let all: Vec<(&str, &str)> = NAMES
        .iter()
        .map(|name| (*name, if *name == "GOPROXY" { "off" } else { "sum.golang.org" }))
        .collect();
    let settings = resolve(Case { vars: &all, ..NO_GO }).await.unwrap();
    assert_eq!(settings.go_env, GoEnv::NotAsked);
}

#[tokio::test]
async fn a_go_that_fails_or_babbles_is_told_and_leaves_the_defaults() {
    let directory = tempfile::tempdir().unwrap();
    for (script, want) in [
        ("echo 'go: no such tool' >&2; exit 2", "go: no such tool"),
        ("echo babble", "not the JSON wanted"),
        ("head -c 3000000 /dev/zero", "not the JSON wanted"),
    ] {
        let go = fake_go(directory.path(), script);
        let path = [("PATH", "/usr/bin:/bin")];
        let settings = resolve(Case { go: &go, environment: &path, ..NO_GO }).await.unwrap();
        let GoEnv::Failed(why) = &settings.go_env else { panic!("{:?}", settings.go_env) };
        assert!(why.contains(want), "{why}");
        assert!(settings.proxies.is_empty());
    }
}

#[tokio::test]
#[ignore = "slow: waits for the ten seconds that go env is given; run by cargo xtask test"]
async fn slow_a_go_that_hangs_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let go = fake_go(directory.path(), "exec sleep 60");
    let started = Instant::now();
    let path = [("PATH", "/usr/bin:/bin")];
    let settings = resolve(Case { go: &go, environment: &path, ..NO_GO }).await.unwrap();
    assert!(matches!(settings.go_env, GoEnv::Failed(_)));
    assert!(started.elapsed() < Duration::from_secs(15));
}

#[tokio::test]
#[ignore = "needs the go command: run by cargo xtask test"]
async fn the_real_go_command_answers() {
    let home = tempfile::tempdir().unwrap();
    let path = std::env::var("PATH").unwrap(); // tidy: allow, the real go is found through it
    let settings = resolve(Case {
        environment: &[("PATH", &path), ("HOME", home.path().to_str().unwrap())],
        vars: &[("GOPRIVATE", "corp.test")],
        go: "go",
        ..NO_GO
    })
    .await
    .unwrap();
    assert_eq!(origin(&settings, "GONOSUMDB"), ("corp.test".into(), Origin::GoEnv));
    assert_eq!(origin(&settings, "GOPROXY").1, Origin::GoEnv);
    assert!(!settings.proxies.is_empty());
}

#[tokio::test]
async fn no_sum_patterns_join_gonosumdb() {
    let settings = resolve(Case {
        vars: &[("GONOSUMDB", "corp.test/a"), ("GOPRIVATE", "other.test")],
        no_sum_patterns: &["git.test/*", "x.test"],
        ..NO_GO
    })
    .await
    .unwrap();
    for (module, want) in [
        ("corp.test/a/b", true),
        ("git.test/x", true),
        ("x.test/y/z", true),
        ("other.test/x", false),
        ("example.com/x", false),
    ] {
        assert_eq!(settings.no_sum.matches(module), want, "{module}");
    }
}

#[tokio::test]
async fn the_child_gets_the_settings_but_neither_goproxy_nor_gosumdb_nor_goflags() {
    let settings = resolve(Case {
        vars: &[
            ("GOPROXY", "off"),
            ("GOFLAGS", "-insecure"),
            ("GIT_SSH_COMMAND", "ssh -i k"),
            ("GOPRIVATE", "a.test"),
        ],
        environment: &[("GOTOOLCHAIN", "local"), ("GOFLAGS", "-x"), ("HOME", "/h")],
        ..NO_GO
    })
    .await
    .unwrap();
    let mut names: Vec<&str> = settings.child_env.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["GIT_SSH_COMMAND", "GONOPROXY", "GONOSUMDB", "GOPRIVATE", "GOTOOLCHAIN"]);
}

#[tokio::test]
async fn wrong_values_name_the_setting_its_origin_and_what_is_accepted() {
    let error =
        resolve(Case { vars: &[("GOPROXY", "a.test,nonsense")], ..NO_GO }).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("\"nonsense\"") && text.contains("from GoBinaryEnvVars"), "{text}");
    let wrong = [("GOSUMDB", "sum.test+12345678+AAAA")];
    let error = resolve(Case { environment: &wrong, ..NO_GO }).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("GOSUMDB") && text.contains("from environment"), "{text}");
    assert!(text.contains("NAME+HASH+KEY") && !text.contains('\n'), "{text}");
}

#[tokio::test]
async fn databases_are_read_in_every_form() {
    let key = ChecksumDb::new("sum.test", 1).verifier_key().to_owned();
    let with_url = format!("{key} https://mirror.test/sum");
    let table = [
        (key.as_str(), "sum.test", None),
        (with_url.as_str(), "sum.test", Some("https://mirror.test/sum")),
        ("sum.golang.google.cn", "sum.golang.org", Some("https://sum.golang.google.cn")),
    ];
    for (value, name, url) in table {
        let settings = resolve(Case { vars: &[("GOSUMDB", value)], ..NO_GO }).await.unwrap();
        let SumDbSetting::Database(database) = &settings.sumdb else { panic!("a database") };
        assert_eq!((database.name.as_str(), database.url.as_deref()), (name, url));
    }
}

#[tokio::test]
async fn credentials_are_never_shown() {
    let vars = [("GOPROXY", "https://user:pw@a.test,direct")];
    let settings = resolve(Case { vars: &vars, ..NO_GO }).await.unwrap();
    let shown = format!("{:?} {}", settings.settings, settings.proxies);
    assert!(!shown.contains("pw"), "{shown}");
    let EntryAuthorization(found) = EntryAuthorization::of(&settings);
    assert!(found, "requests still carry them");
}

struct EntryAuthorization(bool);

impl EntryAuthorization {
    fn of(settings: &GoSettings) -> Self {
        use dipylon::fetch::goproxy_setting::EntryKind::Proxy;
        let first = &settings.proxies.entries()[0].kind;
        Self(matches!(first, Proxy(base) if base.authorization().is_some()))
    }
}

#[tokio::test]
async fn a_gateway_that_is_told_to_ask_itself_says_so() {
    for value in
        ["http://localhost:3999", "https://proxy.test|http://u:secret@127.0.0.1:3999/base,direct"]
    {
        let environment = [("GOPROXY", value)];
        let error = resolve(Case { environment: &environment, ..NO_GO }).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("this gateway itself") && text.contains("environment"), "{text}");
        assert!(text.contains(":3999") && !text.contains("secret"), "{text}");
    }
    for value in ["http://localhost:4000", "http://proxy.test:3999", "direct", "off"] {
        let environment = [("GOPROXY", value)];
        resolve(Case { environment: &environment, ..NO_GO }).await.unwrap();
    }
}

#[tokio::test]
async fn go_env_that_names_the_gateway_is_asked_again_without_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let script = "[ \"$GOENV\" = off ] && p=https://proxy.test || p=http://localhost:3999\n\
                  printf '{\"GOPROXY\": \"%s\"}' \"$p\"";
    let go = fake_go(folder.path(), script);
    let settings = resolve(Case { go: &go, ..NO_GO }).await.unwrap();
    assert_eq!(origin(&settings, "GOPROXY"), ("https://proxy.test".to_owned(), Origin::GoEnv));
}
