use std::time::Duration;

use futures::stream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::*;
use crate::fetch::http_client::HttpClientConfig;

/// Answers one request on loopback with these bytes, and hands back what was asked; keeps the
/// connection open afterwards when the answer has no end.
async fn hook(answer: &'static str) -> (String, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://user:pa%20ss@{}/check?team=a", listener.local_addr().unwrap());
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"}") {
            let read = stream.read_buf(&mut request).await.unwrap();
            assert!(read > 0, "the request ends with its JSON");
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(request).unwrap()
    });
    (url, asked)
}

async fn ask(url: &str, patience: Duration) -> Result<(), Error> {
    let http = HttpClient::new(&HttpClientConfig::default()).unwrap();
    let hook = ValidatorHook::new(http, url).unwrap();
    let context = RequestContext::detached(Instant::now() + patience);
    let module = ModulePath::parse("example.com/Mod").unwrap();
    let version = VersionQuery::parse("v1.2.3").unwrap();
    hook.validate(&context, &module, &version).await
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn the_question_is_athens_s() {
    let (url, asked) = hook("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    ask(&url, MINUTE).await.unwrap();
    let request = asked.await.unwrap();
    assert!(request.starts_with("POST /check?team=a HTTP/1.1\r\n"), "{request}");
    let head = request.to_ascii_lowercase();
    assert!(head.contains("content-type: application/json\r\n"), "{request}");
    assert!(request.contains("Basic dXNlcjpwYSBzcw=="), "{request}");
    assert!(
        request.ends_with("\r\n\r\n{\"Module\":\"example.com/Mod\",\"Version\":\"v1.2.3\"}"),
        "{request}"
    );
}

#[tokio::test]
async fn a_403_refuses_with_the_first_line() {
    let (url, _) = hook("HTTP/1.1 403 No\r\nContent-Length: 13\r\n\r\nbad\r\nsecrets\n").await;
    let error = ask(&url, MINUTE).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeniedByValidator);
    let wanted = "example.com/Mod@v1.2.3 is refused by the gateway's validator: bad";
    assert_eq!(error.message(), wanted);
}

#[tokio::test]
async fn anything_else_is_no_answer_and_does_not_name_the_hook() {
    for answer in [
        "HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops",
        "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 204 None\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        "not http\r\n\r\n",
        "",
    ] {
        let (url, _) = hook(answer).await;
        let error = ask(&url, MINUTE).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ValidatorFailed, "{answer:?}");
        assert!(!error.message().contains("127.0.0.1"), "{error}");
    }
    let error = ask("http://127.0.0.1:1/", MINUTE).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ValidatorFailed);
}

#[tokio::test]
async fn a_hook_that_does_not_answer_is_given_up_at_the_deadline() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let error = ask(&url, Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ValidatorFailed);
}

#[tokio::test]
async fn an_endless_reason_is_cut() {
    let endless = stream::repeat_with(|| Ok(Bytes::from_static(&[b'x'; 1000]))).boxed();
    let line = first_line(endless).await;
    assert!((MAX_REASON_BYTES..2 * MAX_REASON_BYTES).contains(&line.len()), "{}", line.len());
}

#[test]
fn what_is_no_url_is_refused_without_repeating_it() {
    for url in
        ["", "h", "ftp://h/", "http://", "http://u:hunter2@/x", "http://h h/", "http://%zz@h/"]
    {
        assert!(target(url).is_none(), "{url:?}");
    }
    let to = target("https://u:hunter2@h:8443/a?b").unwrap();
    assert_eq!(to.uri.to_string(), "https://h:8443/a?b");
    assert!(to.authorization.is_some());
    let hook = ValidatorHook { http: HttpClient::new(&HttpClientConfig::default()).unwrap(), to };
    assert!(!format!("{hook:?}").contains("hunter2"));
}
