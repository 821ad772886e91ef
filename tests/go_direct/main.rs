//! `direct` with the real `go` and the real git, on local repositories: no network.

use std::fs;
use std::path::Path;

use dipylon::fetch::go_command::GoCommand;
use dipylon_middleware::error::ErrorKind;
use dipylon_middleware::ports::Fetcher as _;
use dipylon_middleware::request::FetchAsk;
use dipylon_protocol::info::Info;
use dipylon_testkit::module::FakeModule;

mod site;

use site::*;

#[tokio::test]
#[ignore = "needs the go command and git: run by cargo xtask test"]
async fn a_version_comes_whole_as_go_wrote_it() {
    let site = Site::new();
    let _repo = site.widget();
    let go = site.go();
    let got = fetch(&go, WIDGET, zip_of("v1.0.0")).await;
    assert_eq!(got.version.as_str(), "v1.0.0");
    assert_eq!(got.go_mod, "module github.com/acme/widget\n\ngo 1.20\n");
    let info: serde_json::Value = serde_json::from_slice(&got.info).unwrap();
    assert_eq!(info["Time"], "2024-03-01T12:00:00Z");
    assert_eq!(info["Origin"]["URL"], "https://github.com/acme/widget");
    assert_eq!(info["Origin"]["Ref"], "refs/tags/v1.0.0");
    assert!(got.zip.starts_with(b"PK\x03\x04") && got.zip.len() > LARGE_FILE_BYTES / 2);
    // The files of one version do not depend on which of them is asked for.
    let again = fetch(&go, WIDGET, info_of("v1.0.0")).await;
    assert_eq!((again.info, again.go_mod, again.zip), (got.info, got.go_mod, got.zip));
}

#[tokio::test]
#[ignore = "needs the go command and git: run by cargo xtask test"]
async fn the_tree_is_gone_before_the_zip_is_read() {
    let site = Site::new();
    let _repo = site.widget();
    let go = site.go();
    let fetched = go.fetch(request(WIDGET, zip_of("v1.0.0"))).await.unwrap();
    eventually("the removal of the tree", || site.trees() == 0).await;
    assert!(
        whole(fetched).await.zip.len() > LARGE_FILE_BYTES / 2,
        "the zip is readable all the same"
    );
    drop(go.fetch(request(WIDGET, zip_of("v1.1.0"))).await.unwrap());
    refusal(&go, WIDGET, zip_of("v1.9.0")).await;
    eventually("the removal of the trees", || site.trees() == 0).await;
    drop(go);
    assert_eq!(fs::read_dir(&site.config.temp_parent).unwrap().count(), 0);
}

#[tokio::test]
#[ignore = "needs the go command and git: run by cargo xtask test"]
async fn a_query_is_answered_with_the_canonical_version() {
    let site = Site::new();
    let repo = site.widget();
    repo.branch("feature");
    let commit = repo.commit(&[("feature.go", "package widget\n")]);
    let go = site.go();
    for query in ["feature", &commit.hash[..12], &commit.hash] {
        let got = fetch(&go, WIDGET, info_of(query)).await;
        let expected = format!("v1.1.1-0.{}-{}", commit.stamp, &commit.hash[..12]);
        assert_eq!(got.version.as_str(), expected, "{query}");
        assert_eq!(Info::parse(&got.info).unwrap().version.as_str(), expected);
    }
    assert_eq!(fetch(&go, WIDGET, info_of("v1.0")).await.version.as_str(), "v1.0.0");
}

#[tokio::test]
#[ignore = "needs the go command and git: run by cargo xtask test"]
async fn list_and_latest_are_answered() {
    let site = Site::new();
    let _repo = site.widget();
    let go = site.go();
    assert_eq!(text(&go, WIDGET, FetchAsk::List).await, "v1.0.0\nv1.1.0\n");
    let latest = text(&go, WIDGET, FetchAsk::Latest).await;
    let info = Info::parse(latest.as_bytes()).unwrap();
    assert_eq!(
        (info.version.as_str(), info.time.as_deref()),
        ("v1.1.0", Some("2024-03-01T12:01:00Z"))
    );
    assert!(latest.contains("\"VCS\":\"git\""), "{latest}");
    eventually("the removal of the trees", || site.trees() == 0).await;
}

#[tokio::test]
#[ignore = "needs the go command and git: run by cargo xtask test"]
async fn a_list_names_retracted_versions_and_latest_avoids_them() {
    let site = Site::new();
    let repo = site.repository("github.com/acme/retracted");
    repo.commit(&[("go.mod", "module github.com/acme/retracted\n\ngo 1.20\n")]);
    repo.tag("v1.0.0");
    repo.commit(&[("go.mod", "module github.com/acme/retracted\n\ngo 1.20\n\nretract v1.0.1\n")]);
    repo.tag("v1.0.1");
    let go = site.go();
    assert_eq!(text(&go, "github.com/acme/retracted", FetchAsk::List).await, "v1.0.0\nv1.0.1\n");
    let latest = text(&go, "github.com/acme/retracted", FetchAsk::Latest).await;
    assert_eq!(Info::parse(latest.as_bytes()).unwrap().version.as_str(), "v1.0.0");
}

#[tokio::test]
#[ignore = "needs the go command and git: run by cargo xtask test"]
async fn no_tags_is_an_empty_list_and_a_pseudo_version() {
    let site = Site::new();
    let repo = site.repository("github.com/acme/untagged");
    let commit = repo.commit(&[("go.mod", "module github.com/acme/untagged\n")]);
    let go = site.go();
    assert_eq!(text(&go, "github.com/acme/untagged", FetchAsk::List).await, "");
    let latest = text(&go, "github.com/acme/untagged", FetchAsk::Latest).await;
    assert_eq!(Info::parse(latest.as_bytes()).unwrap().version.as_str(), commit.pseudo_version());
}

#[tokio::test]
#[ignore = "needs the go command and git: run by cargo xtask test"]
async fn what_does_not_exist_is_not_found() {
    let site = Site::new();
    let repo = site.widget();
    site.home.map("https://github.com/acme/ghost", &repo);
    let broken = site.repository("github.com/acme/broken");
    broken.commit(&[("go.mod", "nonsense !!\n")]);
    broken.tag("v1.0.0");
    let go = site.go();
    for (module, ask) in [
        (WIDGET, zip_of("v1.9.0")),
        (WIDGET, info_of("no-such-branch")),
        (WIDGET, info_of("0123456789ab")),
        ("github.com/acme/widget/sub", FetchAsk::List),
        ("github.com/acme/widget/sub", zip_of("v1.0.0")),
        ("github.com/acme/broken", zip_of("v1.0.0")),
        ("github.com/acme/broken", FetchAsk::Latest),
    ] {
        let error = refusal(&go, module, ask.clone()).await;
        assert_eq!(error.kind(), ErrorKind::NotFound, "{module} {ask:?}: {error}");
        assert!(error.message().starts_with(module), "{error}");
    }
    fs::rename(site.folder.path().join("repositories"), site.folder.path().join("moved")).unwrap();
    let error = refusal(&go, "github.com/acme/ghost", zip_of("v1.0.0")).await;
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

#[tokio::test]
#[ignore = "needs the go command and git: run by cargo xtask test"]
async fn an_unreachable_host_is_a_failure_and_a_closed_one_a_refusal() {
    let mut site = Site::new();
    // Nothing listens on a port that was just let go of.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    let config = site.home.path().join(".gitconfig");
    let mut text = fs::read_to_string(&config).unwrap();
    text.push_str(&format!(
        "[url \"http://bot:hunter2@{closed}/\"]\n\tinsteadOf = https://github.com/closed/\n"
    ));
    text.push_str("[url \"ssh://git@ssh.invalid/\"]\n\tinsteadOf = https://github.com/ssh/\n");
    fs::write(config, text).unwrap();
    let ssh = "sh -c 'echo git@ssh.invalid: Permission denied \\(publickey\\). >&2; exit 255' --";
    site.config.child_env.push(("GIT_SSH_COMMAND".to_owned(), ssh.to_owned()));
    let go = site.go();
    let error = refusal(&go, "github.com/closed/x", zip_of("v1.0.0")).await;
    assert_eq!(error.kind(), ErrorKind::UpstreamFailed, "{error}");
    assert!(!error.message().contains("hunter2"), "{error}");
    let error = refusal(&go, "github.com/ssh/x", FetchAsk::List).await;
    assert_eq!(error.kind(), ErrorKind::UpstreamRefused, "{error}");
}

#[tokio::test]
#[ignore = "needs the go command and git: run by cargo xtask test"]
async fn one_repository_is_cloned_once() {
    let site = Site::new();
    let repo = site.widget();
    let go = site.go();
    fetch(&go, WIDGET, zip_of("v1.0.0")).await;
    let (packs, bytes) = (site.home.packs_sent(&repo), bytes_below(&site.clones()));
    assert!(packs >= 1 && bytes > LARGE_FILE_BYTES as u64 / 2);
    fetch(&go, WIDGET, zip_of("v1.0.0")).await;
    assert_eq!(site.home.packs_sent(&repo), packs, "the same version again sends nothing");
    fetch(&go, WIDGET, zip_of("v1.1.0")).await;
    let grown = bytes_below(&site.clones()) - bytes;
    assert!(grown < SMALL_PACK_BYTES, "a second version sent {grown} bytes");
    // What is kept outlives the process.
    let packs = site.home.packs_sent(&repo);
    let go = site.restarted(go).await;
    fetch(&go, WIDGET, zip_of("v1.0.0")).await;
    assert_eq!(site.home.packs_sent(&repo), packs, "a restarted gateway sends nothing");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the go command and git: run by cargo xtask test"]
async fn fetches_at_the_same_time_clone_once() {
    let site = Site::new();
    let repo = site.widget();
    fetch(&site.go(), WIDGET, zip_of("v1.0.0")).await;
    let alone = site.home.packs_sent(&repo);
    fs::remove_dir_all(&site.config.cache_dir).unwrap();
    let go = site.go();
    let fetches: Vec<_> = (0..8)
        .map(|_| {
            let go = go.clone();
            tokio::spawn(async move { fetch(&go, WIDGET, zip_of("v1.0.0")).await.zip })
        })
        .collect();
    let mut zips = Vec::new();
    for fetch in fetches {
        zips.push(fetch.await.unwrap());
    }
    assert!(zips.iter().all(|zip| *zip == zips[0]));
    assert_eq!(site.home.packs_sent(&repo) - alone, alone);
}

#[tokio::test]
#[ignore = "needs the go command and git: run by cargo xtask test"]
async fn a_clone_that_a_killed_git_left_damaged_is_made_anew() {
    let site = Site::new();
    let _repo = site.widget();
    let go = site.go();
    // The newest tag: for any other, go reads this one too.
    fetch(&go, WIDGET, zip_of("v1.1.0")).await;
    let clone = fs::read_dir(site.clones()).unwrap().flatten().map(|entry| entry.path());
    let clone = clone.into_iter().find(|path| path.is_dir()).unwrap();
    // A lock on what it was about to write.
    let lock = clone.join("refs/tags/v1.0.0.lock");
    fs::create_dir_all(lock.parent().unwrap()).unwrap();
    fs::write(&lock, "").unwrap();
    fetch(&go, WIDGET, zip_of("v1.0.0")).await;
    assert!(!lock.exists());
    // Files whose bytes never reached the disk.
    fs::write(clone.join("HEAD"), "").unwrap();
    fetch(&go, WIDGET, zip_of("v1.1.0")).await;
    empty_all_files(&clone.join("objects"));
    fetch(&go, WIDGET, zip_of("v1.0.0")).await;
    fetch(&go, WIDGET, zip_of("v1.1.0")).await;
}

fn empty_all_files(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() {
            empty_all_files(&entry.path());
        } else {
            fs::remove_file(entry.path()).unwrap();
            fs::write(entry.path(), "").unwrap();
        }
    }
}

#[tokio::test]
#[ignore = "needs the go command and git: run by cargo xtask test"]
async fn clones_beyond_the_limit_go() {
    let mut site = Site::new();
    let _repo = site.widget();
    site.config.clone_cache_limit_bytes = 1;
    let go = site.go();
    fetch(&go, WIDGET, zip_of("v1.0.0")).await;
    let clones = site.clones();
    let is_empty = || fs::read_dir(&clones).unwrap().flatten().all(|entry| !entry.path().is_dir());
    eventually("the sweep", is_empty).await;
    fetch(&go, WIDGET, zip_of("v1.1.0")).await;
}

#[tokio::test]
#[ignore = "needs the go command and git: run by cargo xtask test"]
async fn a_client_that_goes_away_ends_git_and_ssh_too() {
    let mut site = Site::new();
    let pid_file = site.folder.path().join("ssh.pid");
    let ssh = site.folder.path().join("slow-ssh");
    fs::write(&ssh, format!("#!/bin/sh\necho $$ > {}\nexec sleep 1000\n", pid_file.display()))
        .unwrap();
    let config = site.home.path().join(".gitconfig");
    let mut text = fs::read_to_string(&config).unwrap();
    text.push_str("[url \"ssh://git@ssh.invalid/\"]\n\tinsteadOf = https://github.com/ssh/\n");
    fs::write(config, text).unwrap();
    site.config.child_env.push(("GIT_SSH_COMMAND".to_owned(), format!("sh {}", ssh.display())));
    let go = site.go();
    let is_alive = || {
        let pid = fs::read_to_string(&pid_file).unwrap_or_default();
        !pid.trim().is_empty() && Path::new("/proc").join(pid.trim()).exists()
    };
    {
        let mut fetching = go.fetch(request("github.com/ssh/x", zip_of("v1.0.0")));
        tokio::select! {
            _ = &mut fetching => panic!("it hangs"),
            () = eventually("the start of ssh", is_alive) => {}
        }
    }
    eventually("the end of ssh", || !is_alive()).await;
    eventually("the removal of the tree", || site.trees() == 0).await;
}

#[tokio::test]
#[ignore = "needs the go command and git: run by cargo xtask test"]
async fn a_go_mod_above_the_temporary_directory_does_not_matter() {
    let mut site = Site::new();
    let _repo = site.widget();
    site.config.temp_parent = site.folder.path().join("project/temp");
    fs::create_dir_all(&site.config.temp_parent).unwrap();
    let text = "module example.com/project\n\ngo 1.20\n\nexclude github.com/acme/widget v1.1.0\n";
    fs::write(site.folder.path().join("project/go.mod"), text).unwrap();
    fs::write(site.folder.path().join("project/go.work"), "nonsense").unwrap();
    let go = site.go();
    assert_eq!(text_of_list(&go).await, "v1.0.0\nv1.1.0\n");
    assert_eq!(fetch(&go, WIDGET, zip_of("v1.1.0")).await.version.as_str(), "v1.1.0");
}

async fn text_of_list(go: &GoCommand) -> String {
    text(go, WIDGET, FetchAsk::List).await
}

/// A toolchain module whose `go` answers any download with one fixed version.
fn toolchain_module(version: &str) -> FakeModule {
    let script = r#"#!/bin/sh
if [ "$1" = env ]; then dirname "$(dirname "$0")"; exit; fi
cd "$GOMODCACHE"
echo '{"Version":"v1.0.0"}' > i; echo module m > m; printf PK > z
echo '{"Version":"v1.0.0",'"\"Info\":\"$PWD/i\",\"GoMod\":\"$PWD/m\",\"Zip\":\"$PWD/z\"}"
"#;
    let module = FakeModule::new("golang.org/toolchain", version);
    ["bin/go", "bin/gofmt", "pkg/tool/x", "lib/x"]
        .into_iter()
        .fold(module.no_go_mod(), |module, name| module.file(name, script.as_bytes().to_vec()))
}

#[tokio::test]
#[ignore = "needs the go command and git: run by cargo xtask test"]
async fn a_module_that_needs_a_newer_go_gets_it_once() {
    let mut site = Site::new();
    let repo = site.repository("github.com/acme/newer");
    repo.commit(&[("go.mod", "module github.com/acme/newer\n\ngo 1.99.0\n")]);
    repo.tag("v1.0.0");
    let platform = match std::env::consts::ARCH {
        "x86_64" => "linux-amd64",
        "aarch64" => "linux-arm64",
        other => other,
    };
    let version = format!("v0.0.1-go1.99.0.{platform}");
    let module = toolchain_module(&version);
    let mirror = site.folder.path().join("mirror/golang.org/toolchain/@v");
    fs::create_dir_all(&mirror).unwrap();
    fs::write(mirror.join(format!("{version}.info")), module.info()).unwrap();
    fs::write(mirror.join(format!("{version}.mod")), module.go_mod_bytes()).unwrap();
    fs::write(mirror.join(format!("{version}.zip")), module.zip()).unwrap();
    // The go command takes an unverified toolchain from a file tree only.
    let proxy = format!("file://{}", site.folder.path().join("mirror").display());
    site.config.child_env.push(("GOPROXY".to_owned(), proxy));
    site.config.child_env.push(("GOSUMDB".to_owned(), "off".to_owned()));
    let go = site.go();
    // A list needs no newer Go.
    assert_eq!(text(&go, "github.com/acme/newer", FetchAsk::List).await, "v1.0.0\n");
    fetch(&go, "github.com/acme/newer", zip_of("v1.0.0")).await;
    // From now on there is no mirror: what was downloaded must do, after a restart too.
    fs::remove_dir_all(site.folder.path().join("mirror")).unwrap();
    fetch(&go, "github.com/acme/newer", zip_of("v1.0.0")).await;
    let go = site.restarted(go).await;
    fetch(&go, "github.com/acme/newer", zip_of("v1.0.0")).await;
    let go = site.restarted(go).await;
    fs::remove_dir_all(site.config.cache_dir.join("slot-0/toolchain")).unwrap();
    let error = refusal(&go, "github.com/acme/newer", zip_of("v1.0.0")).await;
    assert_eq!(error.kind(), ErrorKind::UpstreamFailed);
    assert!(error.message().contains("go1.99.0"), "{error}");
}

#[tokio::test]
#[ignore = "needs the go command and git: run by cargo xtask test"]
async fn a_probe_tells_the_version() {
    let site = Site::new();
    let version = GoCommand::probe(&site.config.binary, &site.config.inherited).await.unwrap();
    assert!(version.starts_with("go version go1."), "{version}");
}
