//! Cases 25, 27, 34 and 36 with the real `go` as the client, or as the upstream.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dipylon_testkit::git::{GitHome, GitRepo};
use dipylon_testkit::go::Go;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::{Fault, Upstream};
use parking_lot::Mutex;

use crate::world::{MODULE, Setup, VERSION, file, path_of};

#[tokio::test]
#[ignore = "needs the go command: it walks its GOPROXY list"]
async fn case_25_the_go_command_stops_at_trouble_and_goes_on_at_what_does_not_exist() {
    let world = Setup::disk().env("DIPYLON_UPSTREAM_ATTEMPTS", "1").start().await;
    let second = Upstream::start().await;
    let module = FakeModule::new(MODULE, VERSION);
    second.add(module.clone());
    let asked = format!("{MODULE}@{VERSION}");
    let go = Go::new().goproxy(&format!("{},{}", world.gateway.url(), second.url()));

    let sick = Fault::Status(503, "text/plain; charset=utf-8", Bytes::from("the disk is full\n"));
    world.upstream.fault(file("info").as_str(), sick);
    let stopped = &go.mod_download_json(&[&asked])[0];
    let error = stopped["Error"].as_str().unwrap_or_default();
    assert!(error.contains("502 Bad Gateway"), "{error}");
    assert!(error.contains("the disk is full"), "the text is shown: {error}");
    assert_eq!(second.total(), 0, "it stops");

    world.upstream.clear_faults();
    let went_on = &go.mod_download_json(&[&asked])[0];
    assert_eq!(went_on["Error"].as_str(), None, "{went_on}");
    assert_eq!(went_on["Sum"].as_str(), Some(module.h1().as_str()));
    assert_eq!((world.asked(&file("info")), second.count(&file("info"))), (2, 1));
}

#[tokio::test]
#[ignore = "needs the go command: it follows redirects"]
async fn case_27_the_go_command_follows_a_redirect_to_an_object_store() {
    let objects = Upstream::start().await;
    let module = FakeModule::new(MODULE, VERSION);
    objects.add(module.clone());
    let world = Setup::disk()
        .env("ATHENS_DOWNLOAD_MODE", "redirect")
        .env("ATHENS_DOWNLOAD_URL", &objects.url())
        .start()
        .await;
    let go = Go::new().goproxy(&world.gateway.url());
    let got = &go.mod_download_json(&[&format!("{MODULE}@{VERSION}")])[0];
    assert_eq!(got["Error"].as_str(), None, "{got}");
    assert_eq!(got["Sum"].as_str(), Some(module.h1().as_str()));
    assert_eq!((objects.count(&file("zip")), world.module_requests()), (1, 0));
    let told =
        objects.requests().iter().any(|request| request.headers.contains_key("authorization"));
    assert!(!told && world.stored_files().is_empty());
}

#[tokio::test]
#[ignore = "needs the go command: it follows a redirect out of a pattern"]
async fn case_27_the_go_command_follows_a_redirect_out_of_a_pattern_and_of_a_prefix() {
    let objects = Upstream::start().await;
    let module = FakeModule::new(MODULE, VERSION);
    objects.add(module.clone());
    let text = format!(
        "mode = \"none\"\ndownloadURL = {:?}\ndownload \"example.com/*\" {{ mode = \"redirect\" }}\n",
        objects.url()
    );
    let world = Setup::disk()
        .with_file("mode.hcl", &text)
        .env("ATHENS_DOWNLOAD_MODE", "file:{folder}/mode.hcl")
        .env("ATHENS_PATH_PREFIX", "/prefix")
        .start()
        .await;
    let go = Go::new().goproxy(&format!("{}/prefix", world.gateway.url()));
    let got = &go.mod_download_json(&[&format!("{MODULE}@{VERSION}")])[0];
    assert_eq!(got["Error"].as_str(), None, "{got}");
    assert_eq!(got["Sum"].as_str(), Some(module.h1().as_str()));
    assert_eq!((objects.count(&file("zip")), world.module_requests()), (1, 0));
    assert!(objects.requests().iter().all(|request| !request.path.contains("prefix")));
}

#[tokio::test]
#[ignore = "needs the go command and git: they fetch from nested groups"]
async fn case_34_a_module_in_nested_groups_is_fetched_from_the_right_repository() {
    let home = GitHome::new();
    let repositories = tempfile::tempdir().unwrap();
    let repo = GitRepo::create(repositories.path().join("d"));
    let go_mod = |path: &str| format!("module {path}\n\ngo 1.21\n");
    let (root, below) = ("gitlab.com/a/b/c/d", "gitlab.com/a/b/c/d/sub/deep");
    repo.commit(&[
        ("go.mod", &go_mod(root)),
        ("d.go", "package d\n"),
        ("sub/deep/go.mod", &go_mod(below)),
        ("sub/deep/deep.go", "package deep\n"),
    ]);
    repo.tag("v1.0.0");
    repo.tag("sub/deep/v0.2.0");
    home.map("https://gitlab.com/a/b/c/d.git", &repo);
    let pages = ImportPages::start("gitlab.com/a/b/c/d", "https://gitlab.com/a/b/c/d.git");
    let world = Setup::disk()
        .with_go()
        .env("GOPROXY", "direct")
        .env("GOSUMDB", "off")
        .env("GOINSECURE", "gitlab.com")
        .env("HTTP_PROXY", &pages.url)
        .env("HTTPS_PROXY", &pages.url)
        .env("HOME", home.path().to_str().unwrap())
        .start()
        .await;
    for (module, version, inside) in [(root, "v1.0.0", "d.go"), (below, "v0.2.0", "deep.go")] {
        let zip = world.get_ok(&path_of(module, version, "zip")).await;
        let name = format!("{module}@{version}/{inside}");
        let found = zip.body.windows(name.len()).any(|window| window == name.as_bytes());
        assert!(found, "{name} is in the zip of {module}");
        world.until_stored(module, version).await;
    }
    let list = world.get_ok(&format!("/{below}/@v/list")).await;
    assert_eq!(list.text(), "v0.2.0\n");
    // A group is no module, however deep: its page names a repository further down.
    let group = world.get("/gitlab.com/a/b/@v/v1.0.0.info").await;
    assert_eq!(group.status, 404, "{}", group.text());
    assert!(pages.asked().iter().any(|path| path.contains("gitlab.com/a/b/c/d/sub/deep")));
}

#[tokio::test]
#[ignore = "needs the go command and git: git's errors have control characters"]
async fn case_36_what_git_says_is_shown_by_the_go_command_of_the_client() {
    let home = GitHome::new();
    let world = Setup::disk()
        .with_go()
        .env("GOPROXY", "direct")
        .env("GOSUMDB", "off")
        .env("HOME", home.path().to_str().unwrap())
        // Nothing listens there: git fails, and says so on several lines.
        .env("HTTPS_PROXY", "http://user:secret@127.0.0.1:9")
        .start()
        .await;
    let go = Go::new().goproxy(&world.gateway.url());
    let failed = &go.mod_download_json(&["github.com/acme/nothing@v1.0.0"])[0];
    let error = failed["Error"].as_str().unwrap_or_default();
    let shown = error.lines().last().unwrap_or_default();
    assert!(shown.contains("github.com/acme/nothing"), "{error}");
    assert!(!error.contains("secret"), "{error}");
    let direct = world.get(&path_of("github.com/acme/nothing", "v1.0.0", "info")).await;
    let status = direct.status.as_u16();
    crate::world::assert_refusal(&direct, status, &["github.com/acme/nothing"]);
    assert!((500..600).contains(&status), "{status}: that git cannot ask is no 404");
}

/// Plays every web host for the `go` command, as its HTTP proxy: each page says in which repository
/// the modules below `root` are. Tunnels are refused, so `go` falls back to http.
struct ImportPages {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl ImportPages {
    fn start(root: &str, repository: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        let meta = format!("<meta name=\"go-import\" content=\"{root} git {repository}\">");
        // It ends with the process of the test.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if let Some(path) = answer(stream, &meta) {
                    seen.lock().push(path);
                }
            }
        });
        Self { url, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }
}

fn answer(mut stream: TcpStream, meta: &str) -> Option<String> {
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && head.len() < 16 * 1024 {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut words = head.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let body = format!("<html><head>{meta}</head></html>");
    let reply = if method == "CONNECT" {
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned()
    } else {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close";
        format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    stream.write_all(reply.as_bytes()).ok()?;
    Some(target.to_owned())
}
