//! What the server does not take.

use std::path::Path;

use dipylon::external_storage::Options;
use dipylon_testkit::client::Response;
use dipylon_testkit::module::FakeModule;
use http::Method;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::bench::{Served, form_of, go_form, served_disk, served_disk_with};

const SAVE: &str = "/example.com/a/@v/v1.0.0.save";

/// A part's name and its bytes.
type Part = (&'static str, Vec<u8>);

fn small() -> FakeModule {
    FakeModule::new("example.com/a", "v1.0.0")
}

async fn post(served: &Served, path: &str, kind: &str, body: Vec<u8>) -> Response {
    served.client().request(Method::POST, path, &[("content-type", kind)], body).await
}

/// Files below a store's root, staging left out: nothing may be left of what was refused.
fn stored(root: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                names.push(path.strip_prefix(root).unwrap().display().to_string());
            }
        }
    }
    names.retain(|name| !name.starts_with(".dipylon"));
    names
}

fn spools(root: &Path) -> usize {
    std::fs::read_dir(root.join(".dipylon/staging")).unwrap().count()
}

#[tokio::test]
async fn forms_that_hold_no_version_are_refused_with_400_and_leave_nothing() {
    let (root, served) = served_disk().await;
    let part = |name: &'static str| match name {
        "mod.info" => (name, small().info().into_bytes()),
        "mod.mod" => (name, small().go_mod_bytes().to_vec()),
        _ => (name, small().zip().to_vec()),
    };
    let [info, go_mod, zip] = ["mod.info", "mod.mod", "mod.zip"].map(part);
    let other = FakeModule::new("example.com/a", "v1.0.1").info().into_bytes();
    let cut = zip.1[..zip.1.len() - 5].to_vec();
    let cases: Vec<(&str, Vec<Part>, &str)> = vec![
        ("no info", vec![go_mod.clone(), zip.clone()], "no part mod.info"),
        ("no mod", vec![info.clone(), zip.clone()], "no part mod.mod"),
        ("no zip", vec![info.clone(), go_mod.clone()], "no part mod.zip"),
        ("two infos", vec![info.clone(), info.clone(), go_mod.clone(), zip.clone()], "two parts"),
        ("another", vec![("mod.info", other), go_mod.clone(), zip.clone()], "names v1.0.1"),
        ("bad info", vec![("mod.info", b"{".to_vec()), go_mod.clone(), zip.clone()], "mod.info"),
        ("empty mod", vec![info.clone(), ("mod.mod", Vec::new()), zip.clone()], "no text"),
        ("cut zip", vec![info.clone(), go_mod.clone(), ("mod.zip", cut)], "no end"),
        ("empty zip", vec![info.clone(), go_mod.clone(), ("mod.zip", Vec::new())], "no end"),
        (
            "large info",
            vec![("mod.info", vec![b' '; (1 << 20) + 1]), go_mod.clone(), zip.clone()],
            "larger than 1048576",
        ),
    ];
    for (name, parts, words) in cases {
        let kind = "multipart/form-data; boundary=x";
        let answer = post(&served, SAVE, kind, form_of("x", &parts)).await;
        assert_eq!(answer.status, 400, "{name}: {}", answer.text());
        assert!(answer.text().contains(words), "{name}: {}", answer.text());
    }
    let whole = go_form("x", &small());
    for (kind, words) in [
        ("application/json", "want Content-Type multipart/form-data"),
        ("multipart/form-data", "no boundary"),
        ("multipart/form-data; boundary=y", "boundary"),
    ] {
        let answer = post(&served, SAVE, kind, whole.clone()).await;
        assert_eq!(answer.status, 400, "{kind}: {}", answer.text());
        assert!(answer.text().contains(words), "{kind}: {}", answer.text());
    }
    let half = whole[..whole.len() / 2].to_vec();
    let answer = post(&served, SAVE, "multipart/form-data; boundary=x", half).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert_eq!(stored(root.path()), [""; 0]);
    assert_eq!(spools(root.path()), 0);
}

#[tokio::test]
async fn a_client_that_goes_away_in_the_middle_leaves_nothing() {
    let (root, served) = served_disk().await;
    let form = go_form("x", &small().filler(300_000));
    let head = format!(
        "POST {SAVE} HTTP/1.1\r\nHost: s\r\nContent-Length: {}\r\n\
         Content-Type: multipart/form-data; boundary=x\r\n\r\n",
        form.len()
    );
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&form[..form.len() - 10]).await.unwrap();
    while spools(root.path()) == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    drop(stream);
    while spools(root.path()) > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(stored(root.path()), [""; 0]);
}

#[tokio::test]
async fn paths_and_methods_have_honest_statuses() {
    let (_root, served) = served_disk().await;
    let http = served.client();
    let ask = async |method: Method, path: &str| {
        http.request(method, path, &[], "").await.status.as_u16()
    };
    let get = Method::GET;
    assert_eq!(ask(get.clone(), "/example.com/a/@v/v1.0.0.info").await, 404);
    assert_eq!(ask(get.clone(), "/example.com/a/@v/main.info").await, 404);
    assert_eq!(ask(get.clone(), "/example.com/Azure/@v/list").await, 400);
    assert_eq!(ask(get.clone(), "/../a/@v/v1.0.0.zip").await, 400);
    assert_eq!(ask(get.clone(), "/nothing").await, 404);
    assert_eq!(ask(get, SAVE).await, 405);
    assert_eq!(ask(Method::POST, SAVE).await, 400);
    assert_eq!(ask(Method::POST, "/example.com/a/@v/main.save").await, 400);
    assert_eq!(ask(Method::PUT, "/example.com/a/@v/list").await, 405);
    let delete = http.request(Method::DELETE, "/example.com/a/@v/v1.0.0.delete", &[], "").await;
    assert_eq!(delete.status, 501);
    assert!(delete.text().contains("a saved version never changes"), "{}", delete.text());
}

#[tokio::test]
async fn spools_have_a_limit_together() {
    let options = Options { max_spool_bytes: 100_000, ..Options::default() };
    let (root, served) = served_disk_with(options).await;
    let kind = "multipart/form-data; boundary=x";
    let answer = post(&served, SAVE, kind, go_form("x", &small().filler(200_000))).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(spools(root.path()), 0);
    let answer = post(&served, SAVE, kind, go_form("x", &small())).await;
    assert_eq!(answer.status, 200, "the room is free again: {}", answer.text());
}
