//! Texts with a meaning: secrets, URLs, the path prefix.

use std::fmt;

use serde::{Serialize, Serializer};

use super::super::problem::quote;
use super::super::redact::{HIDDEN, redact_url};
use super::{Raw, Setting, Wrong};

/// A text that is never printed: `Debug`, `Display` and `Serialize` all give `***`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself; the name makes each use easy to find.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

impl Setting for Secret {
    const SECRET: bool = true;
    const FROM_FILE: bool = true;

    fn accepted() -> String {
        "is a text".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, Wrong> {
        Ok(Self::new(text))
    }

    /// Whether there is a secret may be known; what it is may not.
    fn show(&self) -> String {
        if self.is_empty() { quote("") } else { quote(HIDDEN) }
    }

    fn show_text(_text: &str) -> String {
        HIDDEN.to_owned()
    }

    fn show_toml(_raw: &Raw) -> String {
        HIDDEN.to_owned()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A URL, or a host and port, that may carry credentials: `Debug`, `Display` and `Serialize` show
/// it without them, [`UrlText::as_str`] gives it whole.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct UrlText(String);

impl UrlText {
    /// Wraps a URL as it is written.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The URL whole, credentials included: for use, not for print.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for UrlText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", redact_url(&self.0))
    }
}

impl fmt::Display for UrlText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact_url(&self.0))
    }
}

impl Serialize for UrlText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&redact_url(&self.0))
    }
}

impl Setting for UrlText {
    const FROM_FILE: bool = true;

    fn accepted() -> String {
        "is a URL".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, Wrong> {
        Ok(Self::new(text))
    }

    fn show(&self) -> String {
        quote(&redact_url(&self.0))
    }

    /// What is no text cannot be searched for credentials.
    fn show_toml(raw: &Raw) -> String {
        raw.as_text().map_or_else(|| HIDDEN.to_owned(), Self::show_text)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The parts of an `http` or `https` URL that checks look at.
pub(in crate::config) struct WebUrl<'a> {
    /// `https` rather than `http`.
    pub(in crate::config) secure: bool,
    /// The host without brackets and port; never empty.
    pub(in crate::config) host: &'a str,
}

impl<'a> WebUrl<'a> {
    /// Takes a URL apart; `None` when it is not `http(s)://host…`, or holds blanks or controls.
    pub(in crate::config) fn parse(text: &'a str) -> Option<Self> {
        let (scheme, after) = text.split_once("://")?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return None;
        }
        let authority = &after[..after.find(['/', '?', '#']).unwrap_or(after.len())];
        let (host, port) = split_port(authority.rsplit_once('@').map_or(authority, |(_, h)| h))?;
        let port_is_right = port.is_none_or(|p| p.is_empty() || p.parse::<u16>().is_ok());
        (!host.is_empty() && port_is_right).then_some(Self { secure, host })
    }

    /// Whether the host is this machine, so that plain http leaks nothing.
    pub(in crate::config) fn is_loopback(&self) -> bool {
        let address: Option<std::net::IpAddr> = self.host.parse().ok();
        self.host.eq_ignore_ascii_case("localhost") || address.is_some_and(|ip| ip.is_loopback())
    }
}

/// Splits `host`, `host:port`, `[v6]` and `[v6]:port`; `None` for an unclosed bracket.
pub(super) fn split_port(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(bracketed) = text.strip_prefix('[') {
        let (host, after) = bracketed.split_once(']')?;
        return match after.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None => after.is_empty().then_some((host, None)),
        };
    }
    match text.split_once(':') {
        Some((host, port)) if !port.contains(':') => Some((host, Some(port))),
        Some(_) => None,
        None => Some((text, None)),
    }
}

/// The path under which every route lies: empty, or `/` and at least one character, without a
/// `/` at the end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PathPrefix(String);

impl PathPrefix {
    /// The prefix, ready to be put before a path that begins with `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Setting for PathPrefix {
    fn accepted() -> String {
        "is a path that begins with a slash, such as /goproxy".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, Wrong> {
        if text.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '?' | '#')) {
            return Err(Wrong::form().because("blanks, ? and # cannot stand in a path"));
        }
        let trimmed = text.trim_end_matches('/');
        if !text.is_empty() && !text.starts_with('/') {
            return Err(Wrong::form().hint(format!("write {}", quote(&format!("/{trimmed}")))));
        }
        if trimmed.split('/').skip(1).any(|segment| matches!(segment, "" | "." | "..")) {
            return Err(Wrong::form().because("//, . and .. would never match"));
        }
        Ok(Self(trimmed.to_owned()))
    }

    fn show(&self) -> String {
        quote(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_printed_nowhere() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?} {secret:#?}"), "*** *** ***");
        assert_eq!(serde_json::to_string(&secret).expect("serializable"), "\"***\"");
        assert_eq!(Setting::show(&secret), "\"***\"");
        assert_eq!(Setting::show(&Secret::default()), "\"\"");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn a_prefix_loses_its_last_slash_and_needs_its_first() {
        let read = |text| PathPrefix::from_text(text).map(|p| p.as_str().to_owned());
        assert_eq!(read(""), Ok(String::new()));
        assert_eq!(read("/"), Ok(String::new()));
        assert_eq!(read("/p"), Ok("/p".to_owned()));
        assert_eq!(read("/p/q/"), Ok("/p/q".to_owned()));
        assert!(read("p/").is_err_and(|w| w.hint.is_some_and(|h| h.contains("\"/p\""))));
        for wrong in ["/a//b", "/a/../b", "/a b", "/a?b", "/a#b"] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn web_urls_need_a_scheme_and_a_host() {
        for good in ["http://h", "HTTPS://h:1/p", "https://[::1]:80/", "http://u:p@h?x"] {
            assert!(WebUrl::parse(good).is_some(), "{good:?}");
        }
        for bad in
            ["", "h", "ftp://h", "http://", "http://:80", " http://h", "http://h:x", "http://[::1"]
        {
            assert!(WebUrl::parse(bad).is_none(), "{bad:?}");
        }
        assert!(WebUrl::parse("http://127.0.0.9:1").is_some_and(|u| u.is_loopback() && !u.secure));
        assert!(WebUrl::parse("http://[::1]").is_some_and(|u| u.is_loopback()));
        assert!(WebUrl::parse("http://localhost.example").is_some_and(|u| !u.is_loopback()));
    }
}
