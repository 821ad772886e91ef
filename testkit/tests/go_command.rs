//! The real `go` command believes the fakes: upstream, checksum database, git repositories.

use std::time::Duration;

use dipylon_testkit::checksum_db::ChecksumDb;
use dipylon_testkit::git::{GitHome, GitRepo};
use dipylon_testkit::go::Go;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::{Fault, Upstream, When};
use serde_json::Value;

const UPPER: &str = "example.com/Acme/widget";

fn widget() -> FakeModule {
    FakeModule::new(UPPER, "v1.2.3").file("sub/sub.go", "package sub\n").filler(50_000)
}

fn field<'a>(object: &'a Value, name: &str) -> &'a str {
    object[name].as_str().unwrap_or_else(|| panic!("no {name} in {object}"))
}

#[tokio::test]
#[ignore = "needs the go command: run by cargo xtask test"]
async fn go_downloads_and_agrees_about_the_hashes() {
    let upstream = Upstream::start().await;
    let plain = FakeModule::new("example.com/plain", "v2.0.0+incompatible").no_go_mod();
    upstream.add(widget());
    upstream.add(plain.clone());
    let go = Go::new().goproxy(&upstream.url());
    let asked = format!("{UPPER}@v1.2.3");
    let got = go.mod_download_json(&[&asked, "example.com/plain@v2.0.0+incompatible"]);
    for (object, module) in got.iter().zip([widget(), plain]) {
        assert_eq!(field(object, "Path"), module.path());
        assert_eq!(field(object, "Sum"), module.h1());
        assert_eq!(field(object, "GoModSum"), module.go_mod_h1());
        assert!(field(object, "Dir").starts_with(go.mod_cache().to_str().unwrap()));
    }
    assert_eq!(got.len(), 2);
    assert_eq!(upstream.count("/example.com/!acme/widget/@v/v1.2.3.zip"), 1);
}

#[tokio::test]
#[ignore = "needs the go command: run by cargo xtask test"]
async fn go_lists_versions_and_resolves_queries() {
    const PSEUDO: &str = "v1.3.1-0.20240405060708-abcdefabcdef";
    let upstream = Upstream::start().await;
    for version in ["v1.2.3", "v1.3.0", "v1.4.0-rc1", PSEUDO] {
        upstream.add(FakeModule::new(UPPER, version));
    }
    upstream.query(UPPER, "master", PSEUDO);
    let go = Go::new().goproxy(&upstream.url());
    let list = go.run(&go.scratch(), &["list", "-m", "-versions", UPPER]);
    assert_eq!(list.expect_success().trim(), format!("{UPPER} v1.2.3 v1.3.0 v1.4.0-rc1"));
    let latest = go.run(&go.scratch(), &["list", "-m", &format!("{UPPER}@latest")]);
    assert_eq!(latest.expect_success().trim(), format!("{UPPER} v1.3.0"));
    let master = go.mod_download_json(&[&format!("{UPPER}@master")]);
    assert_eq!(field(&master[0], "Version"), PSEUDO);
}

#[tokio::test]
#[ignore = "needs the go command: run by cargo xtask test"]
async fn go_verifies_against_the_database_through_the_upstream() {
    let upstream = Upstream::start().await;
    let database = ChecksumDb::new("sumdb.test", 1);
    database.pad(700);
    upstream.attach(&database);
    upstream.add(widget());
    upstream.add(FakeModule::new("example.com/b", "v1.0.0"));
    let go = Go::new().goproxy(&upstream.url()).gosumdb(database.verifier_key());
    for asked in [&format!("{UPPER}@v1.2.3"), "example.com/b@v1.0.0"] {
        let got = go.mod_download_json(&[asked]);
        assert_eq!(got[0].get("Error"), None);
    }
    assert_eq!(upstream.count("/sumdb/sumdb.test/lookup/example.com/!acme/widget@v1.2.3"), 1);
    assert_eq!((database.count("/lookup/"), database.records()), (2, 702));
    assert!(database.count("/tile/") > 0);
}

#[tokio::test]
#[ignore = "needs the go command: run by cargo xtask test"]
async fn go_falls_back_to_full_tiles_at_a_database_of_its_own_address() {
    let upstream = Upstream::start().await;
    let database = ChecksumDb::new("sumdb.test", 2);
    database.register(&widget());
    database.pad(300);
    let running = database.start().await;
    upstream.add(widget());
    let gosumdb = format!("{} {}", database.verifier_key(), running.url());
    let go = Go::new().goproxy(&upstream.url()).gosumdb(&gosumdb);
    let got = go.mod_download_json(&[&format!("{UPPER}@v1.2.3")]);
    assert_eq!(got[0].get("Error"), None);
    assert_eq!(upstream.count("/sumdb/sumdb.test/supported"), 0);
    assert_eq!(database.count("/lookup/"), 1);
}

#[tokio::test]
#[ignore = "needs the go command: run by cargo xtask test"]
async fn go_sees_a_lie_and_a_fork() {
    let upstream = Upstream::start().await;
    let honest = ChecksumDb::new("sumdb.test", 3);
    honest.pad(5);
    upstream.attach(&honest);
    for version in ["v1.0.0", "v1.0.1", "v1.0.2"] {
        upstream.add(FakeModule::new("example.com/b", version));
    }
    let other = FakeModule::new("example.com/b", "v9.0.0");
    honest.lie("example.com/b", "v1.0.1", &other.h1());
    let go = Go::new().goproxy(&upstream.url()).gosumdb(honest.verifier_key());
    assert_eq!(go.mod_download_json(&["example.com/b@v1.0.0"])[0].get("Error"), None);
    let lie = go.mod_download_json(&["example.com/b@v1.0.1"]);
    assert!(field(&lie[0], "Error").contains("checksum mismatch"), "{lie:?}");
    upstream.attach(&honest.fork());
    // At a fork the go command ends at once: there is no object to read.
    let fork = go.run(&go.scratch(), &["mod", "download", "-json", "example.com/b@v1.0.2"]);
    assert!(!fork.status.success());
    assert!(fork.stderr.contains("SECURITY ERROR"), "{}", fork.stderr);
}

#[tokio::test]
#[ignore = "needs the go command: run by cargo xtask test"]
async fn go_fails_as_each_fault_means_it_to() {
    let upstream = Upstream::start().await;
    upstream.add(widget());
    let go = Go::new().goproxy(&upstream.url());
    let asked = format!("{UPPER}@v1.2.3");
    let cases = [
        (".zip", Fault::TruncateAt(1000), "unexpected EOF"),
        (".zip", Fault::HtmlLogin, "not a valid zip"),
        (".info", Fault::WrongVersion, "returned info for version v9.9.9"),
        (".mod", Fault::Status(503, "text/plain", "busy today\n".into()), "busy today"),
        (".zip", Fault::Reset, "connection reset"),
    ];
    for (suffix, fault, want) in cases {
        go.clean_mod_cache();
        upstream.clear_faults();
        upstream.fault(When::suffix(suffix), fault);
        let got = go.mod_download_json(&[&asked]);
        assert!(field(&got[0], "Error").contains(want), "{want}: {got:?}");
    }
    for harmless in [Fault::Gzip, Fault::NoContentLength, Fault::Delay(Duration::from_millis(5))] {
        go.clean_mod_cache();
        upstream.clear_faults();
        upstream.fault(When::any(), harmless);
        assert_eq!(go.mod_download_json(&[&asked])[0].get("Error"), None);
    }
}

#[test]
#[ignore = "needs the go command and git: run by cargo xtask test"]
fn go_fetches_directly_from_local_repositories() {
    let folder = tempfile::tempdir().unwrap();
    let repo = GitRepo::create(folder.path().join("widget"));
    let go_mod = "module github.com/acme/widget\n\ngo 1.21\n";
    repo.commit(&[("go.mod", go_mod), ("a.go", "package widget\n")]);
    repo.tag("v1.0.0");
    let untagged = repo.commit(&[("b.go", "package widget\n")]);
    let home = GitHome::new();
    home.map("https://github.com/acme/widget", &repo);
    let go = Go::new().goproxy("direct").home(&home).env("GOFLAGS", "-modcacherw -mod=mod");
    let one = go.mod_download_json(&["github.com/acme/widget@v1.0.0"]);
    assert_eq!(one[0].get("Error"), None, "{one:?}");
    assert_eq!(field(&one[0], "Version"), "v1.0.0");
    let main = go.mod_download_json(&["github.com/acme/widget@main"]);
    let want = format!("v1.0.1-0.{}-{}", untagged.stamp, &untagged.hash[..12]);
    assert_eq!(field(&main[0], "Version"), want);
    assert!(home.packs_sent(&repo) >= 1);
}

#[test]
#[ignore = "needs the go command and git: run by cargo xtask test"]
fn a_second_version_from_the_same_cache_brings_no_second_clone() {
    let folder = tempfile::tempdir().unwrap();
    let repo = GitRepo::create(folder.path().join("widget"));
    let go_mod = "module github.com/acme/widget\n\ngo 1.21\n";
    repo.commit(&[("go.mod", go_mod), ("a.go", "package widget\n")]);
    repo.tag("v1.0.0");
    repo.tag("v1.0.1");
    let home = GitHome::new();
    home.map("https://github.com/acme/widget", &repo);
    let go = Go::new().goproxy("direct").home(&home);
    let get = |version: &str| {
        let got = go.mod_download_json(&[&format!("github.com/acme/widget@{version}")]);
        assert_eq!(got[0].get("Error"), None, "{got:?}");
        home.packs_sent(&repo)
    };
    let first = get("v1.0.0");
    assert!(first > 0);
    assert_eq!(get("v1.0.1"), first, "the objects were there already");
    go.clean_mod_cache();
    assert!(get("v1.0.0") > first, "an empty cache clones again");
}

#[test]
#[ignore = "needs git: run by cargo xtask test"]
fn the_same_commits_have_the_same_hashes() {
    let folder = tempfile::tempdir().unwrap();
    let make = |name: &str| {
        let repo = GitRepo::create(folder.path().join(name));
        repo.commit(&[("go.mod", "module example.com/a\n")]);
        repo.commit(&[("a.go", "package a\n")])
    };
    let commit = make("one");
    assert_eq!(commit, make("two"));
    assert_eq!(commit.stamp, "20240301120100");
    assert!(commit.pseudo_version().starts_with("v0.0.0-20240301120100-"));
}
