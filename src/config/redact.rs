//! Hiding what must not be printed: credentials within URLs, and values whose name says secret.

use std::borrow::Cow;

/// What is printed in place of a secret.
pub const HIDDEN: &str = "***";

/// Whether a name (of a variable, of a parameter) announces a secret value.
pub(super) fn names_a_secret(name: &str) -> bool {
    const WHOLE: [&str; 2] = ["sig", "auth"];
    const PARTS: [&str; 8] =
        ["pass", "pwd", "secret", "token", "key", "credential", "authorization", "signature"];
    let name = name.to_ascii_lowercase();
    WHOLE.contains(&name.as_str()) || PARTS.iter().any(|part| name.contains(part))
}

/// Replaces the credentials in every URL of `text` by `***`, and leaves the rest as it is.
///
/// Credentials are the part between `://` and `@`, and the values of query parameters whose name
/// announces a secret. `text` may be one URL, a comma list of them, or anything that contains some.
/// A text without `://` that has an `@` is taken for `user:password@host`. Where a password carries
/// characters a URL must encode, more is hidden rather than less.
pub fn redact_url(text: &str) -> Cow<'_, str> {
    if !text.contains("://") {
        return match text.rfind('@') {
            Some(at) => Cow::Owned(format!("{HIDDEN}{}", &text[at..])),
            None => Cow::Borrowed(text),
        };
    }
    if !text.contains(['@', '?']) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(mark) = rest.find("://") {
        let (scheme, after) = rest.split_at(mark + 3);
        // The next URL's scheme, if there is one, belongs to the next round.
        let end = after.find("://").map_or(after.len(), |next| scheme_start(after, next));
        shown.push_str(scheme);
        push_without_credentials(&mut shown, scheme, &after[..end]);
        rest = &after[end..];
    }
    shown.push_str(rest);
    Cow::Owned(shown)
}

/// As [`redact_url`], for a text that is not known to be a URL: an `@` alone hides nothing.
pub(super) fn redact_text(text: &str) -> Cow<'_, str> {
    if text.contains("://") { redact_url(text) } else { Cow::Borrowed(text) }
}

/// Where the scheme that ends at `colon` begins.
fn scheme_start(text: &str, colon: usize) -> usize {
    let scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    text[..colon]
        .rfind(|c| !scheme(c))
        .map_or(0, |before| before + text[before..].chars().next().map_or(1, char::len_utf8))
}

/// Appends what follows a `://`, without user information and secret query values.
fn push_without_credentials(shown: &mut String, scheme: &str, after: &str) {
    let visible = match credentials_end(scheme, after) {
        Some(at) => {
            shown.push_str(HIDDEN);
            &after[at..]
        }
        None => after,
    };
    let Some((before, query)) = visible.split_once('?') else {
        shown.push_str(visible);
        return;
    };
    shown.push_str(before);
    let mut separator = '?';
    for parameter in query.split('&') {
        shown.push(separator);
        separator = '&';
        match parameter.split_once('=') {
            Some((name, _)) if names_a_secret(name) => {
                shown.push_str(name);
                shown.push('=');
                shown.push_str(HIDDEN);
            }
            _ => shown.push_str(parameter),
        }
    }
}

/// The index of the `@` that ends the user information, if there is any.
fn credentials_end(scheme: &str, after: &str) -> Option<usize> {
    let authority = &after[..after.find(['/', '?', '#']).unwrap_or(after.len())];
    if let Some(at) = authority.rfind('@') {
        return Some(at);
    }
    // An `@` later on is ordinary in an http path (`/module@v1.0.0`). It is the end of a password
    // that holds a raw slash when the scheme's paths never have one, or when what stands in the
    // port's place is not a number.
    let in_path = after.rfind('@')?;
    let web = scheme.ends_with("http://") || scheme.ends_with("https://");
    let port = authority.rsplit_once(':').map(|(_, port)| port);
    let port_is_odd = port.is_some_and(|port| port.parse::<u16>().is_err());
    (!web || port_is_odd).then_some(in_path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_urls_are_hidden_and_the_rest_stays() {
        let table = [
            ("http://localhost:4317", "http://localhost:4317"),
            ("https://user:pw@host/p?a=b", "https://***@host/p?a=b"),
            ("https://token@host", "https://***@host"),
            ("mongodb://u:p@h1,h2/db?authSource=x", "mongodb://***@h1,h2/db?authSource=x"),
            ("redis://u:p@h1:1,redis://v:q@h2:2", "redis://***@h1:1,redis://***@h2:2"),
            ("https://u:p@a|https://v:q@b,direct", "https://***@a|https://***@b,direct"),
            ("mongodb://u:p/w@h/db", "mongodb://***@h/db"),
            ("https://u:p/w@h/db", "https://***@h/db"),
            ("https://host/x@v1.0.0", "https://host/x@v1.0.0"),
            ("https://h/x?sig=abc&se=1", "https://h/x?sig=***&se=1"),
            ("user:pw@127.0.0.1:6379", "***@127.0.0.1:6379"),
            ("127.0.0.1:6379", "127.0.0.1:6379"),
            ("", ""),
        ];
        for (text, want) in table {
            assert_eq!(redact_url(text), want, "{text:?}");
        }
    }

    #[test]
    fn a_non_ascii_separator_before_a_scheme_does_not_cut_a_character() {
        assert_eq!(redact_url("http://u@a→http://v@b"), "http://***@a→http://***@b");
    }
}
