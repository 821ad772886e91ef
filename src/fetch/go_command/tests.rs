//! What needs neither the real `go` nor git: small scripts stand for `go`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use dipylon_middleware::request::RequestContext;
use tokio::time::Instant;

use super::command::TERMINATION_GRACE;
use super::*;

pub(super) const SOON: Duration = Duration::from_millis(300);
pub(super) const LONG: Duration = Duration::from_secs(60);

/// Waits, within a bound, for what happens in the background.
pub(super) async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + TERMINATION_GRACE + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < until, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(super) fn is_running(pid_file: &Path) -> bool {
    let Ok(text) = fs::read_to_string(pid_file) else { return false };
    let Ok(pid) = text.trim().parse::<u32>() else { return false };
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => !stat.contains(") Z "),
        Err(_) => false,
    }
}

#[test]
fn at_the_end_of_the_runtime_the_group_ends_and_the_tree_goes() {
    let sandbox = Sandbox::new("echo $$ > \"$PIDS/pid\"; exec sleep 1000");
    let pid = sandbox.folder.path().join("pid");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let go = Arc::new(sandbox.go());
    let fetching = go.clone();
    drop(runtime.spawn(async move { fetching.fetch(request(FetchAsk::List)).await.map(drop) }));
    runtime.block_on(eventually("the start", || is_running(&pid)));
    runtime.shutdown_timeout(Duration::from_secs(5));
    drop(go);
    assert!(!is_running(&pid), "killed at once");
    assert_eq!(sandbox.trees(), 0);
}

#[tokio::test]
async fn an_end_that_does_not_wait_kills_the_group_and_removes_the_tree() {
    let sandbox = Sandbox::new("trap '' TERM; echo $$ > \"$PIDS/pid\"; sleep 1000 & wait; wait");
    let pid = sandbox.folder.path().join("pid");
    let go = Arc::new(sandbox.go());
    let fetching = go.clone();
    let fetch =
        tokio::spawn(async move { fetching.fetch(request(FetchAsk::List)).await.map(drop) });
    eventually("the start", || is_running(&pid)).await;
    let began = Instant::now();
    assert!(go.runs().end().await, "everything is gone");
    assert!(began.elapsed() <= MAX_END_WAIT, "{:?}", began.elapsed());
    assert!(!is_running(&pid));
    assert_eq!(sandbox.trees(), 1, "the directory of the process is left");
    let error = fetch.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overloaded, "{error}");
    let error = go.fetch(request(FetchAsk::List)).await.map(drop).unwrap_err();
    assert!(error.message().contains("shutting down"), "{error}");
}

/// A scripted `go`.
struct Sandbox {
    folder: tempfile::TempDir,
    config: GoCommandConfig,
}

impl Sandbox {
    fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let binary = folder.path().join("scripted-go");
        fs::write(&binary, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
        let temp_parent = folder.path().join("temp");
        fs::create_dir(&temp_parent).unwrap();
        let inherited = [("PATH", "/usr/bin:/bin"), ("PIDS", folder.path().to_str().unwrap())];
        let config = GoCommandConfig {
            binary,
            child_env: Vec::new(),
            inherited: inherited.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            temp_parent,
            cache_dir: folder.path().join("cache"),
            fetch_timeout: LONG,
            list_timeout: LONG,
            clone_cache_limit_bytes: DEFAULT_CLONE_CACHE_LIMIT_BYTES,
        };
        Self { folder, config }
    }

    fn go(&self) -> GoCommand {
        GoCommand::new(self.config.clone()).unwrap()
    }

    /// Directories below the one of each process, and those themselves.
    fn trees(&self) -> usize {
        let processes = fs::read_dir(&self.config.temp_parent).unwrap();
        processes.map(|entry| 1 + fetches(&entry.unwrap().path())).sum()
    }
}

fn fetches(process: &Path) -> usize {
    let names = fs::read_dir(process).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with("fetch-")).count()
}

fn request(ask: FetchAsk) -> FetchRequest {
    let context = RequestContext::detached(Instant::now() + LONG);
    FetchRequest::new(context, ModulePath::parse("example.com/m").unwrap(), ask)
}

fn version(text: &str) -> dipylon_protocol::version::Version {
    dipylon_protocol::version::Version::parse(text).unwrap()
}

#[tokio::test]
async fn a_missing_program_names_the_setting() {
    let mut sandbox = Sandbox::new("");
    sandbox.config.binary = "/nowhere/go".into();
    let error = sandbox.go().fetch(request(FetchAsk::List)).await.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UpstreamFailed);
    assert!(
        error.message().contains("GoBinary") && error.message().contains("/nowhere/go"),
        "{error}"
    );
    let error = probe("/nowhere/go".as_ref(), &[]).await.unwrap_err();
    assert!(error.message().contains("GoBinary"), "{error}");
}

#[tokio::test]
async fn a_probe_takes_any_exit_status() {
    let sandbox = Sandbox::new("echo go version go1.26.8 linux/amd64; exit 2");
    assert_eq!(
        probe(&sandbox.config.binary, &[]).await.unwrap(),
        "go version go1.26.8 linux/amd64"
    );
    let silent = Sandbox::new("exit 2");
    assert!(probe(&silent.config.binary, &[]).await.unwrap().contains("exit status: 2"));
}

#[tokio::test]
async fn a_dropped_fetch_ends_its_group_and_removes_its_tree() {
    let sandbox = Sandbox::new("sh -c 'echo $$ > \"$PIDS/pid\"; exec sleep 1000'; :");
    let pid = sandbox.folder.path().join("pid");
    let go = sandbox.go();
    {
        let mut fetching = go.fetch(request(FetchAsk::Zip(version("v1.0.0"))));
        let started = eventually("the start", || is_running(&pid));
        tokio::select! {
            _ = &mut fetching => panic!("it hangs"),
            () = started => {}
        }
        assert_eq!(sandbox.trees(), 2);
    }
    eventually("the end of the group", || !is_running(&pid)).await;
    eventually("the removal of the tree", || sandbox.trees() == 1).await;
}

#[tokio::test]
async fn a_deadline_is_a_timeout_and_leaves_no_tree() {
    let mut sandbox = Sandbox::new("exec sleep 1000");
    sandbox.config.list_timeout = SOON;
    let go = sandbox.go();
    let error = go.fetch(request(FetchAsk::Latest)).await.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UpstreamTimeout);
    eventually("the removal of the tree", || sandbox.trees() == 1).await;
}

#[tokio::test]
async fn an_answer_that_is_no_json_is_bad_content_and_silence_is_a_failure() {
    let kind = async |script: &str| {
        let sandbox = Sandbox::new(script);
        let error = sandbox.go().fetch(request(FetchAsk::Zip(version("v1.0.0")))).await.map(drop);
        let error = error.unwrap_err();
        eventually("the removal of the tree", || sandbox.trees() == 0).await;
        (error.kind(), error.message().to_owned())
    };
    assert_eq!(kind("echo hello").await.0, ErrorKind::BadContent);
    let (kind_of_silence, text) = kind("exit 7").await;
    assert_eq!(kind_of_silence, ErrorKind::UpstreamFailed);
    assert!(text.contains("exit status: 7"), "{text}");
    assert_eq!(kind("echo '{}'").await.0, ErrorKind::BadContent);
}

#[tokio::test]
async fn the_child_sees_athens_list_and_what_contains_it() {
    let mut sandbox = Sandbox::new(
        "env > \"$PIDS/env\"; pwd > \"$PIDS/pwd\"; echo \"$@\" > \"$PIDS/args\"; exit 1",
    );
    let hostile = [
        ("GOFLAGS", "-x"),
        ("GOPROXY", "https://proxy.invalid"),
        ("GOMODCACHE", "/elsewhere"),
        ("GOVCS", "*:git"),
    ];
    sandbox.config.child_env =
        hostile.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let go = sandbox.go();
    go.fetch(request(FetchAsk::Zip(version("v1.0.0")))).await.map(drop).unwrap_err();
    let read = |name| fs::read_to_string(sandbox.folder.path().join(name)).unwrap();
    let temp = sandbox.config.temp_parent.display().to_string();
    let variables = read("env");
    let value = |name: &str| {
        let line = variables.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
        line.unwrap_or_else(|| panic!("{name} is not set")).to_owned()
    };
    for (name, wanted) in [
        ("GOPROXY", "direct"),
        ("GOSUMDB", "off"),
        ("CGO_ENABLED", "0"),
        ("GO111MODULE", "on"),
        ("GOFLAGS", "-mod=mod -modcacherw"),
        ("GOTOOLCHAIN", "local"),
        ("GOVCS", "*:git"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GOWORK", "off"),
    ] {
        assert_eq!(value(name), wanted, "{name}");
    }
    for name in ["GOPATH", "GOMODCACHE", "TMPDIR", "GOTMPDIR"] {
        assert!(value(name).starts_with(&temp), "{name}");
    }
    assert!(read("pwd").starts_with(&temp));
    assert_eq!(read("args"), "mod download -json -- example.com/m@v1.0.0\n");
}

#[tokio::test]
async fn trees_of_dead_processes_are_removed_and_those_of_living_ones_stay() {
    let sandbox = Sandbox::new("");
    let living = sandbox.go();
    let dead = sandbox.config.temp_parent.join(format!("{}dead", workspace::PREFIX));
    fs::create_dir_all(dead.join("fetch-0/mod/read-only/x")).unwrap();
    fs::write(dead.join("lock"), "").unwrap();
    fs::set_permissions(dead.join("fetch-0/mod/read-only"), fs::Permissions::from_mode(0o500))
        .unwrap();
    let foreign: PathBuf = sandbox.config.temp_parent.join("someone-else");
    fs::create_dir(&foreign).unwrap();
    let _second = sandbox.go();
    assert!(!dead.exists() && foreign.exists());
    fs::remove_dir(foreign).unwrap();
    assert_eq!(sandbox.trees(), 2, "both living ones");
    drop(living);
    assert_eq!(sandbox.trees(), 1);
}

/// A scripted `go` that is too old until it is asked for a toolchain, whose `go` then answers.
const TOO_OLD: &str = r#"
case "$1 $GOTOOLCHAIN" in
"env go1.99.0")
    root="$GOMODCACHE/golang.org/toolchain@v0.0.1-go1.99.0.linux-amd64"
    if [ ! -d "$root" ]; then
        echo "$GOPROXY $GOSUMDB" >> "$PIDS/downloads"
        mkdir -p "$root/bin"
    fi
    cat > "$root/bin/go" <<'END'
#!/bin/sh
echo "$GOROOT" > "$PIDS/ran"
cd "$GOMODCACHE"
echo i > i; echo m > m; printf zip > z
echo '{"Version":"v1.0.0",'"\"Info\":\"$PWD/i\",\"GoMod\":\"$PWD/m\",\"Zip\":\"$PWD/z\"}"
END
    chmod +x "$root/bin/go"
    echo "$root" ;;
"mod local")
    needs='requires go >= 1.99 (running go 1.26.8; GOTOOLCHAIN=local)'
    echo '{"Version":"v1.0.0","Error":"example.com/m@v1.0.0 '"$needs"'"}'
    exit 1 ;;
*)
    echo "unexpected: $* $GOTOOLCHAIN" >&2
    exit 1 ;;
esac"#;

#[tokio::test]
async fn a_newer_toolchain_is_downloaded_once_with_the_configured_proxy() {
    let mut sandbox = Sandbox::new(TOO_OLD);
    let settings = [("GOPROXY", "https://mirror.invalid"), ("GOSUMDB", "sum.invalid")];
    sandbox.config.child_env =
        settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    {
        let go = sandbox.go();
        for _ in 0..3 {
            let fetched = go.fetch(request(FetchAsk::Zip(version("v1.0.0")))).await.unwrap();
            assert!(matches!(fetched.payload, Payload::Version { .. }));
        }
    }
    let downloads = || fs::read_to_string(sandbox.folder.path().join("downloads")).unwrap();
    assert_eq!(downloads(), "https://mirror.invalid sum.invalid\n", "one download");
    let root = fs::read_to_string(sandbox.folder.path().join("ran")).unwrap();
    assert!(root.contains("toolchain@v0.0.1-go1.99.0"), "{root}");
    // A restarted gateway finds it again.
    sandbox.go().fetch(request(FetchAsk::Zip(version("v1.0.0")))).await.unwrap();
    assert_eq!(downloads().lines().count(), 1);
}

#[tokio::test]
async fn no_toolchain_is_downloaded_where_the_setting_forbids_it() {
    let mut sandbox = Sandbox::new(TOO_OLD);
    sandbox.config.child_env = vec![("GOTOOLCHAIN".to_owned(), "local".to_owned())];
    let error =
        sandbox.go().fetch(request(FetchAsk::Zip(version("v1.0.0")))).await.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UpstreamFailed);
    assert!(error.message().contains("GOTOOLCHAIN"), "{error}");
    assert!(!sandbox.folder.path().join("downloads").exists());
}
