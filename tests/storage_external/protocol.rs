//! Athens's protocol in bytes: what its client sends to our server, and what our client sends to any.

use dipylon_testkit::client::raw_get;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::storage_suite::Subject;
use http::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::bench::{client, form_of, go_form, is_stored, list, served_disk};
use crate::foreign_server::Foreign;

/// As Go's writer makes them: 30 random bytes in hexadecimal.
const BOUNDARY: &str = "4d8f1d6bd5c4f2f1b04bb9ac4ba3ad6dd6f9d1e1ab1f7e2ce6b7a8fdfe01";

fn module() -> FakeModule {
    FakeModule::new("github.com/Azure/Two", "v1.0.0-RC1").filler(2 << 20)
}

/// A request as Go's client writes it, with the body in chunks that end anywhere.
fn athens_save(path: &str, form: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nHost: storage.test\r\nUser-Agent: Go-http-client/1.1\r\n\
         Transfer-Encoding: chunked\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n\
         Accept-Encoding: gzip\r\nConnection: close\r\n\r\n"
    )
    .into_bytes();
    let mut rest = form;
    let mut size = 1;
    while !rest.is_empty() {
        // Small ones first, so that every boundary is cut somewhere.
        let (chunk, tail) = rest.split_at(size.min(rest.len()));
        request.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        request.extend_from_slice(chunk);
        request.extend_from_slice(b"\r\n");
        rest = tail;
        size = if size < 700 { size + 1 } else { 32 * 1024 };
    }
    request.extend_from_slice(b"0\r\n\r\n");
    request
}

async fn talk(address: std::net::SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// Athens's own server stops at 1 MiB, and lists modules with capitals as empty (its defect 21).
#[tokio::test]
async fn a_save_of_athens_in_bytes_is_stored_and_listed_with_capitals_and_above_1_mib() {
    let (_root, served) = served_disk().await;
    let form = go_form(BOUNDARY, &module());
    assert!(form.len() > 1 << 20);
    let path = "/github.com/!azure/!two/@v/v1.0.0-RC1.save";
    let answer = talk(served.address, &athens_save(path, &form)).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("dipylon-saved: created"), "{answer}");

    let listed =
        "GET /github.com/!azure/!two/@v/list HTTP/1.1\r\nHost: s\r\nConnection: close\r\n\r\n";
    let listed = raw_get(served.address, listed).await;
    assert!(listed.ends_with("\r\n\r\nv1.0.0-RC1\n"), "{listed}");
    let http = served.client();
    let file = async |kind: &str| {
        let path = format!("/github.com/!azure/!two/@v/v1.0.0-RC1.{kind}");
        let answer = http.get(&path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("content-length"), Some(&*answer.body.len().to_string()));
        answer.body
    };
    assert_eq!(file("info").await, module().info());
    assert_eq!(file("mod").await, module().go_mod_bytes());
    assert!(file("zip").await == module().zip());
    let unknown = http.get("/github.com/!azure/!other/@v/list").await;
    assert_eq!((unknown.status.as_u16(), unknown.text()), (200, ""));
}

#[tokio::test]
async fn our_client_sends_what_athens_sends() {
    let foreign = Foreign::start().await;
    let storage = client(&foreign.url()).await;
    foreign.forget_requests();
    let subject = Subject::new(storage);
    subject.save(&module()).await.unwrap();
    let requests = foreign.requests();
    let save = requests.last().unwrap();
    assert_eq!(save.method, Method::POST);
    assert_eq!(save.path, "/github.com/!azure/!two/@v/v1.0.0-RC1.save");
    assert_eq!(save.headers["transfer-encoding"], "chunked");
    assert!(!save.headers.contains_key("content-length"));
    let kind = save.headers["content-type"].to_str().unwrap();
    let boundary = kind.strip_prefix("multipart/form-data; boundary=").unwrap();
    assert_eq!(boundary.len(), 60);
    assert!(boundary.bytes().all(|byte| byte.is_ascii_hexdigit()), "{boundary}");
    assert!(save.body == go_form(boundary, &module()));

    foreign.forget_requests();
    assert!(is_stored(subject.storage(), &module()).await);
    assert_eq!(list(subject.storage(), "github.com/Azure/Two").await, ["v1.0.0-RC1"]);
    let asked: Vec<String> = foreign.requests().into_iter().map(|one| one.path).collect();
    let base = "/github.com/!azure/!two/@v/v1.0.0-RC1";
    // The version is looked at once: all three files, and then each read is one request.
    let want = [
        format!("{base}.info"),
        format!("{base}.mod"),
        format!("{base}.zip"),
        format!("{base}.mod"),
        format!("{base}.zip"),
        "/github.com/!azure/!two/@v/list".to_owned(),
    ];
    assert_eq!(asked, want);
}

#[tokio::test]
async fn parts_in_another_order_with_others_among_them_are_read() {
    let (_root, served) = served_disk().await;
    let small = FakeModule::new("example.com/a", "v1.0.0");
    let form = form_of(
        "x",
        &[
            ("mod.zip", small.zip().to_vec()),
            ("comment", b"--x is no boundary\r\n--".to_vec()),
            ("mod.mod", small.go_mod_bytes().to_vec()),
            ("mod.info", small.info().into_bytes()),
        ],
    );
    let headers = [("content-type", "Multipart/Form-Data; charset=utf-8; boundary=\"x\"")];
    let path = "/example.com/a/@v/v1.0.0.save";
    let answer = served.client().request(Method::POST, path, &headers, form).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(is_stored(&client(&served.url()).await, &small).await);
}
