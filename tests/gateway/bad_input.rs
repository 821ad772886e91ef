//! What clients and upstreams may not do to the gateway: nothing is stored, nothing panics.

use std::time::Duration;

use std::collections::BTreeSet;

use bytes::Bytes;
use dipylon_testkit::client::raw_get;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::{Fault, When};
use http::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::world::{
    DATABASE, MODULE, Setup, VERSION, assert_refusal, file, files_below, path_of, stocked,
};
use crate::zips::{Entry, zip};

#[tokio::test]
async fn a_path_that_is_wrong_is_refused_in_one_line_and_leaves_no_trace() {
    let world = stocked(Setup::disk()).await;
    let before = files_below(&world.root());
    let asked = world.upstream.total();
    let long_element = format!("/example.com/{}/@v/list", "a".repeat(3000));
    let long_path = format!("/example.com/{}@v/list", "a/".repeat(5 * 1024));
    let long_version = format!("/{MODULE}/@v/v1.0.0-{}.info", "a".repeat(10 * 1024));
    let paths = [
        // Capitals, escapes.
        "/example.com/Text/@v/list",
        "/example.com/!Text/@v/list",
        "/example.com/te!/@v/list",
        "/example.com/!!text/@v/list",
        "/example.com/!1/@v/list",
        "/example.com/t%C3%A9xt/@v/list",
        "/example.com/text/@v/V1.0.0.info",
        "/example.com/text/@v/v1.0.0-!.info",
        "/example.com/%zz/@v/list",
        "/example.com/%/@v/list",
        "/example.com/%ff%fe/@v/list",
        // Ways out.
        "/../@v/list",
        "/example.com/../../etc/@v/list",
        "/example.com/%2e%2e/@v/list",
        "/example.com%2Ftext/@v/list",
        "/example.com/a%5c..%5cb/@v/list",
        "/example.com/text/@v/..%2f..%2fx.zip",
        "/example.com/text/@v/...zip",
        // Characters.
        "/example.com/text%00/@v/list",
        "/example.com/te%0axt/@v/list",
        "/example.com/te%0d%0aX-Evil:%201/@v/list",
        "/example.com/te%1bxt/@v/list",
        "/example.com/te%20xt/@v/list",
        "/example.com/con/@v/list",
        "/example.com/aux.go/@v/list",
        "/example.com/text~1/@v/list",
        "/example.com/.hidden/@v/list",
        "/example.com/text./@v/list",
        // Flags.
        "/-x/@v/list",
        "/-modfile=evil/@v/list",
        "/--help/@latest",
        "/example.com/text/@v/-x.info",
        "/example.com/text/@v/--output=x.zip",
        // No module paths.
        "/text/@v/list",
        "/Example.com/text/@v/list",
        "/example.com/text/v1/@v/list",
        "/example.com/text/v02/@v/list",
        "/gopkg.in/yaml/@v/list",
        // No files.
        "/example.com/text/@v/latest.info",
        "/example.com/text/@v/upgrade.info",
        "/example.com/text/@v/v1.0.0.ziphash",
        "/example.com/text/@v/v1.0.0.exe",
        "/example.com/text/@v/.info",
        "/example.com/text/@latest/x",
        "/example.com/text/v2/@v/v1.0.0.info",
        "/example.com/text/@v/v2.0.0.info",
        // The checksum database.
        "/sumdb/",
        "/sumdb/sum.test",
        "/sumdb/sum.test/",
        "/sumdb/sum.test/lookup/example.com/Text@v1.0.0",
        "/sumdb/sum.test/lookup/example.com/text",
        "/sumdb/sum.test/tile/8/0/1",
        "/sumdb/sum.test/tile/8/0/../../x",
        "/sumdb/sum.test/tile/9/0/000",
        "/sumdb/evil.test/supported",
        "/sumdb/evil.test@sum.test/supported",
        // Too long.
        &long_element,
        &long_path,
        &long_version,
    ];
    for path in paths {
        let response = world.get(path).await;
        let shown = path.chars().take(60).collect::<String>();
        assert!(matches!(response.status.as_u16(), 400 | 404), "{shown}: {}", response.status);
        assert_refusal(&response, response.status.as_u16(), &[]);
        assert_eq!(response.header("x-evil"), None);
        let head = world.head(path).await;
        assert_eq!((head.status, head.body.len()), (response.status, 0), "{shown}");
    }
    assert_eq!(world.upstream.total(), asked, "none of them is worth an upstream call");
    assert_eq!(files_below(&world.root()), before);
    assert_eq!(world.get_ok(&file("zip")).await.status, 200);
}

#[tokio::test]
async fn a_request_that_is_no_http_is_ended_and_the_next_one_is_served() {
    let world = stocked(Setup::disk()).await;
    let address = world.gateway.address();
    let requests = [
        ("nonsense\r\n\r\n", "400"),
        ("GET\r\n\r\n", "400"),
        ("GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nBad Header: x\r\n\r\n", "400"),
        ("OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "4"),
        ("CONNECT x:443 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "4"),
    ];
    for (request, status) in requests {
        let shown: String = request.chars().take(40).collect();
        let answer = raw_get(address, request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{shown:?}: {answer}");
    }
    world.get_ok(&file("zip")).await;
}

#[tokio::test]
async fn a_head_without_end_is_cut_off() {
    let world = stocked(Setup::disk()).await;
    let endless = "a".repeat(1 << 20);
    for begin in ["GET /".to_owned(), "GET / HTTP/1.1\r\nHost: x\r\nX: ".to_owned()] {
        let mut stream = tokio::net::TcpStream::connect(world.gateway.address()).await.unwrap();
        // Where the server hangs up before all of it is sent, sending fails, as it should.
        let sent = async {
            stream.write_all(begin.as_bytes()).await?;
            stream.write_all(endless.as_bytes()).await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            std::io::Result::Ok(answer)
        };
        let ended = tokio::time::timeout(Duration::from_secs(20), sent).await;
        let answer = ended.expect("the server hangs up").unwrap_or_default();
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{answer:?}");
    }
    assert!(world.gateway.rss_kib() < 200 * 1024, "{} KiB", world.gateway.rss_kib());
    world.get_ok(&file("zip")).await;
}

#[tokio::test]
async fn unknown_methods_and_bodies_that_nobody_asked_for_do_no_harm() {
    let world = stocked(Setup::disk()).await;
    let before = files_below(&world.root());
    for method in ["POST", "PUT", "DELETE", "TRACE", "PROPFIND"] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let body = Bytes::from(vec![b'x'; 256 * 1024]);
        let answer = world.client().request(method, &file("zip"), &[], body).await;
        assert_refusal(&answer, 405, &["not allowed"]);
    }
    let get = world.client().request(Method::GET, &file("info"), &[], "a body").await;
    assert_eq!(get.status, 200);
    assert_eq!(files_below(&world.root()), before);
}

/// What a broken upstream sends for every file, and the status that becomes of it.
fn wrong_answers() -> Vec<(&'static str, Fault, u16)> {
    let module = FakeModule::new(MODULE, "v1.0.0");
    let text = |status, body: &'static str| Fault::Status(status, "text/html", Bytes::from(body));
    vec![
        ("a login page", Fault::HtmlLogin, 502),
        ("an error page", text(500, "<html>oops</html>"), 502),
        ("a refusal", text(403, "<html>no</html>"), 403),
        ("an empty answer", Fault::Body(Bytes::new()), 502),
        ("nonsense", Fault::Body(Bytes::from_static(b"\x00\xff\xfe{{{")), 502),
        ("half an answer", Fault::TruncateAt(module.info().len() / 2), 502),
        ("a reset", Fault::Reset, 502),
        ("a redirect to nowhere", Fault::Redirect(302, "http://127.0.0.1:1/x".to_owned()), 502),
        ("a redirect to a file", Fault::Redirect(302, "file:///etc/passwd".to_owned()), 502),
        ("no content", Fault::Status(204, "text/plain", Bytes::new()), 502),
        ("a part", Fault::Status(206, "text/plain", Bytes::from("x")), 502),
    ]
}

#[tokio::test]
async fn a_wrong_answer_of_an_upstream_is_never_stored() {
    let world =
        Setup::disk().env("DIPYLON_UPSTREAM_ATTEMPTS", "1").env("GOSUMDB", "off").start().await;
    let before = files_below(&world.root());
    for (number, (what, fault, status)) in wrong_answers().into_iter().enumerate() {
        // A module each, so that nothing remembered stands in the way.
        let module = format!("example.com/wrong/n{number}");
        world.add(FakeModule::new(&module, "v1.0.0"));
        world.upstream.fault(When::prefix(&format!("/{module}/")), fault);
        // An answer, whatever it is, so that the upstream is not left alone for failing in a row.
        world.get_refused(&format!("/example.com/absent/n{number}/@v/list"), 404, &[]).await;
        for kind in ["info", "mod", "zip"] {
            let path = format!("/{module}/@v/v1.0.0.{kind}");
            // A part of a go.mod, or an empty one, is still go.mod text: only a checksum tells.
            let is_text = kind == "mod" && matches!(what, "an empty answer");
            let response = world.get(&path).await;
            if is_text && response.status == 200 {
                continue;
            }
            assert!(!response.truncated, "{what}");
            assert_refusal(&response, status, &[]);
            let text = response.text();
            assert!(!text.contains('<') && !text.contains("root:"), "{what}: {text}");
        }
    }
    world.until_idle().await;
    assert_eq!(world.stored_files().len(), 0);
    let left: Vec<String> = files_below(&world.root()).difference(&before).cloned().collect();
    assert!(left.iter().all(|name| name.ends_with(".mod")), "{left:?}");
}

#[tokio::test]
async fn a_wrong_go_mod_is_refused_by_its_checksum() {
    let world = Setup::disk().start().await;
    world.add_module();
    for wrong in ["", "module example.com/other\n", "module example.com/lib/text\n\ngo 9.9\n"] {
        world.upstream.clear_faults();
        world.upstream.fault(file("mod").as_str(), Fault::Body(Bytes::from(wrong)));
        let refused = world.get(&file("mod")).await;
        assert!(matches!(refused.status.as_u16(), 403 | 502), "{wrong:?}: {}", refused.status);
        assert_refusal(&refused, refused.status.as_u16(), &[MODULE]);
    }
    world.until_idle().await;
    let record = ".dipylon/quarantine/example.com/lib/text/@/v1.2.3.json".to_owned();
    assert_eq!((world.stored_files().len(), world.our_files()), (0, BTreeSet::from([record])));
}

#[tokio::test]
async fn a_foreign_zip_and_a_bomb_are_refused_and_leave_nothing() {
    let world = Setup::disk().env("GOSUMDB", "off").start().await;
    let inside = format!("example.com/foreign/n1@{VERSION}/zeros");
    let wrong: [(&str, Bytes, &str, usize); 4] = [
        (
            "another module",
            FakeModule::new("example.com/evil", VERSION).zip(),
            "does not begin with",
            1,
        ),
        ("a bomb", zip(&[Entry::zeros(&inside, 4 << 20, 1)]), "declared size", 1),
        ("no zip", Bytes::from_static(b"PK\x03\x04 and nothing else"), "zip", 1),
        (
            "an empty zip",
            Bytes::from_static(b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
            "zip",
            // Its first bytes tell, so there is no download to be spared by remembering it.
            2,
        ),
    ];
    for (number, (what, bytes, reason, asked)) in wrong.into_iter().enumerate() {
        // A module each: what was refused is remembered for a while.
        let module = format!("example.com/foreign/n{number}");
        let path = path_of(&module, VERSION, "zip");
        world.add(FakeModule::new(&module, VERSION));
        world.upstream.fault(path.as_str(), Fault::Body(bytes));
        for _ in 0..2 {
            world.get_refused(&path, 502, &[reason, &module]).await;
        }
        assert_eq!(world.asked(&path), asked, "{what}");
        world.until_idle().await;
        assert!(world.stored_files().is_empty(), "{what}");
        let kept = world.our_files();
        assert!(!kept.iter().any(|name| name.contains("/staging/")), "{what}: {kept:?}");
    }
}

#[tokio::test]
async fn a_checksum_database_that_talks_nonsense_is_never_kept() {
    let world = Setup::disk().start().await;
    world.add_module();
    let lookup = format!("/sumdb/{DATABASE}/lookup/{MODULE}@{VERSION}");
    let tile = format!("/sumdb/{DATABASE}/tile/8/0/000.p/1");
    world.upstream.fault(When::prefix(&format!("/sumdb/{DATABASE}/lookup/")), Fault::HtmlLogin);
    world.upstream.fault(When::prefix(&format!("/sumdb/{DATABASE}/tile/")), Fault::HtmlLogin);
    let before = files_below(&world.root());
    for path in [&lookup, &tile] {
        world.get_refused(path, 503, &[DATABASE, "refused"]).await;
    }
    world.get_refused(&file("zip"), 503, &[DATABASE]).await;
    world.until_idle().await;
    let left: Vec<String> = files_below(&world.root()).difference(&before).cloned().collect();
    assert!(!left.iter().any(|name| name.contains("sumdb")), "{left:?}");
    world.upstream.clear_faults();
    world.get_ok(&lookup).await;
    world.get_ok(&tile).await;
    world.get_ok(&file("zip")).await;
}
