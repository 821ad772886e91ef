mod cache_status;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dipylon_protocol::route::FileKind;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use tempfile::TempDir;

use super::*;
use crate::blob::{Blob, ByteStream, OpenRange};
use crate::ports::BoxFuture;
use crate::spool::{Spool, SpoolWriter, Spools};
use crate::telemetry::labels::Label as _;
use crate::testing::{header, query, telemetry, text_of, version};

const TEXT_OF_FILE: &[u8] = b"0123456789";
const TAG: &str = "\"v1.0.0.zip-a\"";

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&str, &str)| {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
        (name, HeaderValue::from_str(value).expect("a header value"))
    };
    pairs.iter().map(pair).collect()
}

fn answer(kind: FileKind, content: Content) -> ModuleResponse {
    let answer = Answer::File { kind, version: version("v1.0.0"), content };
    ModuleResponse::new(answer, Outcome::HitStorage)
}

fn zip() -> ModuleResponse {
    let bytes = Bytes::from_static(TEXT_OF_FILE);
    answer(FileKind::Zip, Content::Stored(Blob::from_bytes(bytes)))
}

async fn rendered(
    response: ModuleResponse,
    method: &Method,
    asked: &[(&str, &str)],
) -> Result<Response<Body>, Error> {
    module(response, Wanted { method, headers: &headers(asked) }).await
}

async fn get(response: ModuleResponse, asked: &[(&str, &str)]) -> Response<Body> {
    rendered(response, &Method::GET, asked).await.expect("an answer")
}

#[tokio::test]
async fn a_canonical_file_may_be_kept_for_ever_and_says_what_it_is() {
    for (kind, content_type) in [
        (FileKind::Info, "application/json"),
        (FileKind::Mod, "text/plain; charset=utf-8"),
        (FileKind::Zip, "application/zip"),
    ] {
        let content = Content::Bytes(Bytes::from_static(TEXT_OF_FILE));
        let response = get(answer(kind, content), &[]).await;
        assert_eq!(response.status(), 200);
        assert_eq!(header(&response, "content-type"), Some(content_type));
        assert_eq!(header(&response, "cache-control"), IMMUTABLE.to_str().ok());
        assert_eq!(header(&response, "content-length"), Some("10"));
        assert_eq!(header(&response, "accept-ranges"), Some("bytes"));
        assert_eq!(header(&response, "etag"), Some(format!("\"v1.0.0.{kind}-a\"").as_str()));
        assert_eq!(text_of(response).await.as_bytes(), TEXT_OF_FILE);
    }
}

#[tokio::test]
async fn the_answer_to_a_query_may_change_and_has_neither_tag_nor_ranges() {
    let mut info = zip();
    info.asked = Some(query("main"));
    info.age = Some(Duration::from_secs(7));
    let response = get(info, &[("range", "bytes=0-1"), ("if-none-match", "*")]).await;
    assert_eq!(response.status(), 200);
    assert_eq!(header(&response, "cache-control"), REVALIDATE.to_str().ok());
    assert_eq!(header(&response, "etag"), None);
    assert_eq!(header(&response, "accept-ranges"), None);
    assert_eq!(header(&response, "age"), Some("7"));
    assert_eq!(text_of(response).await.as_bytes(), TEXT_OF_FILE);
}

#[tokio::test]
async fn a_known_tag_is_answered_304_without_a_body() {
    for known in [TAG, "*", "\"other\", \"v1.0.0.zip-a\"", "W/\"v1.0.0.zip-a\""] {
        let response = get(zip(), &[("if-none-match", known)]).await;
        assert_eq!(response.status(), 304, "{known}");
        assert_eq!(header(&response, "etag"), Some(TAG));
        assert_eq!(header(&response, "cache-control"), IMMUTABLE.to_str().ok());
        assert_eq!(text_of(response).await, "");
    }
    for other in ["\"other\"", "v1.0.0.zip-a", "\"v1.0.0.zip-b\"", ""] {
        let response = get(zip(), &[("if-none-match", other)]).await;
        assert_eq!(response.status(), 200, "{other}");
    }
}

#[tokio::test]
async fn ranges_are_answered_as_rfc_9110_says() {
    let table: &[(&str, u16, &str, &str)] = &[
        ("bytes=0-0", 206, "bytes 0-0/10", "0"),
        ("bytes=2-4", 206, "bytes 2-4/10", "234"),
        ("bytes=7-", 206, "bytes 7-9/10", "789"),
        ("bytes=7-99", 206, "bytes 7-9/10", "789"),
        ("bytes=7-18446744073709551615", 206, "bytes 7-9/10", "789"),
        ("bytes=-3", 206, "bytes 7-9/10", "789"),
        ("bytes=-99", 206, "bytes 0-9/10", "0123456789"),
        ("bytes=10-", 416, "bytes */10", ""),
        ("bytes=10-12", 416, "bytes */10", ""),
        ("bytes=-0", 416, "bytes */10", ""),
        // Malformed, several at once, or another unit: the whole file.
        ("bytes=4-2", 200, "", "0123456789"),
        ("bytes=0-1,3-4", 200, "", "0123456789"),
        ("bytes=", 200, "", "0123456789"),
        ("bytes=-", 200, "", "0123456789"),
        ("bytes=a-b", 200, "", "0123456789"),
        ("bytes=+1-2", 200, "", "0123456789"),
        ("bytes=99999999999999999999-", 200, "", "0123456789"),
        ("lines=0-1", 200, "", "0123456789"),
    ];
    for (asked, status, content_range, body) in table {
        let response = get(zip(), &[("range", asked)]).await;
        assert_eq!(response.status(), *status, "{asked}");
        assert_eq!(header(&response, "content-range").unwrap_or(""), *content_range, "{asked}");
        if *status != 416 {
            let length = body.len().to_string();
            assert_eq!(header(&response, "content-length"), Some(length.as_str()), "{asked}");
        }
        assert_eq!(text_of(response).await, *body, "{asked}");
    }
}

#[tokio::test]
async fn what_cannot_be_satisfied_is_not_cached() {
    let response = get(zip(), &[("range", "bytes=10-")]).await;
    assert_eq!(header(&response, "cache-control"), Some("no-store"));
}

#[tokio::test]
async fn no_byte_of_an_empty_file_can_be_asked_for() {
    let empty = || answer(FileKind::Zip, Content::Bytes(Bytes::new()));
    assert_eq!(get(empty(), &[("range", "bytes=0-")]).await.status(), 416);
    assert_eq!(get(empty(), &[("range", "bytes=-1")]).await.status(), 416);
    assert_eq!(get(empty(), &[]).await.status(), 200);
}

#[tokio::test]
async fn a_range_holds_only_for_the_file_the_client_knows() {
    for (condition, status) in [
        (TAG, 206),
        ("\"other\"", 200),
        ("W/\"v1.0.0.zip-a\"", 200),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 200),
    ] {
        let asked = [("range", "bytes=2-4"), ("if-range", condition)];
        assert_eq!(get(zip(), &asked).await.status(), status, "{condition}");
    }
}

#[tokio::test]
async fn a_range_of_a_stored_file_on_disk_is_read_from_its_middle() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("zip");
    let bytes: Vec<u8> = (0..300_000_u32).map(|number| (number % 251) as u8).collect();
    std::fs::write(&path, &bytes).expect("written");
    let file = std::fs::File::open(&path).expect("opened");
    let stored = Content::Stored(Blob::from_file(file, bytes.len() as u64));
    let asked = [("range", "bytes=1000-299998")];
    let response = get(answer(FileKind::Zip, stored), &asked).await;
    assert_eq!(response.status(), 206);
    let body = http_body_util::BodyExt::collect(response.into_body()).await.expect("read");
    assert!(body.to_bytes()[..] == bytes[1000..=299_998]);
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_no_body() {
    let response = rendered(zip(), &Method::HEAD, &[]).await.expect("an answer");
    assert_eq!(header(&response, "content-length"), Some("10"));
    assert_eq!(header(&response, "etag"), Some(TAG));
    assert_eq!(text_of(response).await, "");
}

#[tokio::test]
async fn head_ignores_a_range() {
    let asked = [("range", "bytes=2-4")];
    let response = rendered(zip(), &Method::HEAD, &asked).await.expect("an answer");
    assert_eq!(response.status(), 200);
    assert_eq!(header(&response, "content-length"), Some("10"));
    assert_eq!(header(&response, "content-range"), None);
}

fn spool(length: Option<u64>, hold_back: u64) -> (SpoolWriter, Spool, TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let spools = Spools::new(directory.path(), 1 << 20, &telemetry());
    let (writer, spool) = spools.create(length, hold_back).expect("a spool");
    spool.permit_release();
    (writer, spool, directory)
}

#[tokio::test]
async fn a_zip_that_arrives_has_its_length_where_upstream_announced_it() {
    let (mut writer, spool, _directory) = spool(Some(10), 4);
    writer.write(TEXT_OF_FILE).expect("written");
    let response = get(answer(FileKind::Zip, Content::Spooled(spool)), &[]).await;
    assert_eq!(header(&response, "content-length"), Some("10"));
    assert_eq!(header(&response, "etag"), Some(TAG));
    writer.finish();
    assert_eq!(text_of(response).await.as_bytes(), TEXT_OF_FILE);
}

#[tokio::test]
async fn a_zip_of_unknown_length_is_streamed_without_one() {
    let (mut writer, spool, _directory) = spool(None, 4);
    writer.write(TEXT_OF_FILE).expect("written");
    let content = Content::Spooled(spool);
    let response = get(answer(FileKind::Zip, content.clone()), &[]).await;
    assert_eq!(response.status(), 200);
    assert_eq!(header(&response, "content-length"), None);
    assert_eq!(header(&response, "etag"), None);
    let head = rendered(answer(FileKind::Zip, content.clone()), &Method::HEAD, &[]).await;
    assert_eq!(header(&head.expect("an answer"), "content-length"), None);
    writer.finish();
    assert_eq!(text_of(response).await.as_bytes(), TEXT_OF_FILE);
    let later = get(answer(FileKind::Zip, content), &[]).await;
    assert_eq!(header(&later, "content-length"), Some("10"), "known at the end");
}

#[tokio::test]
async fn nothing_is_answered_before_a_byte_may_be_shown() {
    let (mut writer, spool, _directory) = spool(Some(10), 100);
    writer.write(TEXT_OF_FILE).expect("written");
    let (method, none) = (Method::GET, HeaderMap::new());
    let wanted = Wanted { method: &method, headers: &none };
    let mut waiting = Box::pin(module(answer(FileKind::Zip, Content::Spooled(spool)), wanted));
    assert!(futures::poll!(&mut waiting).is_pending());
    writer.fail(Error::new(ErrorKind::ChecksumMismatch, "wrong"));
    let refused = waiting.await.expect_err("the refusal is a status");
    assert_eq!(refused.kind(), ErrorKind::ChecksumMismatch);
}

#[tokio::test]
async fn nothing_is_answered_before_the_checksum_database_has() {
    let directory = tempfile::tempdir().expect("a directory");
    let spools = Spools::new(directory.path(), 1 << 20, &telemetry());
    let (mut writer, spool) = spools.create(Some(10), 0).expect("a spool");
    writer.write(TEXT_OF_FILE).expect("written");
    let (method, none) = (Method::GET, HeaderMap::new());
    let wanted = Wanted { method: &method, headers: &none };
    let content = Content::Spooled(spool.clone());
    let mut waiting = Box::pin(module(answer(FileKind::Zip, content), wanted));
    assert!(futures::poll!(&mut waiting).is_pending());
    spool.permit_release();
    assert_eq!(waiting.await.expect("an answer").status(), 200);
    drop(writer);
}

#[tokio::test]
async fn who_comes_after_the_refusal_gets_a_status_however_much_others_saw() {
    let (mut writer, spool, _directory) = spool(Some(10), 4);
    writer.write(TEXT_OF_FILE).expect("written");
    get(answer(FileKind::Zip, Content::Spooled(spool.clone())), &[]).await;
    writer.fail(Error::new(ErrorKind::ChecksumMismatch, "wrong"));
    let late = rendered(answer(FileKind::Zip, Content::Spooled(spool)), &Method::GET, &[]).await;
    assert_eq!(late.expect_err("a status").kind(), ErrorKind::ChecksumMismatch);
}

#[tokio::test]
async fn a_range_of_a_zip_that_arrives_waits_for_its_end() {
    let (mut writer, spool, _directory) = spool(None, 0);
    writer.write(TEXT_OF_FILE).expect("written");
    let asked = headers(&[("range", "bytes=-3")]);
    let wanted = Wanted { method: &Method::GET, headers: &asked };
    let mut waiting = Box::pin(module(answer(FileKind::Zip, Content::Spooled(spool)), wanted));
    assert!(futures::poll!(&mut waiting).is_pending());
    writer.finish();
    let response = waiting.await.expect("an answer");
    assert_eq!(header(&response, "content-range"), Some("bytes 7-9/10"));
    assert_eq!(text_of(response).await, "789");
}

#[tokio::test]
async fn a_zip_that_fails_after_its_first_byte_cuts_the_body() {
    let (mut writer, spool, _directory) = spool(Some(10), 4);
    writer.write(TEXT_OF_FILE).expect("written");
    let response = get(answer(FileKind::Zip, Content::Spooled(spool)), &[]).await;
    writer.fail(Error::new(ErrorKind::ChecksumMismatch, "wrong"));
    let body = http_body_util::BodyExt::collect(response.into_body()).await;
    assert_eq!(body.expect_err("cut").kind(), ErrorKind::ChecksumMismatch);
}

#[tokio::test]
async fn list_and_latest_are_asked_for_again_each_time() {
    let bytes = || Bytes::from_static(b"v1.0.0\n");
    for (answer, content_type) in [
        (Answer::List(bytes()), "text/plain; charset=utf-8"),
        (Answer::Latest(bytes()), "application/json; charset=utf-8"),
    ] {
        let mut kept = ModuleResponse::new(answer, Outcome::HitMemory);
        kept.age = Some(Duration::from_millis(61_900));
        let response = get(kept, &[]).await;
        assert_eq!(header(&response, "content-type"), Some(content_type));
        assert_eq!(header(&response, "cache-control"), REVALIDATE.to_str().ok());
        assert_eq!(header(&response, "age"), Some("61"));
        assert_eq!(text_of(response).await, "v1.0.0\n");
    }
}

#[tokio::test]
async fn an_empty_list_has_a_length_of_zero() {
    let empty = ModuleResponse::new(Answer::List(Bytes::new()), Outcome::HitStorage);
    let response = get(empty, &[]).await;
    assert_eq!((response.status().as_u16(), header(&response, "content-length")), (200, Some("0")));
}

#[tokio::test]
async fn a_redirect_is_302_and_never_kept() {
    let to = "https://downloads.example/example.com/m/@v/v1.0.0.zip";
    let answer = Answer::Redirect { location: to.to_owned(), status: StatusCode::FOUND };
    let redirect = ModuleResponse::new(answer, Outcome::Redirected);
    let response = get(redirect, &[]).await;
    assert_eq!(response.status(), 302);
    assert_eq!(header(&response, "location"), Some(to));
    assert_eq!(header(&response, "cache-control"), Some("no-store"));
    assert_eq!(response.outcome(), Outcome::Redirected);
}

#[tokio::test]
async fn a_location_that_is_no_header_value_is_an_error_not_a_split_answer() {
    let evil = "https://a.example/\r\nSet-Cookie: x".to_owned();
    let answer = Answer::Redirect { location: evil, status: StatusCode::FOUND };
    let redirect = ModuleResponse::new(answer, Outcome::Redirected);
    let failed = rendered(redirect, &Method::GET, &[]).await.expect_err("refused");
    assert_eq!(failed.kind(), ErrorKind::Internal);
}

#[tokio::test]
async fn every_kind_of_error_is_one_line_of_text_with_the_row_of_its_table() {
    for kind in ErrorKind::ALL {
        let row = kind.row();
        let response = error(&Error::new(*kind, "what, where, what to do"));
        assert_eq!(response.status(), row.status, "{kind:?}");
        assert_eq!(header(&response, "content-type"), TEXT.to_str().ok());
        assert_eq!(header(&response, "cache-control"), Some(row.cache_control));
        assert_eq!(header(&response, "x-content-type-options"), Some("nosniff"));
        assert_eq!(header(&response, "retry-after"), None);
        let served = response.extensions().get::<Served>().expect("told").clone();
        assert_eq!((served.outcome, served.severity), (row.outcome, row.severity));
        assert_eq!(served.error.as_deref(), Some("what, where, what to do"));
        assert_eq!(text_of(response).await, "what, where, what to do\n");
    }
}

#[test]
fn some_errors_have_a_header_of_their_own() {
    let unauthorized = error(&Error::new(ErrorKind::Unauthorized, "no"));
    let challenge = header(&unauthorized, "www-authenticate");
    assert_eq!(challenge, Some("Basic realm=\"basic auth required\""));
    let method = error(&Error::new(ErrorKind::MethodNotAllowed, "no"));
    assert_eq!(header(&method, "allow"), Some("GET, HEAD"));
}

#[test]
fn a_time_to_ask_again_is_rounded_up_to_whole_seconds() {
    for (milliseconds, seconds) in [(0, "1"), (1, "1"), (1000, "1"), (1001, "2"), (4999, "5")] {
        let after = Duration::from_millis(milliseconds);
        let shed = Error::new(ErrorKind::Overloaded, "later").with_retry_after(after);
        assert_eq!(header(&error(&shed), "retry-after"), Some(seconds), "{milliseconds} ms");
    }
}

#[test]
fn a_remembered_no_says_so() {
    let response = error(&Error::new(ErrorKind::NotFound, "no").remembered());
    assert_eq!(response.status(), 404);
    assert_eq!(response.outcome(), Outcome::Negative);
}

#[tokio::test]
async fn what_is_said_of_an_answer_travels_with_it() {
    let response = get(zip(), &[]).await;
    let served = response.extensions().get::<Served>().expect("told");
    assert_eq!(served.outcome, Outcome::HitStorage);
    assert_eq!(served.version.as_deref(), Some("v1.0.0"));
}

#[tokio::test]
async fn the_checksum_database_s_answers_are_kept_as_long_as_they_are_true() {
    for (immutable, caching) in [(true, IMMUTABLE), (false, REVALIDATE)] {
        let body = Bytes::from_static(b"tile");
        let answer = SumDbResponse::new(body, Outcome::HitStorage);
        let response = sumdb(SumDbResponse { immutable, ..answer });
        assert_eq!(header(&response, "cache-control"), caching.to_str().ok());
        assert_eq!(response.outcome(), Outcome::HitStorage);
        assert_eq!(text_of(response).await, "tile");
    }
}

/// A remote object that notes which ranges are opened.
struct Noting(Arc<parking_lot::Mutex<Vec<Range<u64>>>>);

impl OpenRange for Noting {
    fn open(&self, range: Range<u64>) -> ByteStream {
        self.0.lock().push(range.clone());
        let at = |offset: u64| usize::try_from(offset).expect("a small offset");
        let part = Bytes::from_static(TEXT_OF_FILE).slice(at(range.start)..at(range.end));
        crate::testing::upstream::stream(vec![crate::testing::upstream::Piece::Data(part)])
    }
}

#[tokio::test]
async fn only_the_wanted_part_of_a_remote_object_is_read_and_none_for_head() {
    let opened = Arc::default();
    let blob = Blob::remote(Arc::new(Noting(Arc::clone(&opened))), 10);
    let remote = || answer(FileKind::Zip, Content::Stored(blob.clone()));
    rendered(remote(), &Method::HEAD, &[]).await.expect("an answer");
    let response = get(remote(), &[("range", "bytes=2-4")]).await;
    assert_eq!(text_of(response).await, "234");
    let opened = opened.lock();
    assert_eq!((opened.len(), &opened[0]), (1, &(2..5)));
}

/// A stored zip that clients may fetch elsewhere.
struct Elsewhere;

impl OpenRange for Elsewhere {
    fn open(&self, range: Range<u64>) -> ByteStream {
        let (start, end) = (range.start as usize, range.end as usize);
        let bytes = Bytes::from_static(&TEXT_OF_FILE[start..end]);
        Box::pin(futures::stream::once(std::future::ready(Ok(bytes))))
    }

    fn presigned(&self) -> BoxFuture<'_, Option<PresignedUrl>> {
        Box::pin(std::future::ready(Some(PresignedUrl::new("https://store.example/x?sig=secret"))))
    }
}

#[tokio::test]
async fn only_who_wants_all_of_a_stored_zip_is_sent_elsewhere() {
    let stored = || Content::Stored(Blob::remote(Arc::new(Elsewhere), 10));
    let sent = get(answer(FileKind::Zip, stored()), &[]).await;
    assert_eq!(sent.status(), 302);
    assert_eq!(header(&sent, "location"), Some("https://store.example/x?sig=secret"));
    assert_eq!(header(&sent, "cache-control"), Some("no-store"));
    let served = sent.extensions().get::<Served>().expect("what became of it");
    assert_eq!(served.outcome, Outcome::Redirected);
    assert!(!format!("{served:?}").contains("secret"));

    let head = rendered(answer(FileKind::Zip, stored()), &Method::HEAD, &[]).await.expect("a head");
    assert_eq!(head.status(), 200);
    for (asked, value, status) in [
        ("range", "bytes=0-1", 206),
        ("if-none-match", "\"x\"", 200),
        ("if-match", "\"x\"", 200),
        ("if-range", "\"x\"", 200),
        ("if-modified-since", "Sat, 01 Jan 2000 00:00:00 GMT", 200),
        ("if-unmodified-since", "Sat, 01 Jan 2000 00:00:00 GMT", 200),
    ] {
        let here = get(answer(FileKind::Zip, stored()), &[(asked, value)]).await;
        assert_eq!(here.status(), status, "{asked}");
    }
    assert_eq!(get(answer(FileKind::Mod, stored()), &[]).await.status(), 200, "no zip");
    let mut by_query = answer(FileKind::Zip, stored());
    by_query.asked = Some(query("main"));
    assert_eq!(get(by_query, &[]).await.status(), 200, "an answer that may change");
}
