//! `direct` on the gateway: modules straight from git repositories.

use dipylon_testkit::git::{Commit, GitHome, GitRepo};
use dipylon_testkit::go::Go;
use serde_json::Value;

use crate::world::{World, assert_failed, field};

const WIDGET: &str = "github.com/Acme/widget";
/// Subdirectory, major version and branch: where modules lie within the one repository.
const NESTED: &str = "github.com/Acme/widget/tools/gen";
const SECOND: &str = "github.com/Acme/widget/v2";

/// A gateway whose only upstream is `direct`, and the repository behind it.
struct Site {
    world: World,
    home: GitHome,
    repo: GitRepo,
    head: Commit,
}

impl Site {
    async fn start() -> Self {
        let home = GitHome::new();
        let folder = home.path().join("repositories/widget");
        let repo = GitRepo::create(folder);
        home.map("https://github.com/Acme/widget", &repo);
        let go_mod = |path: &str| format!("module {path}\n\ngo 1.20\n");
        repo.commit(&[
            ("go.mod", &go_mod(WIDGET)),
            ("widget.go", "package widget\n"),
            ("tools/gen/go.mod", &go_mod(NESTED)),
            ("tools/gen/gen.go", "package gen\n"),
        ]);
        repo.tag("v1.0.0");
        repo.tag("tools/gen/v0.1.0");
        repo.commit(&[("widget.go", "package widget\n\n// One more line.\n")]);
        repo.tag("v1.1.0");
        repo.branch("second");
        repo.commit(&[("go.mod", &go_mod(SECOND))]);
        repo.tag("v2.0.0");
        repo.checkout("main");
        let head = repo.commit(&[("widget.go", "package widget\n\n// Not tagged.\n")]);
        let home_path = home.path().display().to_string();
        let variables = [("GOPROXY", "direct"), ("GOSUMDB", "off"), ("HOME", &home_path)];
        let world = World::start_with(&variables).await;
        Self { world, home, repo, head }
    }

    /// A client of the gateway. Nobody knows these modules' hashes.
    fn go(&self) -> Go {
        self.world.go().gosumdb("off")
    }

    fn download(&self, query: &str) -> Value {
        self.go().mod_download_json(&[query]).remove(0)
    }

    /// The same by a `go` that goes to the repository itself.
    fn straight(&self, query: &str) -> Value {
        Go::new().home(&self.home).goproxy("direct").mod_download_json(&[query]).remove(0)
    }
}

#[tokio::test]
#[ignore = "needs the go command and git: run by cargo xtask test"]
async fn every_shape_has_the_hashes_that_go_gets_by_itself() {
    let site = Site::start().await;
    let pseudo = format!("v1.1.1-0.{}-{}", site.head.stamp, &site.head.hash[..12]);
    let shapes = [
        (format!("{WIDGET}@v1.0.0"), "v1.0.0"),
        (format!("{WIDGET}@latest"), "v1.1.0"),
        (format!("{WIDGET}@main"), pseudo.as_str()),
        (format!("{WIDGET}@{}", &site.head.hash[..12]), pseudo.as_str()),
        (format!("{SECOND}@v2.0.0"), "v2.0.0"),
        (format!("{NESTED}@v0.1.0"), "v0.1.0"),
    ];
    for (query, version) in &shapes {
        let (got, want) = (site.download(query), site.straight(query));
        assert_eq!(field(&got, "Version"), *version, "{query}: {got}");
        for name in ["Path", "Version", "Sum", "GoModSum"] {
            assert!(!field(&want, name).is_empty(), "{query}: no {name} in {want}");
            assert_eq!(field(&got, name), field(&want, name), "{query}: {name}");
        }
        // Of a query, `go` keeps the origin only where the list had one, which no proxy's has.
        if query.ends_with(version) {
            assert!(want["Origin"].is_object(), "{want}");
            assert_eq!(got["Origin"], want["Origin"], "{query}");
        }
    }
}

#[tokio::test]
#[ignore = "needs the go command and git: run by cargo xtask test"]
async fn lists_are_those_of_the_tags() {
    let site = Site::start().await;
    let go = site.go();
    for (module, versions) in [(WIDGET, "v1.0.0 v1.1.0"), (SECOND, "v2.0.0"), (NESTED, "v0.1.0")] {
        let said = go.run(&go.scratch(), &["list", "-m", "-versions", module]);
        assert_eq!(said.expect_success().trim(), format!("{module} {versions}"));
    }
}

#[tokio::test]
#[ignore = "needs the go command and git: run by cargo xtask test"]
async fn a_stored_version_outlives_its_tag_and_its_repository() {
    let site = Site::start().await;
    let query = format!("{WIDGET}@v1.0.0");
    let first = site.download(&query);
    site.repo.delete_tag("v1.0.0");
    std::fs::rename(site.repo.path(), site.home.path().join("gone")).expect("the repository moves");
    let second = site.download(&query);
    assert_eq!(field(&second, "Sum"), field(&first, "Sum"), "{second}");
}

#[tokio::test]
#[ignore = "needs the go command and git: run by cargo xtask test"]
async fn what_git_does_not_have_is_not_found_in_one_line() {
    let site = Site::start().await;
    let go = site.go();
    let said = go.run(&go.scratch(), &["mod", "download", &format!("{WIDGET}@v1.9.0")]);
    assert_failed(&said, &["404 Not Found", "unknown revision v1.9.0"]);
    let leaked = site.home.path().display().to_string();
    assert!(!said.stderr.contains(&leaked), "a path of the gateway's machine: {}", said.stderr);
}

#[tokio::test]
#[ignore = "needs the go command and git: run by cargo xtask test"]
async fn private_modules_go_direct_and_the_others_to_the_proxy() {
    let home = GitHome::new();
    let repo = GitRepo::create(home.path().join("repositories/own"));
    home.map("https://github.com/acme/own", &repo);
    repo.commit(&[("go.mod", "module github.com/acme/own\n\ngo 1.20\n")]);
    repo.tag("v1.0.0");
    let home_path = home.path().display().to_string();
    let variables = [("GOPRIVATE", "github.com/acme/*"), ("HOME", home_path.as_str())];
    let world = World::start_with(&variables).await;
    let public = world.add(dipylon_testkit::module::FakeModule::new("example.com/lib", "v1.0.0"));
    let go = world.go().gonosumdb("github.com/acme/*");
    let got = go.mod_download_json(&["github.com/acme/own@v1.0.0", "example.com/lib@v1.0.0"]);
    assert_eq!(field(&got[0], "Version"), "v1.0.0", "{}", got[0]);
    crate::world::assert_same(&got[1], &public);
    let leaked = world.upstream.requests().iter().any(|seen| seen.path.contains("acme"));
    assert!(!leaked, "the proxy was told of a private module");
}
