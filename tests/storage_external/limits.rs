//! What client and server take at most: the byte at each limit, the byte beyond it, and what many slow
//! clients together may cost.

use std::time::{Duration, Instant};

use bytes::Bytes;
use dipylon::external_storage::{MAX_ANSWER_BYTES, MAX_SAVES, Options};
use dipylon_middleware::blob::BlobSource;
use dipylon_middleware::ports::{NewVersion, SaveResult};
use dipylon_middleware::storage_io::ANSWER_MAX;
use dipylon_protocol::gomod::MAX_GO_MOD_BYTES;
use dipylon_protocol::info::MAX_INFO_BYTES;
use dipylon_protocol::route::FileKind;
use dipylon_protocol::zip::MAX_ZIP_BYTES;
use dipylon_testkit::client::Response;
use dipylon_testkit::module::FakeModule;
use dipylon_testkit::storage_suite::{Subject, new_version};
use futures::StreamExt as _;
use http::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::bench::{
    Served, client, form_of, go_form, is_stored, names, served_disk, served_disk_with, sparse_zip,
    try_read,
};
use crate::foreign_server::{Fault, Foreign};

const KIND: (&str, &str) = ("content-type", "multipart/form-data; boundary=x");
const BASE: &str = "/example.com/a/@v/v1.0.0";

fn small() -> FakeModule {
    FakeModule::new("example.com/a", "v1.0.0")
}

/// An `.info` of so many bytes.
fn info_of(bytes: usize) -> Vec<u8> {
    let mut info = small().info().into_bytes();
    info.resize(bytes, b' ');
    info
}

/// A `.mod` of so many bytes.
fn mod_of(bytes: usize) -> Vec<u8> {
    let mut go_mod = small().go_mod_bytes().to_vec();
    go_mod.resize(bytes, b'\n');
    go_mod
}

async fn save(served: &Served, info: Vec<u8>, go_mod: Vec<u8>) -> Response {
    let zip = ("mod.zip", small().zip().to_vec());
    let form = form_of("x", &[("mod.info", info), ("mod.mod", go_mod), zip]);
    let http = served.client().limit(Duration::from_secs(120));
    http.request(Method::POST, &format!("{BASE}.save"), &[KIND], form).await
}

#[tokio::test]
async fn the_server_takes_texts_up_to_their_limits() {
    for (info, go_mod, said) in [
        (MAX_INFO_BYTES + 1, 100, "mod.info is larger than 1048576 bytes"),
        (1_000, MAX_GO_MOD_BYTES + 1, "mod.mod is larger than 16777216 bytes"),
        (MAX_INFO_BYTES, MAX_GO_MOD_BYTES, "created"),
    ] {
        let (_root, served) = served_disk().await;
        let answer = save(&served, info_of(info), mod_of(go_mod)).await;
        assert!(answer.text().contains(said), "{}", answer.text());
        assert_eq!(answer.status.as_u16(), if said == "created" { 200 } else { 400 });
        let storage = client(&served.url()).await;
        let read = try_read(&storage, &small(), FileKind::Mod).await.unwrap();
        assert_eq!(read.map(|go_mod| go_mod.len()), (said == "created").then_some(go_mod));
    }
}

#[tokio::test]
async fn the_client_takes_texts_up_to_their_limits_with_and_without_a_length() {
    let foreign = Foreign::start().await;
    foreign.lay_out(&small());
    for (suffix, kind, limit) in
        [(".info", FileKind::Info, MAX_INFO_BYTES), (".mod", FileKind::Mod, MAX_GO_MOD_BYTES)]
    {
        let of = |bytes| if kind == FileKind::Info { info_of(bytes) } else { mod_of(bytes) };
        for in_chunks in [false, true] {
            foreign.mend();
            if in_chunks {
                foreign.fault(suffix, Fault::NoLength);
            }
            let storage = client(&foreign.url()).await;
            foreign.put(&format!("{BASE}{suffix}"), of(limit + 1));
            let error = try_read(&storage, &small(), kind).await.unwrap_err();
            let want = format!("the answer is larger than {limit} bytes");
            assert!(error.message().contains(&want), "{suffix}, {in_chunks}: {error}");
            foreign.put(&format!("{BASE}{suffix}"), of(limit));
            assert!(try_read(&storage, &small(), kind).await.unwrap() == Some(of(limit)));
        }
    }
}

#[tokio::test]
async fn extras_have_their_limit_in_client_and_server() {
    let (_root, served) = served_disk().await;
    let storage = client(&served.url()).await;
    let largest = Bytes::from(vec![1; MAX_GO_MOD_BYTES]);
    storage.write_extra("early/a", largest.clone()).await.unwrap();
    assert!(storage.read_extra("early/a").await.unwrap() == Some(largest.clone()));
    let larger = Bytes::from([&largest[..], b"x"].concat());
    let error = storage.write_extra("early/a", larger.clone()).await.unwrap_err();
    assert!(error.message().contains("larger than 16777216 bytes"), "{error}");
    let http = served.client();
    let answer = http.request(Method::PUT, "/.dipylon/extras/early/a", &[], larger).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(storage.read_extra("early/a").await.unwrap() == Some(largest), "it stays as it was");
}

/// The first line of what is answered to a head whose body never comes.
async fn refused(served: &Served, method: &str, path: &str, length: u64) -> String {
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: s\r\nContent-Length: {length}\r\nContent-Type: {}\r\n\r\n",
        KIND.1
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 4_096];
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut answer)).await;
    let length = read.expect("an answer before the body").unwrap();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[tokio::test]
async fn a_body_that_says_it_is_too_large_is_refused_before_it_comes() {
    let (_root, served) = served_disk().await;
    let form = MAX_ZIP_BYTES + (MAX_GO_MOD_BYTES + MAX_INFO_BYTES + (1 << 20)) as u64;
    let (save, extra) = (format!("{BASE}.save"), "/.dipylon/extras/early/a");
    for (method, path, length) in [
        ("POST", &*save, form + 1),
        ("PUT", extra, MAX_GO_MOD_BYTES as u64 + 1),
        ("PUT", extra, u64::MAX / 2),
    ] {
        let answer = refused(&served, method, path, length).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{method} of {length}: {answer}");
    }
}

#[tokio::test]
async fn a_zip_that_says_it_is_too_large_is_refused_before_it_comes() {
    let foreign = Foreign::start().await;
    let storage = client(&foreign.url()).await;
    foreign.lay_out(&small());
    foreign.fault(".zip", Fault::Sparse(MAX_ZIP_BYTES + 1, true));
    let begun = Instant::now();
    let error = try_read(&storage, &small(), FileKind::Zip).await.unwrap_err();
    assert!(error.message().contains("larger than 524288000 bytes"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

/// Saves a sparse zip with a form in chunks, and says what was answered.
async fn save_sparse(served: &Served, bytes: u64) -> String {
    let parts = [("mod.info", small().info().into_bytes()), ("mod.mod", mod_of(100))];
    let mut head = form_of("x", &parts);
    head.truncate(head.len() - "\r\n--x--\r\n".len());
    head.extend_from_slice(
        b"\r\n--x\r\nContent-Disposition: form-data; name=\"mod.zip\"; filename=\"mod.zip\"\r\n\r\n",
    );
    let stream = TcpStream::connect(served.address).await.unwrap();
    let (mut answers, mut stream) = stream.into_split();
    let request = format!(
        "POST {BASE}.save HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\nContent-Type: {}\r\n\
         Connection: close\r\n\r\n",
        KIND.1
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let form = [Bytes::from(head)].into_iter();
    for chunk in form.chain(sparse_zip(bytes)).chain(["\r\n--x--\r\n".into()]) {
        stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).await.unwrap();
        stream.write_all(&chunk).await.unwrap();
        stream.write_all(b"\r\n").await.unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    answers.read_to_string(&mut answer).await.unwrap();
    answer
}

/// What a stored zip amounts to: its bytes, and the last of them.
async fn measure(subject: &Subject) -> (u64, Vec<u8>) {
    let (module, version) = names(&small());
    let read = subject.storage().read(&module, &version, FileKind::Zip).await.unwrap().unwrap();
    let BlobSource::Remote(remote) = read.source() else { panic!("a zip in memory") };
    let (mut bytes, mut last) = (0, Vec::new());
    let mut stream = remote.open(0..read.length());
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.unwrap();
        bytes += chunk.len() as u64;
        last.extend_from_slice(&chunk);
        last.drain(..last.len().saturating_sub(100));
    }
    assert_eq!(bytes, read.length());
    (bytes, last)
}

fn end_of_sparse(bytes: u64) -> Vec<u8> {
    let end = sparse_zip(bytes).last().unwrap();
    [&[0; 31][..], &end[..]].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: 500 MiB, five times"]
async fn slow_a_zip_of_500_mib_goes_in_and_out_and_a_byte_more_does_not() {
    let (_root, served) = served_disk().await;
    let subject = Subject::new(client(&served.url()).await);
    let answer = save_sparse(&served, MAX_ZIP_BYTES + 1).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(answer.contains("the zip is larger than 524288000 bytes"), "{answer}");
    let answer = save_sparse(&served, MAX_ZIP_BYTES).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(measure(&subject).await, (MAX_ZIP_BYTES, end_of_sparse(MAX_ZIP_BYTES)));

    // The same by our client, into a store of its own.
    let (_root, served) = served_disk().await;
    let subject = Subject::new(client(&served.url()).await);
    let (mut writer, spool) = subject.spools().create(None, 0).unwrap();
    for chunk in sparse_zip(MAX_ZIP_BYTES) {
        writer.write(&chunk).unwrap();
    }
    writer.finish();
    let new = NewVersion { zip: spool, ..new_version(subject.spools(), &small()) };
    assert_eq!(subject.storage().save(new).await.unwrap(), SaveResult::Created);
    assert_eq!(measure(&subject).await, (MAX_ZIP_BYTES, end_of_sparse(MAX_ZIP_BYTES)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: 500 MiB, four times"]
async fn slow_a_zip_of_500_mib_comes_from_a_foreign_server_and_a_byte_more_does_not() {
    let foreign = Foreign::start().await;
    foreign.lay_out(&small());
    for told in [true, false] {
        let subject = Subject::new(client(&foreign.url()).await);
        foreign.fault(".zip", Fault::Sparse(MAX_ZIP_BYTES, told));
        for _ in 0..2 {
            let want = (MAX_ZIP_BYTES, end_of_sparse(MAX_ZIP_BYTES));
            assert_eq!(measure(&subject).await, want, "told: {told}");
        }
    }
    let storage = client(&foreign.url()).await;
    foreign.fault(".zip", Fault::Sparse(MAX_ZIP_BYTES + 1, false));
    let error = try_read(&storage, &small(), FileKind::Zip).await.unwrap_err();
    assert!(error.message().contains("larger than 524288000 bytes"), "{error}");
}

/// Sends the beginning of a save, up to the first byte of what `last` names.
pub(crate) async fn begin_save(served: &Served, number: usize, last: &str) -> TcpStream {
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let text = format!(
        "POST /example.com/s{number}/@v/v1.0.0.save HTTP/1.1\r\nHost: s\r\nContent-Length: 500000000\r\n\
         Content-Type: {}\r\n\r\n--x\r\nContent-Disposition: form-data; name=\"{last}\"\r\n\r\n-",
        KIND.1
    );
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn clients_that_dawdle_before_their_zip_are_in_nobodys_way() {
    let (_root, served) = served_disk().await;
    let mut dawdling = Vec::new();
    for number in 0..4 * MAX_SAVES {
        dawdling.push(begin_save(&served, number, "mod.info").await);
    }
    served.client().get("/healthz").await;
    let http = served.client().limit(Duration::from_secs(20));
    let form = go_form("x", &small());
    let answer = http.request(Method::POST, &format!("{BASE}.save"), &[KIND], form).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: waits for a timeout"]
async fn slow_clients_that_trickle_lose_their_places_after_a_minute() {
    let (_root, served) = served_disk().await;
    let mut trickling = Vec::new();
    for number in 0..MAX_SAVES {
        let mut stream = begin_save(&served, number, "mod.zip").await;
        trickling.push(tokio::spawn(async move {
            while stream.write_all(b"a").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
        }));
    }
    served.client().get("/healthz").await;
    let begun = Instant::now();
    let subject = Subject::new(client(&served.url()).await);
    assert_eq!(subject.save(&small()).await.unwrap(), SaveResult::Created);
    let waited = begun.elapsed();
    assert!((30..80).contains(&waited.as_secs()), "{waited:?}");
    assert!(is_stored(subject.storage(), &small()).await);
}

/// Opens a connection that takes next to nothing of an answer, and says how that begins.
async fn slow_get(served: &Served, path: &str) -> (TcpStream, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(served.address).await.unwrap();
    let text = format!("GET {path} HTTP/1.1\r\nHost: s\r\n\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut head = vec![0; 12];
    stream.read_exact(&mut head).await.unwrap();
    (stream, String::from_utf8(head).unwrap())
}

/// However slow and many they are, what their answers hold in memory has a limit; the rest are asked to
/// come again, and saves go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: waits for a timeout"]
async fn slow_readers_hold_a_bounded_amount_of_memory() {
    let (_root, served) = served_disk_with(Options::default()).await;
    let subject = Subject::new(client(&served.url()).await);
    let largest = Bytes::from(vec![1; MAX_GO_MOD_BYTES]);
    subject.storage().write_extra("early/a", largest.clone()).await.unwrap();
    let fit = MAX_ANSWER_BYTES / MAX_GO_MOD_BYTES;
    let path = "/.dipylon/extras/early/a";
    let begun = Instant::now();
    let asking = (0..3 * fit).map(|_| slow_get(&served, path));
    let asked = futures::future::join_all(asking).await;
    let counted = |status: &str| asked.iter().filter(|(_, head)| head.ends_with(status)).count();
    assert_eq!((counted("200"), counted("503")), (fit, 2 * fit));
    assert!(begun.elapsed() < ANSWER_MAX, "a client of ours gives up after that: {begun:?}");
    subject.save(&small()).await.unwrap();
    drop(asked);
    assert!(is_stored(subject.storage(), &small()).await);
    assert!(subject.storage().read_extra("early/a").await.unwrap() == Some(largest));
}
