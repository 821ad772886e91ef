//! How an error of an object store becomes an error of the storage.
//!
//! The text names the backend, the operation, the object and the cause. The cause is picked out of what
//! the server said, never copied whole: an answer to a wrong key repeats the key's id, and one to a wrong
//! signature what was signed.

use std::error::Error as StdError;

use dipylon_middleware::error::{Error, ErrorKind};
use object_store::Error as StoreError;
use object_store::client::{HttpError, HttpErrorKind};

/// Longest piece of a server's own words, in characters.
const MAX_SAID_CHARS: usize = 240;

/// Digits of an HTTP status.
const STATUS_DIGITS: usize = 3;

/// What could be seen of a failure.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cause {
    /// The server's name for what is wrong, such as `NoSuchBucket`, or the HTTP status.
    code: String,
    /// Its sentence about it.
    said: String,
}

/// An error that names what could not be done, where and why. `place` is the bucket with its folder.
pub(super) fn failed(kind: &str, what: &str, place: &str, key: &str, error: &StoreError) -> Error {
    let cause = cause_of(error);
    let place = if key.is_empty() { place.to_owned() } else { format!("{place}/{key}") };
    let said = match (cause.code.as_str(), cause.said.as_str()) {
        ("", said) => said.to_owned(),
        (code, "") => code.to_owned(),
        (code, said) => format!("{code}: {said}"),
    };
    let whole = |said: &str| {
        let who = if is_about_a_token(error) { "no token was given: " } else { "" };
        format!("{who}{said}{}", advice(&cause, error))
    };
    let text = format!("{kind} storage cannot {what} {place}: {}", whole(&said));
    match is_unreachable(error) {
        true => Error::new(ErrorKind::StorageUnavailable, text)
            .with_cause(whole(&without_names(&cause, error))),
        false => Error::new(ErrorKind::Storage, text),
    }
}

/// What may be told to others of a failure: of a transport all, since it knows an address alone; of an
/// answer its code or status, since its words may name the object that was asked for.
fn without_names(cause: &Cause, error: &StoreError) -> String {
    if transport_of(error).is_some() {
        return cause.said.clone();
    }
    let is_plain =
        |code: &str| code.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b' ');
    let (code, status) = (cause.code.as_str(), status_of(error).unwrap_or_default());
    match !code.is_empty() && is_plain(code) {
        true if code.starts_with(&status) => format!("it answered {code}"),
        true => format!("it answered {status} {code}"),
        false => format!("it answered {status}"),
    }
}

fn transport_of(error: &StoreError) -> Option<&HttpError> {
    sources(error).find_map(|cause| cause.downcast_ref::<HttpError>())
}

fn advice(cause: &Cause, error: &StoreError) -> &'static str {
    match cause.code.as_str() {
        "NoSuchBucket" | "ContainerNotFound" => "; create it, or correct the bucket's name",
        code if is_of_a_stranger(code) => "; check the credentials",
        code if repeats_what_was_signed(code) => "; check the credentials",
        "AuthorizationHeaderMalformed" | "PermanentRedirect" => "; check the region",
        "RequestTimeTooSkewed" => "; set this machine's clock",
        _ if is_denied(error) => "; check the credentials and what they permit",
        _ if is_unreachable(error) => "; is the store up, and its endpoint right?",
        _ => "",
    }
}

/// Whether the store said that there is no such object. A missing bucket is no missing object, nor is a user
/// whom a server does not find: of a 404 with a name of its own only those of objects are believed.
pub(super) fn is_absent(error: &StoreError) -> bool {
    let code = cause_of(error).code;
    let is_of_an_object = code.is_empty()
        || code.starts_with("404")
        || matches!(
            code.as_str(),
            "NoSuchKey"
                | "NoSuchVersion"
                | "NoSuchObject"
                | "NotFound"
                | "ObjectNotFound"
                | "BlobNotFound"
                | "ResourceNotFound"
        );
    matches!(error, StoreError::NotFound { .. }) && is_of_an_object
}

/// Whether the store said that there is no such bucket.
pub(super) fn is_place_missing(error: &StoreError) -> bool {
    matches!(cause_of(error).code.as_str(), "NoSuchBucket" | "ContainerNotFound")
}

/// Whether the store refused whoever asked.
pub(super) fn is_denied(error: &StoreError) -> bool {
    matches!(error, StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. })
        || status_of(error).is_some_and(|status| matches!(status.as_str(), "401" | "403"))
        || is_of_a_stranger(&cause_of(error).code)
}

/// The status of an answer, which the crate gives in words alone.
fn status_of(error: &StoreError) -> Option<String> {
    let status = |text: String| {
        let (_, after) = text.split_once("status code: ")?;
        let digits = after.get(..STATUS_DIGITS)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.to_owned())
    };
    sources(error).find_map(|cause| status(cause.to_string()))
}

/// Whether the store could not be asked at all, or could not answer.
pub(super) fn is_unreachable(error: &StoreError) -> bool {
    match transport_of(error) {
        Some(error) => error.kind() != HttpErrorKind::Decode,
        None => status_of(error).is_some_and(|status| {
            status != "501" && (status.starts_with('5') || matches!(status.as_str(), "408" | "429"))
        }),
    }
}

/// A failure in one line without the names of what was asked for.
pub(super) fn short(error: &StoreError) -> String {
    let cause = cause_of(error);
    let who = if is_about_a_token(error) { "no token was given: " } else { "" };
    match (cause.code.as_str(), cause.said.as_str()) {
        ("", said) => format!("{who}{said}"),
        (code, "") => format!("{who}{code}"),
        (code, said) => format!("{who}{code}: {said}"),
    }
}

/// Whether the connection broke before an answer's head, so that the request may be sent again at once.
pub(super) fn is_broken_connection(error: &StoreError) -> bool {
    transport_of(error).is_some_and(|error| error.kind() == HttpErrorKind::Request)
}

/// Whether an answer broke off after its head. Before it, a broken connection is a `Request` that the crate
/// has sent again (see `http.rs`).
pub(super) fn is_broken_off(error: &StoreError) -> bool {
    transport_of(error).is_some_and(|error| error.kind() == HttpErrorKind::Interrupted)
}

/// Whether the store has no conditional writes.
pub(super) fn is_not_implemented(error: &StoreError) -> bool {
    let code = cause_of(error).code;
    code == "NotImplemented" || code.starts_with("501")
}

/// Whether the store found the request itself wrong.
pub(super) fn is_bad_request(error: &StoreError) -> bool {
    let code = cause_of(error).code;
    code.starts_with("400") || matches!(code.as_str(), "InvalidArgument" | "OutOfRangeInput")
}

/// Whether it was a service of identities, and not the store, that was asked.
fn is_about_a_token(error: &StoreError) -> bool {
    sources(error).any(|cause| cause.to_string().starts_with("Error performing token request"))
}

fn sources<'a>(error: &'a StoreError) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    chain(Some(error))
}

fn chain<'a>(
    first: Option<&'a (dyn StdError + 'static)>,
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(first, |cause: &&'a (dyn StdError + 'static)| (*cause).source())
}

pub(super) fn cause_of(error: &StoreError) -> Cause {
    if let Some(transport) = transport_of(error) {
        let deepest = chain(transport.source()).last();
        let said = deepest.map_or_else(|| transport.to_string(), ToString::to_string);
        return Cause { code: String::new(), said: shorten(&said) };
    }
    let deepest = sources(error).last().map(ToString::to_string).unwrap_or_default();
    said_by_server(&deepest)
        .unwrap_or_else(|| Cause { code: String::new(), said: shorten(&deepest) })
}

/// Takes apart what the crate reports of an answer: a status, and the body, which is XML, or JSON, or
/// something of a proxy's.
fn said_by_server(text: &str) -> Option<Cause> {
    let (_, after) = text.split_once("status code: ").or_else(|| text.split_once("response: "))?;
    let between = |from: &str, to: &str| {
        let (_, rest) = after.split_once(from)?;
        Some(rest.split_once(to)?.0.trim().to_owned())
    };
    if let Some(code) = between("<Code>", "</Code>") {
        // Azure repeats the request's id on further lines.
        let said = between("<Message>", "</Message>").unwrap_or_default();
        let said =
            if repeats_what_was_signed(&code) { "" } else { said.lines().next().unwrap_or("") };
        return Some(Cause { code: shorten(&code), said: shorten(said) });
    }
    let (status, body) = after.split_once(": ").unwrap_or((after, ""));
    // The second is what services of identities call it.
    let said = ["\"message\":", "\"error_description\":"]
        .into_iter()
        .find_map(|name| body.split_once(name))
        .and_then(|(_, rest)| rest.trim_start().strip_prefix('"')?.split_once('"'))
        .map_or("", |(message, _)| message);
    Some(Cause { code: shorten(status.trim_end_matches(':')), said: shorten(said) })
}

/// The server does not know whose key it is; the second is versitygw's, which says it with 404.
fn is_of_a_stranger(code: &str) -> bool {
    matches!(code, "InvalidAccessKeyId" | "XAdminUserNotFound")
}

/// Servers explain a wrong signature, or a token that they do not take, with what they were sent.
fn repeats_what_was_signed(code: &str) -> bool {
    matches!(
        code,
        "SignatureDoesNotMatch"
            | "AuthenticationFailed"
            | "InvalidAuthenticationInfo"
            | "InvalidToken"
            | "ExpiredToken"
    )
}

fn shorten(text: &str) -> String {
    text.trim().chars().take(MAX_SAID_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(text: &str) -> StoreError {
        StoreError::Generic { store: "S3", source: text.to_owned().into() }
    }

    #[test]
    fn a_servers_words_are_picked_out_of_its_answer() {
        let error = answered(
            "Server returned non-2xx status code: 403 Forbidden: <?xml version=\"1.0\"?>\n<Error>\
             <Code>InvalidAccessKeyId</Code><Message>The Access Key Id you provided does not exist \
             in our records.</Message><AWSAccessKeyId>AKIDEXAMPLE</AWSAccessKeyId></Error>",
        );
        let text = failed("minio", "read", "mods", "a/v1/go.mod", &error).to_string();
        assert_eq!(
            text,
            "minio storage cannot read mods/a/v1/go.mod: InvalidAccessKeyId: The Access Key Id you \
             provided does not exist in our records.; check the credentials"
        );
    }

    #[test]
    fn what_was_signed_is_not_repeated() {
        let error = answered(
            "Server returned non-2xx status code: 403 Forbidden: <Error><Code>SignatureDoesNotMatch\
             </Code><Message>expected AWS4-HMAC of AKIDEXAMPLE</Message></Error>",
        );
        let text = failed("s3", "list", "mods", "", &error).to_string();
        assert_eq!(
            text,
            "s3 storage cannot list mods: SignatureDoesNotMatch; check the credentials"
        );
    }

    #[test]
    fn a_token_that_is_not_taken_is_not_repeated() {
        for code in ["InvalidAuthenticationInfo", "InvalidToken", "ExpiredToken"] {
            let error = answered(&format!(
                "Server returned non-2xx status code: 401 Unauthorized: <Error><Code>{code}</Code>\
                 <Message>no use for Bearer eyJhbGciOi</Message></Error>"
            ));
            let text = failed("azureblob", "list", "mods", "", &error).to_string();
            let want = format!("azureblob storage cannot list mods: {code}; check the credentials");
            assert_eq!(text, want);
        }
    }

    #[test]
    fn what_others_are_told_names_nothing_that_was_asked_for() {
        let advice = "; is the store up, and its endpoint right?";
        for (answer, cause) in [
            (
                "503 Service Unavailable: <Error><Code>SlowDown</Code><Message>too many requests for \
                 mods/example.com/private/v1/go.mod</Message></Error>",
                "it answered 503 SlowDown",
            ),
            (
                "500 Internal Server Error: {\"error\": {\"message\": \"example.com/private\"}}",
                "it answered 500 Internal Server Error",
            ),
            ("502 Bad Gateway: <html>example.com/private", "it answered 502 Bad Gateway"),
            ("503: <Code>example.com/private</Code>", "it answered 503"),
        ] {
            let error = answered(&format!("Server returned non-2xx status code: {answer}"));
            let error = failed("s3", "read", "mods", "example.com/private/v1/go.mod", &error);
            assert_eq!(error.kind(), ErrorKind::StorageUnavailable, "{error}");
            assert_eq!(error.cause().map(|cause| &**cause), Some(&*format!("{cause}{advice}")));
            assert!(error.message().contains("mods/example.com/private/v1/go.mod: "), "{error}");
        }
    }

    #[test]
    fn json_and_plain_answers_are_understood() {
        let json = answered(
            "Server returned non-2xx status code: 404 Not Found: {\"error\": {\"message\": \"No such \
             bucket\", \"code\": 404}}",
        );
        let want = Cause { code: "404 Not Found".to_owned(), said: "No such bucket".to_owned() };
        assert_eq!(cause_of(&json), want);
        let plain = answered("Server returned non-2xx status code: 502 Bad Gateway: <html>nginx");
        assert!(is_unreachable(&plain));
        assert!(is_not_implemented(&answered(
            "Server returned non-2xx status code: 501 Not Implemented: "
        )));
    }

    #[test]
    fn a_refusal_is_told_from_its_status_where_the_crate_says_no_more() {
        let denied = "Server returned non-2xx status code: 403 Forbidden: <Code>AuthorizationFailure\
                      </Code><Message>no</Message>";
        assert!(is_denied(&answered(denied)));
        assert!(!is_denied(&answered("Server returned non-2xx status code: 404 Not Found: 403")));
        let text = failed("azureblob", "list", "mods", "", &answered(denied)).to_string();
        assert!(text.ends_with("no; check the credentials and what they permit"), "{text}");
    }

    #[test]
    fn a_missing_bucket_is_no_missing_object() {
        let not_found = |code: &str| StoreError::NotFound {
            path: "k".to_owned(),
            source: format!("returned non-2xx status code: 404: <Code>{code}</Code>").into(),
        };
        assert!(is_absent(&not_found("NoSuchKey")));
        assert!(!is_absent(&not_found("NoSuchBucket")));
        assert!(!is_absent(&not_found("ContainerNotFound")));
    }

    #[test]
    fn a_missing_user_is_no_missing_object() {
        let error = StoreError::NotFound {
            path: "k".to_owned(),
            source: "returned non-2xx status code: 404 Not Found: <Error><Code>XAdminUserNotFound</Code>\
                     <Message>No user exists with the provided access key ID.</Message></Error>"
                .into(),
        };
        assert!(!is_absent(&error) && is_denied(&error));
        let text = failed("s3", "list", "mods", "", &error).to_string();
        assert!(text.ends_with("; check the credentials"), "{text}");
        for text in
            ["status code: 404 Not Found: ", "status code: 404 Not Found", "Object not found"]
        {
            let error = StoreError::NotFound { path: "k".to_owned(), source: text.into() };
            assert!(is_absent(&error), "{text}");
        }
    }
}
