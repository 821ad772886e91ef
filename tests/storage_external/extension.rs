//! What our server has beyond Athens's protocol: credentials, ranges, what became of a save, its pages, and
//! the drain.

use std::time::Duration;

use dipylon::external_storage::{ExternalStorage, Options};
use dipylon_middleware::auth::Credentials;
use dipylon_middleware::error::ErrorKind;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::storage_suite::Subject;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tower::Service as _;

use crate::bench::{Served, client, go_form, is_stored, served_disk, served_disk_with, try_client};

fn small() -> FakeModule {
    FakeModule::new("example.com/a", "v1.0.0").filler(50_000)
}

async fn save(served: &Served, module: &FakeModule) -> (u16, Option<String>) {
    let path = format!("/{}/@v/{}.save", module.path(), module.version());
    let headers = [("content-type", "multipart/form-data; boundary=x")];
    let answer = served.client().request(Method::POST, &path, &headers, go_form("x", module)).await;
    (answer.status.as_u16(), answer.header("dipylon-saved").map(str::to_owned))
}

#[tokio::test]
async fn a_save_says_what_became_of_it_and_the_first_stays() {
    let (_root, served) = served_disk().await;
    let word = |word: &str| (200, Some(word.to_owned()));
    assert_eq!(save(&served, &small()).await, word("created"));
    assert_eq!(save(&served, &small()).await, word("same"));
    assert_eq!(save(&served, &small().filler(9)).await, word("different"));
    assert!(is_stored(&client(&served.url()).await, &small()).await);
}

#[tokio::test]
async fn a_part_of_a_zip_can_be_had_and_head_has_its_length() {
    let (_root, served) = served_disk().await;
    save(&served, &small()).await;
    let path = "/example.com/a/@v/v1.0.0.zip";
    let range = [("range", "bytes=100-199")];
    let part = served.client().request(Method::GET, path, &range, "").await;
    assert_eq!(part.status, 206);
    assert!(part.body == small().zip().slice(100..200));
    let head = served.client().head(path).await;
    assert_eq!(head.header("content-length"), Some(&*small().zip().len().to_string()));
    assert!(head.body.is_empty());
}

#[tokio::test]
async fn every_answer_says_that_the_extension_is_there() {
    let (_root, served) = served_disk().await;
    for path in ["/example.com/a/@v/list", "/example.com/a/@v/v1.0.0.mod", "/healthz", "/catalog"] {
        let answer = served.client().get(path).await;
        assert_eq!(answer.header("dipylon-external-storage"), Some("1"), "{path}");
        assert!(answer.header("x-request-id").is_some(), "{path}");
    }
    let ready = served.client().get("/readyz").await;
    assert_eq!((ready.status.as_u16(), ready.text().contains("\"storage\":\"ok\"")), (200, true));
    let metrics = served.client().get("/metrics").await;
    assert!(metrics.text().contains("dipylon_storage_operations_total"), "{}", metrics.text());
}

#[tokio::test]
async fn credentials_are_asked_for_and_sent_from_the_url() {
    let credentials = Some(Credentials::new("robot", "p@ss"));
    let options = Options { credentials, ..Options::default() };
    let (_root, served) = served_disk_with(options).await;
    assert_eq!(served.client().get("/example.com/a/@v/list").await.status, 401);
    assert_eq!(served.client().get("/healthz").await.status, 200);
    let subject = Subject::new(client(&format!("http://robot:p%40ss@{}", served.address)).await);
    subject.save(&small()).await.unwrap();
    assert!(is_stored(subject.storage(), &small()).await);
    let wrong = try_client(&format!("http://robot:hush@{}", served.address)).await;
    let error = wrong.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(error.message().contains("check the user and password"), "{error}");
    assert!(!error.message().contains("hush"), "{error}");
}

#[tokio::test]
async fn a_path_prefix_lies_before_everything() {
    let options = Options { path_prefix: "/store".to_owned(), ..Options::default() };
    let (_root, served) = served_disk_with(options).await;
    let subject = Subject::new(client(&format!("{}/store/", served.url())).await);
    subject.save(&small()).await.unwrap();
    assert!(is_stored(subject.storage(), &small()).await);
    assert_eq!(served.client().get("/example.com/a/@v/list").await.status, 404);
}

#[tokio::test]
async fn the_tower_service_answers_without_a_socket() {
    let root = tempfile::tempdir().unwrap();
    let disk = dipylon::storage::disk(root.path().into()).await.unwrap();
    let mut service = ExternalStorage::new(disk, &Options::default()).unwrap();
    let save = Request::post("/example.com/a/@v/v1.0.0.save")
        .header("content-type", "multipart/form-data; boundary=x")
        .body(Full::new(bytes::Bytes::from(go_form("x", &small()))))
        .unwrap();
    assert_eq!(service.call(save).await.unwrap().status(), 200);
    let get = Request::get("/example.com/a/@v/v1.0.0.zip").body(Full::default()).unwrap();
    let answer = service.call(get).await.unwrap();
    assert!(answer.into_body().collect().await.unwrap().to_bytes() == small().zip());
    let bare = Request::post("/example.com/b/@v/v1.0.0.save").body(Full::default()).unwrap();
    assert_eq!(service.call(bare).await.unwrap().status(), 400);
}

/// Sends all of a save but its last byte.
async fn begin(served: &Served, form: &[u8]) -> TcpStream {
    let head = format!(
        "POST /example.com/a/@v/v1.0.0.save HTTP/1.1\r\nHost: s\r\nContent-Length: {}\r\n\
         Content-Type: multipart/form-data; boundary=x\r\n\r\n",
        form.len()
    );
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&form[..form.len() - 1]).await.unwrap();
    // The request is under way once the server has answered another one.
    served.client().get("/healthz").await;
    stream
}

#[tokio::test]
async fn a_stop_waits_for_the_save_that_is_open() {
    let (root, mut served) = served_disk().await;
    let form = go_form("x", &small());
    let mut stream = begin(&served, &form).await;
    drop(served.stop.take());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(TcpStream::connect(served.address).await.is_err(), "nobody new is let in");
    stream.write_all(&form[form.len() - 1..]).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    served.task.await.unwrap().unwrap();
    assert!(root.path().join("example.com/a/v1.0.0/source.zip").exists());
}

#[tokio::test]
async fn a_drain_that_takes_too_long_is_an_error() {
    let options = Options { drain_timeout: Duration::from_millis(300), ..Options::default() };
    let (_root, mut served) = served_disk_with(options).await;
    let _stream = begin(&served, &go_form("x", &small())).await;
    drop(served.stop.take());
    let error = served.task.await.unwrap().unwrap_err();
    assert!(error.message().contains("still open"), "{error}");
}
