//! Cases 6, 7, 27, 28 and 36: the form of an answer.

use dipylon_testkit::module::FakeModule;
use dipylon_testkit::upstream::{Fault, When};
use http::Method;

use crate::world::{DATABASE, MODULE, Setup, VERSION, assert_refusal, file, outcome};

#[tokio::test]
async fn case_06_head_says_what_get_says_without_a_body() {
    let world = Setup::disk().start().await;
    world.add_module();
    world.get_ok(&file("zip")).await;
    world.until_stored(MODULE, VERSION).await;
    let lookup = format!("/sumdb/{DATABASE}/lookup/{MODULE}@{VERSION}");
    let paths = [
        file("info"),
        file("mod"),
        file("zip"),
        format!("/{MODULE}/@v/list"),
        format!("/{MODULE}/@latest"),
        format!("/{MODULE}/@v/v1.9.9.info"),
        format!("/sumdb/{DATABASE}/supported"),
        format!("/sumdb/{DATABASE}/tile/8/0/000.p/1"),
        lookup,
    ];
    for path in &paths {
        let get = world.get(path).await;
        let head = world.head(path).await;
        assert_eq!(head.status, get.status, "{path}");
        assert!(head.body.is_empty() && !head.truncated, "{path}");
        for name in ["content-type", "content-length", "cache-control", "etag", "accept-ranges"] {
            assert_eq!(head.header(name), get.header(name), "{name} of {path}");
        }
        let length = get.body.len().to_string();
        assert_eq!(head.header("content-length"), Some(length.as_str()), "{path}");
    }
}

#[tokio::test]
async fn case_07_ranges_of_a_zip_are_right() {
    let world = Setup::disk().start().await;
    let zip = world.add(FakeModule::new(MODULE, VERSION).filler(50_000)).zip();
    let whole = world.get_ok(&file("zip")).await;
    world.until_stored(MODULE, VERSION).await;
    let tag = whole.header("etag").expect("a zip has an entity tag").to_owned();
    let last = zip.len() - 1;
    let ask =
        async |headers: &[(&str, &str)]| world.request(Method::GET, &file("zip"), headers).await;
    let part = |from: usize, to: usize| {
        (206, Some(format!("bytes {from}-{to}/{}", zip.len())), zip.slice(from..=to))
    };
    let all = || (200, None, zip.clone());
    let past = format!("bytes={}-", zip.len());
    let overlong = format!("bytes=1000-{}", zip.len() * 2);
    let cases = [
        ("bytes=0-99", part(0, 99)),
        ("bytes=100-", part(100, last)),
        ("bytes=-10", part(last - 9, last)),
        ("bytes=0-0", part(0, 0)),
        (&overlong, part(1000, last)),
        ("bytes=0-1,5-6", all()),
        ("bytes=9-1", all()),
        ("lines=1-2", all()),
        (&past, (416, Some(format!("bytes */{}", zip.len())), bytes::Bytes::new())),
    ];
    for (range, (status, content_range, body)) in cases {
        let answer = ask(&[("range", range)]).await;
        assert_eq!(answer.status.as_u16(), status, "{range}");
        assert_eq!(answer.header("content-range"), content_range.as_deref(), "{range}");
        assert!(answer.body == body, "{range}: {} bytes", answer.body.len());
    }
    let same = ask(&[("range", "bytes=0-9"), ("if-range", &tag)]).await;
    assert_eq!((same.status.as_u16(), same.body.len()), (206, 10));
    let other = ask(&[("range", "bytes=0-9"), ("if-range", "\"another\"")]).await;
    assert_eq!((other.status.as_u16(), &other.body), (200, &zip));
    let known = ask(&[("if-none-match", &tag)]).await;
    assert_eq!((known.status.as_u16(), known.body.len()), (304, 0));
    assert_eq!(world.asked(&file("zip")), 1);
}

#[tokio::test]
async fn case_27_a_redirect_leaves_the_gateway_out_and_credentials_at_home() {
    let world = Setup::disk()
        .env("ATHENS_DOWNLOAD_MODE", "redirect")
        .env("ATHENS_DOWNLOAD_URL", "http://objects.test/base/")
        .start()
        .await;
    world.add_module();
    for kind in ["info", "mod", "zip"] {
        for method in [Method::GET, Method::HEAD] {
            let headers = [("authorization", "Basic dXNlcjpzZWNyZXQ=")];
            let answer = world.request(method, &file(kind), &headers).await;
            let location = format!("http://objects.test/base{}", file(kind));
            assert_eq!(answer.status, 302, "{}", answer.text());
            assert_eq!(answer.header("location"), Some(location.as_str()));
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            assert_eq!(outcome(&answer), "redirected");
            assert!(answer.body.is_empty());
        }
    }
    assert_eq!(world.upstream.total(), 0);
    assert!(world.stored_files().is_empty() && world.our_files().is_empty());
}

#[tokio::test]
async fn case_28_a_compressed_upstream_body_is_stored_decoded() {
    let world = Setup::disk().start().await;
    let module = world.add_module();
    world.upstream.fault(When::prefix(&format!("/{MODULE}/")), Fault::Gzip);
    let answers = [
        ("info", bytes::Bytes::from(module.info())),
        ("mod", module.go_mod_bytes()),
        ("zip", module.zip()),
    ];
    for (kind, bytes) in answers {
        let first = world.get_ok(&file(kind)).await;
        assert_eq!(first.body, bytes, "{kind}");
        assert_eq!(first.header("content-encoding"), None);
    }
    world.until_stored(MODULE, VERSION).await;
    let again = world.get_ok(&file("zip")).await;
    let length = module.zip().len().to_string();
    assert_eq!(again.header("content-length"), Some(length.as_str()));
    assert_eq!((outcome(&again), &again.body), ("hit_storage", &module.zip()));
    let listed = world.get_ok(&format!("/{MODULE}/@v/list")).await;
    assert_eq!(listed.body, format!("{VERSION}\n"));
}

#[tokio::test]
async fn case_36_an_error_text_is_made_fit_to_be_shown_and_keeps_no_credentials() {
    let world = Setup::disk().env("DIPYLON_UPSTREAM_ATTEMPTS", "1").start().await;
    let said =
        "fatal: \u{1b}[31mcannot read\u{7} https://user:secret@git.test/x.git\t\u{9b}now\nmore";
    for (status, shown) in [(500, 502), (404, 404), (403, 403)] {
        let body = bytes::Bytes::from(said);
        let path = format!("/{MODULE}/@v/v1.0.{status}.info");
        world
            .upstream
            .fault(path.as_str(), Fault::Status(status, "text/plain; charset=utf-8", body));
        let refused = world.get(&path).await;
        assert_refusal(&refused, shown, &["cannot read", "git.test/x.git"]);
        assert!(!refused.text().contains("secret"), "{}", refused.text());
        assert!(!refused.text().contains("more"), "{}", refused.text());
    }
    assert!(!world.logged("secret"), "the log keeps credentials");
}
