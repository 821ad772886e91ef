use std::path::Path;

use dipylon_middleware::error::{Error, ErrorKind};

use super::*;

const HASH: &str = "247c28f072361cc9edfcb81eed9c27a69015ad9cce5511e92907b64f8c6f0146";

/// Texts of go 1.26 and git 2.39. The first group was seen from the programs themselves with local
/// repositories; the others are as the forges send them.
const SAID: &[(ErrorKind, &str)] = &[
    // Seen.
    (NotFound, "github.com/acme/widget@v1.9.0: invalid version: unknown revision v1.9.0"),
    (NotFound, "go: module github.com/acme/sub/b: no matching versions for query \"latest\""),
    (
        NotFound,
        "m@v1.0.0: invalid version: git ls-remote -q --end-of-options \
             https://github.com/acme/nothing in /t/mod/cache/vcs/247c: exit status 128:\n\tfatal: \
             '/srv/nothing' does not appear to be a git repository\n\tfatal: Could not read from \
             remote repository.\n\t\n\tPlease make sure you have the correct access rights\n\tand \
             the repository exists.",
    ),
    (
        NotFound,
        "github.com/acme/badmod@v1.0.0: invalid version: go.mod is missing module path at \
             revision v1.0.0",
    ),
    (NotFound, "-x@v1.0.0: malformed module path \"-x\": leading dash"),
    (UpstreamFailed, "m@v1.0.0 requires go >= 1.99.0 (running go 1.26.8; GOTOOLCHAIN=local)"),
    (
        UpstreamFailed,
        "x@v2.0.0: unrecognized import path \"x\": https fetch: Get \"https://x?go-get=1\": dial \
             tcp: lookup nosuchhost.invalid on 10.0.0.53:53: no such host",
    ),
    // The forges.
    (
        NotFound,
        "x@v1.0.0: unrecognized import path \"example.com/x\": reading \
             https://example.com/x?go-get=1: 404 Not Found",
    ),
    (
        NotFound,
        "x@v1.0.0: unrecognized import path \"example.com/x\": parse \
             https://example.com/x?go-get=1: no go-import meta tags ()",
    ),
    (
        NotFound,
        "invalid version: git ls-remote -q origin in /c/vcs/1: exit status 128:\n\tERROR: \
             Repository not found.\n\tfatal: Could not read from remote repository.",
    ),
    (
        NotFound,
        "invalid version: git ls-remote: exit status 128:\n\tfatal: repository \
             'https://example.com/x.git/' not found",
    ),
    (
        NotFound,
        "git ls-remote: exit status 128:\n\tremote: The project you were looking for could not be \
             found or you don't have permission to view it.",
    ),
    (NotFound, "x@v1.0.0: create zip: module source tree too large (max size is 524288000 bytes)"),
    (
        NotFound,
        "x@v2.0.0: invalid version: module contains a go.mod file, so module path must match \
             major version (\"x/v2\")",
    ),
    (
        UpstreamRefused,
        "git ls-remote: exit status 128:\n\tfatal: could not read Username for \
             'https://github.com': terminal prompts disabled\n\tConfirm the import path was \
             entered correctly.\n\tIf this is a private repository, see \
             https://golang.org/doc/faq#git_https for additional information.",
    ),
    (
        UpstreamRefused,
        "git ls-remote: exit status 128:\n\tgit@github.com: Permission denied \
             (publickey).\n\tfatal: Could not read from remote repository.",
    ),
    (
        UpstreamRefused,
        "exit status 128:\n\tfatal: Authentication failed for 'https://example.com/x.git/'",
    ),
    (
        UpstreamRefused,
        "exit status 128:\n\tfatal: unable to access 'https://example.com/x/': The requested URL \
             returned error: 403",
    ),
    (UpstreamRefused, "reading https://example.com/x?go-get=1: 401 Unauthorized"),
    (
        UpstreamRefused,
        "x@v1.0.0: GOVCS disallows using hg for public example.com/x; see 'go help vcs'",
    ),
    (UpstreamThrottled, "reading https://example.com/x?go-get=1: 429 Too Many Requests"),
    (UpstreamThrottled, "reading https://api.example.com/x: 403 API rate limit exceeded"),
    (
        UpstreamThrottled,
        "fatal: unable to access 'https://example.com/x/': The requested URL returned error: 429",
    ),
    (
        UpstreamFailed,
        "fatal: unable to access 'https://example.com/x/': Could not resolve host: example.com",
    ),
    (
        UpstreamFailed,
        "fatal: unable to access 'https://example.com/x/': The requested URL returned error: 502",
    ),
    (
        UpstreamFailed,
        "https fetch: Get \"https://example.com/x?go-get=1\": dial tcp 192.0.2.1:443: connect: \
             connection refused",
    ),
    (UpstreamFailed, "https fetch: Get \"https://example.com\": net/http: TLS handshake timeout"),
    (
        UpstreamFailed,
        "Get \"https://x\": tls: failed to verify certificate: x509: certificate signed by \
             unknown authority",
    ),
    (
        UpstreamFailed,
        "invalid version: git fetch -f: exit status 128:\n\terror: RPC failed; curl 56\n\tfatal: \
             early EOF",
    ),
    (UpstreamFailed, "reading https://example.com/x?go-get=1: 503 Service Unavailable"),
    (UpstreamFailed, "invalid version: exec: \"hg\": executable file not found in $PATH"),
    (UpstreamFailed, "https fetch: Get \"https://example.com/x?go-get=1\": EOF"),
    (UpstreamTimeout, "https fetch: Get \"https://x\": dial tcp 192.0.2.1:443: i/o timeout"),
    (
        UpstreamTimeout,
        "fatal: unable to access 'https://x/': Failed to connect to x port 443: Connection timed \
             out",
    ),
    (Internal, "write /t/mod/x.zip: no space left on device"),
    (UpstreamFailed, "panic: something nobody thought of"),
];

#[test]
fn each_text_has_its_kind() {
    for (kind, text) in SAID {
        assert_eq!(classify(text), *kind, "{text}");
    }
}

#[test]
fn only_what_does_not_exist_is_told_to_ask_elsewhere() {
    for text in ["", "exit status 1", "invalid version: git fetch: exit status 128: killed"] {
        assert_eq!(classify(text), UpstreamFailed, "{text}");
    }
}

#[test]
fn a_text_becomes_one_line_without_our_directories() {
    let text = format!(
        "go: module m: git ls-remote -q origin in /t/dipylon-go-1/fetch-0/mod/cache/vcs/{HASH}: \
             exit status 128:\n\
         \tfatal: '/t/dipylon-go-1/fetch-0/x' is bad\n\tfatal: Could not read from remote repository.\n\t\n\
         \tPlease make sure you have the correct access rights\n\tand the repository exists."
    );
    assert_eq!(
        clean(&text, &[Path::new("/t/dipylon-go-1"), Path::new("/cache/slot-0")]),
        "module m: git ls-remote -q origin: exit status 128: fatal: '(temporary)' is bad; \
         fatal: Could not read from remote repository."
    );
}

#[test]
fn secrets_and_control_characters_do_not_leave() {
    let text = "fetch \
         https://bot:hunter2@example.com/x?private_token=hunter3&a=hunter4#f\u{1b}[31m failed";
    let error = Error::new(UpstreamFailed, clean(text, &[]));
    assert!(!error.message().contains("hunter"), "{error}");
    assert!(!error.message().contains(char::is_control), "{error}");
    assert_eq!(
        clean("git ls-remote https://u:p/w@host/x: denied", &[]),
        "git ls-remote https://***@host/x: denied"
    );
    assert_eq!(
        clean("reading https://x/y?go-get=1: 404", &[]),
        "reading https://x/y?go-get=1: 404"
    );
}

#[test]
fn a_root_directory_hides_nothing() {
    assert_eq!(clean("a/b in /c", &[Path::new("/")]), "a/b in /c");
}

#[test]
fn a_damaged_clone_is_recognised_by_its_directory() {
    let text = format!(
        "git fetch in /c/vcs/{HASH}: exit status 128:\n\tfatal: Unable to create \
             '/c/vcs/{HASH}/shallow.lock': File exists."
    );
    assert_eq!(damaged_clone(&text), Some(HASH));
    assert_eq!(damaged_clone(&text.replace("File exists", "nothing")), None);
    assert_eq!(damaged_clone("fatal: bad object 1234 in /c/vcs/../../etc"), None);
    for (_, text) in SAID {
        assert_eq!(damaged_clone(text), None, "{text}");
    }
}

#[test]
fn a_huge_text_is_cut_between_characters() {
    let text = "ä".repeat(MAX_TEXT_BYTES);
    assert!(clean(&text, &[]).len() <= MAX_TEXT_BYTES);
}
