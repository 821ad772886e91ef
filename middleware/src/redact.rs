//! Hiding what must not be printed: the credentials within URLs. One place for configuration,
//! errors and logs.

use std::borrow::Cow;

/// What is printed in place of a secret.
pub const HIDDEN: &str = "***";

/// Whether a name (of a variable, of a parameter) announces a secret value.
pub fn names_a_secret(name: &str) -> bool {
    const WHOLE: [&str; 2] = ["sig", "auth"];
    const PARTS: [&str; 8] =
        ["pass", "pwd", "secret", "token", "key", "credential", "authorization", "signature"];
    let name = name.to_ascii_lowercase();
    WHOLE.contains(&name.as_str()) || PARTS.iter().any(|part| name.contains(part))
}

/// Replaces the credentials in every URL of a value by `***`, and leaves the rest as it is.
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

/// As [`redact_url`], for prose with URLs in it: a URL ends at a blank or a quote, unless it stands
/// in double quotes, which it then fills. What is no URL is left alone.
pub fn redact_prose(text: &str) -> Cow<'_, str> {
    if !text.contains("://") || !text.contains(['@', '?']) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(mark) = rest.find("://") {
        let start = scheme_start(rest, mark);
        let quoted = rest[..start].ends_with('"');
        let ends =
            |c: char| c == '"' || !quoted && (c.is_whitespace() || matches!(c, '\'' | '`' | '>'));
        let end = rest[mark..].find(ends).map_or(rest.len(), |length| mark + length);
        shown.push_str(&rest[..start]);
        shown.push_str(&redact_url(&rest[start..end]));
        rest = &rest[end..];
    }
    shown.push_str(rest);
    Cow::Owned(shown)
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
    let Some(query) = visible.find('?') else {
        shown.push_str(visible);
        return;
    };
    let (before, query) = visible.split_at(query + 1);
    shown.push_str(before);
    for parameter in query.split_inclusive(['&', ';', '#']) {
        match parameter.split_once('=') {
            Some((name, value)) if names_a_secret(name) => {
                shown.push_str(name);
                shown.push('=');
                shown.push_str(HIDDEN);
                let separator = value.ends_with(['&', ';', '#']).then(|| value.len() - 1);
                shown.push_str(separator.map_or("", |at| &value[at..]));
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
    // The last part of an IPv6 address stands where a port would.
    let port = port.filter(|_| !authority.ends_with(']'));
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
            ("https://u:p?w@h/db", "https://***@h/db"),
            ("https://u:p w@h/db", "https://***@h/db"),
            ("https://host/x@v1.0.0", "https://host/x@v1.0.0"),
            ("https://[::1]/x@v1.0.0", "https://[::1]/x@v1.0.0"),
            ("https://h/x?sig=abc&se=1", "https://h/x?sig=***&se=1"),
            ("https://h/x?a=1;token=abc#b", "https://h/x?a=1;token=***#b"),
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

    #[test]
    fn urls_in_prose_are_cleaned_and_the_prose_stays() {
        let table = [
            ("git: https://u:p@ss@host/x failed", "git: https://***@host/x failed"),
            ("a://b c://d@e f", "a://b c://***@e f"),
            ("get https://u:p/w@host/x: no", "get https://***@host/x: no"),
            ("get https://h/x?token=X&a=1 then b@c", "get https://h/x?token=***&a=1 then b@c"),
            ("http://host failed, ask admin@host", "http://host failed, ask admin@host"),
            ("parse \"https://u:p w@h\": blank", "parse \"https://***@h\": blank"),
            ("unable to access 'https://u:p@h/': no", "unable to access 'https://***@h/': no"),
            ("mail a@b", "mail a@b"),
            ("→https://u:p@h→", "→https://***@h→"),
        ];
        for (text, want) in table {
            assert_eq!(redact_prose(text), want, "{text:?}");
        }
    }
}
