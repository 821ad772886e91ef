//! What `go` and git say, as a kind of error and one line of text.

use std::path::Path;

use dipylon_middleware::error::ErrorKind;
use dipylon_middleware::redact::redact_prose;

use ErrorKind::{
    Internal, NotFound, UpstreamFailed, UpstreamRefused, UpstreamThrottled, UpstreamTimeout,
};

/// Marks of a text in lower case, and what they mean. The first that fits decides: what says that
/// nobody could find out stands before what says that there is nothing, because only the latter may
/// become a 404.
const RULES: &[(&str, ErrorKind)] = &[
    // Asked to slow down.
    ("too many requests", UpstreamThrottled),
    ("rate limit", UpstreamThrottled),
    ("returned error: 429", UpstreamThrottled),
    // On this side.
    ("no space left on device", Internal),
    ("disk quota exceeded", Internal),
    ("read-only file system", Internal),
    ("executable file not found", UpstreamFailed),
    ("cannot fork", Internal),
    ("resource temporarily unavailable", Internal),
    // No answer in time.
    ("i/o timeout", UpstreamTimeout),
    ("timed out", UpstreamTimeout),
    ("deadline exceeded", UpstreamTimeout),
    ("timeout awaiting", UpstreamTimeout),
    ("504 gateway time", UpstreamTimeout),
    ("returned error: 504", UpstreamTimeout),
    // No connection.
    ("no such host", UpstreamFailed),
    ("could not resolve", UpstreamFailed),
    ("server misbehaving", UpstreamFailed),
    ("name resolution", UpstreamFailed),
    ("connection refused", UpstreamFailed),
    ("connection reset", UpstreamFailed),
    ("connection closed", UpstreamFailed),
    ("couldn't connect", UpstreamFailed),
    ("failed to connect", UpstreamFailed),
    ("unreachable", UpstreamFailed),
    ("no route to host", UpstreamFailed),
    ("dial tcp", UpstreamFailed),
    ("tls handshake", UpstreamFailed),
    ("x509:", UpstreamFailed),
    ("certificate", UpstreamFailed),
    ("host key verification failed", UpstreamFailed),
    // The server itself broke.
    ("internal server error", UpstreamFailed),
    ("bad gateway", UpstreamFailed),
    ("service unavailable", UpstreamFailed),
    ("returned error: 5", UpstreamFailed),
    ("early eof", UpstreamFailed),
    ("unexpected disconnect", UpstreamFailed),
    ("rpc failed", UpstreamFailed),
    // A refusal.
    ("could not read username", UpstreamRefused),
    ("could not read password", UpstreamRefused),
    ("terminal prompts disabled", UpstreamRefused),
    ("permission denied", UpstreamRefused),
    ("authentication failed", UpstreamRefused),
    ("access denied", UpstreamRefused),
    ("401 unauthorized", UpstreamRefused),
    ("403 forbidden", UpstreamRefused),
    ("451 unavailable", UpstreamRefused),
    ("returned error: 401", UpstreamRefused),
    ("returned error: 403", UpstreamRefused),
    ("govcs disallows", UpstreamRefused),
    // It does not exist.
    ("404 not found", NotFound),
    ("410 gone", NotFound),
    ("returned error: 404", NotFound),
    ("returned error: 410", NotFound),
    ("repository not found", NotFound),
    ("' not found", NotFound),
    ("could not be found", NotFound),
    ("does not exist", NotFound),
    ("does not appear to be a git repository", NotFound),
    ("unknown revision", NotFound),
    ("couldn't find remote ref", NotFound),
    ("no matching versions", NotFound),
    ("no go-import meta tag", NotFound),
    ("malformed module path", NotFound),
    ("disallowed version", NotFound),
    ("create zip:", NotFound),
];

/// Lines of git that say nothing about the case in hand.
const BOILERPLATE: &[&str] = &[
    "please make sure you have the correct access rights",
    "and the repository exists",
    "confirm the import path was entered correctly",
    "if this is a private repository, see",
    "go: downloading ",
    "server response:",
    "cloning into ",
    "from https://",
    "* [new ",
];

/// Marks of a clone that is of no use any more: a lock left by a git that was killed, or lost objects.
const DAMAGE: &[&str] = &[
    ".lock': file exists",
    "bad object",
    "loose object",
    "is corrupt",
    "object file",
    "missing blob",
    "missing tree",
    "unable to read tree",
    "not a git repository",
    "bad config",
];

/// Bytes of go's and git's text that are looked at.
const MAX_TEXT_BYTES: usize = 64 << 10;

/// Length of the name of a clone's directory.
const HASH_DIGITS: usize = 64;

/// What a text of `go` means.
pub(super) fn classify(text: &str) -> ErrorKind {
    let text = start(text).to_lowercase();
    if let Some((_, kind)) = RULES.iter().find(|(mark, _)| text.contains(mark)) {
        return *kind;
    }
    // What is left of "invalid version" is about the version's own content, unless a command failed.
    if text.contains("invalid version:") && !text.contains("exit status") {
        return NotFound;
    }
    UpstreamFailed
}

/// What a person may do about it.
pub(super) fn advice(kind: ErrorKind, text: &str) -> &'static str {
    match kind {
        UpstreamRefused if text.contains("GOVCS") => "; see GOVCS in GoBinaryEnvVars",
        UpstreamRefused => {
            "; check the path, or give this gateway's git credentials for it (NETRCPath, SSH_AUTH_SOCK)"
        }
        UpstreamFailed if text.contains(" requires go >= ") => {
            "; install a newer Go or let GOTOOLCHAIN=auto download one"
        }
        UpstreamFailed if text.contains("executable file not found") => {
            "; install it beside the gateway"
        }
        Internal if text.contains("no space left") => {
            "; free some space, or set GoGetDir to a larger disk"
        }
        _ => "",
    }
}

/// The hash of the clone that git calls damaged, where it does.
pub(super) fn damaged_clone(text: &str) -> Option<&str> {
    let text = start(text);
    let lower = text.to_ascii_lowercase();
    if !DAMAGE.iter().any(|mark| lower.contains(mark)) {
        return None;
    }
    text.match_indices("/vcs/").find_map(|(position, mark)| {
        let hash = text.get(position + mark.len()..)?.get(..HASH_DIGITS)?;
        hash.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(hash)
    })
}

/// Whether git knows a tag but not what it points to: either it is no commit, or the clone has lost it.
/// For a tag that is not there at all, `go` names the tag alone.
pub(super) fn has_lost_a_ref(text: &str) -> bool {
    text.contains("unknown revision refs/")
}

/// One line for a person or a log: without boilerplate, without the directories in `hidden`, without
/// the credentials of a URL.
pub(super) fn clean(text: &str, hidden: &[&Path]) -> String {
    let mut text = start(text).to_owned();
    for directory in hidden {
        text = hide(&text, &directory.to_string_lossy());
    }
    let mut line = String::new();
    for part in text.lines().map(str::trim).filter(|part| is_telling(part)) {
        let part = part.strip_prefix("go: ").unwrap_or(part);
        if !line.is_empty() {
            line.push_str(if line.ends_with([':', ';', ',']) { " " } else { "; " });
        }
        line.push_str(part);
    }
    redact_prose(&hide_query_secrets(&line)).into_owned()
}

fn start(text: &str) -> &str {
    let mut end = text.len().min(MAX_TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn is_telling(part: &str) -> bool {
    let lower = part.to_ascii_lowercase();
    !part.is_empty() && !BOILERPLATE.iter().any(|mark| lower.starts_with(mark))
}

/// Takes out each path below `directory`, and ` in PATH` whole.
fn hide(text: &str, directory: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(position) = rest.find(directory).filter(|_| directory.len() > 1) {
        let (head, tail) = rest.split_at(position);
        let length = tail.find(|c: char| c.is_whitespace() || "'\":,;)".contains(c));
        match head.strip_suffix(" in ") {
            Some(head) => clean.push_str(head),
            None => {
                clean.push_str(head);
                clean.push_str("(temporary)");
            }
        }
        rest = &tail[length.unwrap_or(tail.len())..];
    }
    clean.push_str(rest);
    clean
}

/// Replaces the value of each query parameter but go's own `go-get`.
fn hide_query_secrets(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(position) = rest.find(['?', '&']) {
        let (head, tail) = rest.split_at(position + 1);
        clean.push_str(head);
        rest = tail;
        let end = tail.find(|c: char| c.is_whitespace() || "'\"&#:,;)".contains(c));
        let (parameter, after) = tail.split_at(end.unwrap_or(tail.len()));
        if let Some((name, _)) = parameter.split_once('=').filter(|(name, _)| *name != "go-get") {
            clean.push_str(name);
            clean.push_str("=***");
            rest = after;
        }
    }
    clean.push_str(rest);
    clean
}

#[cfg(test)]
#[path = "errors_tests.rs"]
mod tests;
