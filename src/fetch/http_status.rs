//! What a status other than 200 means. Only 404 and 410 mean "does not exist"; everything else that
//! is not 200 keeps a client from being sent elsewhere in silence.

use std::time::Duration;

use dipylon_middleware::{Error, ErrorKind};
use http::StatusCode;
use http::header::{self, HeaderMap};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::http_body::{limited, read_all};
use super::http_client::Answer;

/// Bytes of an error body that are read: enough for its first line, and for a short body to end, so
/// that the connection can be used again.
const MAX_ERROR_BODY_BYTES: u64 = 16 * 1024;
/// How long an error body is waited for; its text is a courtesy.
const ERROR_BODY_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest text taken over from an upstream, in bytes.
const MAX_UPSTREAM_TEXT_BYTES: usize = 400;
/// Longest `Retry-After` that is believed.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// Turns an answer that is not 200 into an error that names the place and repeats what upstream says.
pub(crate) async fn refusal(answer: Answer) -> Error {
    let Answer { status, headers, body, place, is_from_elsewhere, .. } = answer;
    let kind = kind_of(status);
    let mut message = format!("{place}: upstream answered {}", status.as_u16());
    if let Some(reason) = status.canonical_reason() {
        message.push(' ');
        message.push_str(reason);
    }
    if is_plain_text(&headers) {
        // A body that is too long, too slow or cut has no text for us; the status still counts.
        let body = read_all(limited(body, MAX_ERROR_BODY_BYTES, place));
        if let Ok(Ok(text)) = tokio::time::timeout(ERROR_BODY_TIMEOUT, body).await
            && let Some(line) = first_line(&text)
        {
            message.push_str(": ");
            message.push_str(&line);
        }
    }
    if kind == ErrorKind::UpstreamRefused {
        message.push_str(" (check the gateway's credentials for this upstream in GOPROXY)");
    }
    let mut error = Error::new(kind, message).answered(status);
    if is_from_elsewhere {
        error = error.from_elsewhere();
    }
    match retry_after(&headers, OffsetDateTime::now_utc()) {
        Some(after) if may_ask_for_time(status) => error.with_retry_after(after),
        _ => error,
    }
}

/// Whether `Retry-After` means something beside this status. One module's other trouble is no reason to
/// leave its whole host alone.
fn may_ask_for_time(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
}

fn kind_of(status: StatusCode) -> ErrorKind {
    match status.as_u16() {
        404 | 410 => ErrorKind::NotFound,
        401 | 403 | 451 => ErrorKind::UpstreamRefused,
        429 => ErrorKind::UpstreamThrottled,
        // "Request timeout" asks to try again; any other 4xx is an answer that repeating cannot change.
        408 => ErrorKind::UpstreamFailed,
        400..=499 => ErrorKind::UpstreamRejected,
        // 204 and 206 would be a part of an answer, which must not be taken for the whole.
        200..=299 => ErrorKind::BadContent,
        _ => ErrorKind::UpstreamFailed,
    }
}

/// The rule by which the `go` command shows a proxy's error text: text/plain in a charset it reads.
fn is_plain_text(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let mut parts = value.split(';').map(str::trim);
    let is_text = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("text/plain"));
    is_text
        && parts.all(|parameter| match parameter.split_once('=') {
            Some((name, charset)) if name.eq_ignore_ascii_case("charset") => {
                let charset = charset.trim_matches('"').to_ascii_lowercase();
                matches!(charset.as_str(), "utf-8" | "us-ascii")
            }
            _ => true,
        })
}

/// The first line with something on it, cut to its limit.
fn first_line(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    let mut end = line.len().min(MAX_UPSTREAM_TEXT_BYTES);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    Some(line[..end].to_owned())
}

/// `Retry-After` in seconds or as a date, bounded by [`MAX_RETRY_AFTER`].
fn retry_after(headers: &HeaderMap, now: OffsetDateTime) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let after = match value.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = OffsetDateTime::parse(value, &Rfc2822).ok()?;
            Duration::try_from(date - now).unwrap_or(Duration::ZERO)
        }
    };
    Some(after.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn every_status_has_its_kind() {
        use ErrorKind::{
            BadContent, NotFound, UpstreamFailed, UpstreamRefused, UpstreamRejected,
            UpstreamThrottled,
        };
        let table = [
            (404, NotFound),
            (410, NotFound),
            (401, UpstreamRefused),
            (403, UpstreamRefused),
            (451, UpstreamRefused),
            (429, UpstreamThrottled),
            (408, UpstreamFailed),
            (400, UpstreamRejected),
            (407, UpstreamRejected),
            (418, UpstreamRejected),
            (500, UpstreamFailed),
            (502, UpstreamFailed),
            (503, UpstreamFailed),
            (504, UpstreamFailed),
            (304, UpstreamFailed),
            (201, BadContent),
            (204, BadContent),
            (206, BadContent),
        ];
        for (status, want) in table {
            assert_eq!(kind_of(StatusCode::from_u16(status).unwrap()), want, "{status}");
        }
    }

    #[test]
    fn only_plain_text_in_a_known_charset_is_repeated() {
        let plain = |value| is_plain_text(&header(header::CONTENT_TYPE, value));
        assert!(plain("text/plain") && plain("text/plain; charset=UTF-8"));
        assert!(!plain("text/html") && !plain("text/plain; charset=utf-16") && !plain(""));
        assert!(!is_plain_text(&HeaderMap::new()));
    }

    #[test]
    fn a_retry_after_is_seconds_or_a_date_and_never_too_long() {
        let now = OffsetDateTime::parse("Wed, 21 Oct 2015 07:28:00 +0000", &Rfc2822).unwrap();
        let after = |value| retry_after(&header(header::RETRY_AFTER, value), now);
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after("99999999"), Some(MAX_RETRY_AFTER));
        assert_eq!(after("Wed, 21 Oct 2015 07:28:30 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(after("Wed, 21 Oct 2015 07:20:00 GMT"), Some(Duration::ZERO));
        assert_eq!(after("soon"), None);
    }

    #[test]
    fn the_first_line_with_text_is_taken_and_cut() {
        assert_eq!(first_line(b"\n  not found: x \nmore"), Some("not found: x".to_owned()));
        assert_eq!(first_line(b" \n"), None);
        let long = "ä".repeat(MAX_UPSTREAM_TEXT_BYTES);
        assert_eq!(first_line(long.as_bytes()).unwrap().len(), MAX_UPSTREAM_TEXT_BYTES);
    }
}
