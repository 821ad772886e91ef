//! The base URL of an upstream: where requests go, and what may be shown of it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::uri::{Authority, PathAndQuery, Scheme, Uri};

/// Longest base URL in bytes.
pub const MAX_BASE_URL_BYTES: usize = 2048;

/// `http(s)://[user[:password]@]host[:port][/path]`, taken apart once.
///
/// It prints without its credentials, so its text can go into logs and metrics as it is.
#[derive(Clone, PartialEq, Eq)]
pub struct BaseUrl {
    scheme: Scheme,
    authority: Authority,
    path: String,
    authorization: Option<HeaderValue>,
}

/// Why a text is no base URL; says what is wanted, and leaves naming the text to the caller, who
/// knows where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBaseUrl {
    /// More than [`MAX_BASE_URL_BYTES`].
    #[error("it is longer than {MAX_BASE_URL_BYTES} bytes")]
    TooLong,
    /// No `http://` or `https://` in front.
    #[error("want a URL that begins with https:// or http://")]
    Scheme,
    /// No host, or characters a URL cannot have.
    #[error("it is not a valid URL: want https://HOST[:PORT][/PATH]")]
    Malformed,
    /// A `?` or `#`: module proxies have no query.
    #[error("a query or fragment is not allowed")]
    Query,
    /// Credentials over plain http, which the `go` command refuses as well.
    #[error("credentials are only sent over https (or to this very host): use https://")]
    PlainCredentials,
}

impl BaseUrl {
    /// Reads a base URL; a final slash means nothing.
    ///
    /// # Errors
    /// [`BadBaseUrl`].
    pub fn parse(text: &str) -> Result<Self, BadBaseUrl> {
        let (base, sends_plainly) = Self::read(text)?;
        if sends_plainly { Err(BadBaseUrl::PlainCredentials) } else { Ok(base) }
    }

    /// Reads a base URL that may send credentials over plain http; says whether it would, to another
    /// host.
    ///
    /// # Errors
    /// [`BadBaseUrl`], but for [`BadBaseUrl::PlainCredentials`].
    pub fn read(text: &str) -> Result<(Self, bool), BadBaseUrl> {
        if text.len() > MAX_BASE_URL_BYTES {
            return Err(BadBaseUrl::TooLong);
        }
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Scheme::HTTPS, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Scheme::HTTP, rest),
            _ => return Err(BadBaseUrl::Scheme),
        };
        if rest.contains(['?', '#']) {
            return Err(BadBaseUrl::Query);
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (userinfo, host) = match authority.rsplit_once('@') {
            Some((userinfo, host)) => (Some(userinfo), host),
            None => (None, authority),
        };
        let authority: Authority = host.parse().map_err(|_| BadBaseUrl::Malformed)?;
        let path = path.trim_end_matches('/').to_owned();
        let path_is_bad = format!("{path}/").parse::<PathAndQuery>().is_err();
        if authority.host().is_empty() || !has_good_port(&authority) || path_is_bad {
            return Err(BadBaseUrl::Malformed);
        }
        let sends_plainly =
            userinfo.is_some() && scheme == Scheme::HTTP && !is_loopback(authority.host());
        let authorization = userinfo.map(basic_authorization).transpose()?;
        Ok((Self { scheme, authority, path, authorization }, sends_plainly))
    }

    /// The URL of a path below the base; `path` begins with a slash and is percent-encoded.
    pub fn join(&self, path: &str) -> Option<Uri> {
        let path: PathAndQuery = format!("{}{path}", self.path).parse().ok()?;
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(path)
            .build()
            .ok()
    }

    /// The base of a path below this one, with the same credentials.
    #[must_use]
    pub fn below(&self, path: &str) -> Self {
        Self { path: format!("{}{path}", self.path), ..self.clone() }
    }

    /// The same host without the path.
    #[must_use]
    pub fn at_root(&self) -> Self {
        Self { path: String::new(), ..self.clone() }
    }

    /// `Authorization: Basic …` made of the URL's user and password.
    pub fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    /// `scheme://host:port`: what is at one host has the same, however it is written.
    pub fn origin(&self) -> String {
        format!("{}://{}:{}", self.scheme, self.host_name().to_ascii_lowercase(), self.port())
    }

    /// Host and port, as written.
    pub fn host(&self) -> &str {
        self.authority.as_str()
    }

    /// The host without its port, as written; an IPv6 address in brackets.
    pub fn host_name(&self) -> &str {
        self.authority.host()
    }

    /// The port, where none is written that of the scheme.
    pub fn port(&self) -> u16 {
        let default = if self.scheme == Scheme::HTTPS { 443 } else { 80 };
        self.authority.port_u16().unwrap_or(default)
    }

    /// Whether the host is this machine itself.
    pub fn is_loopback(&self) -> bool {
        is_loopback(self.authority.host())
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.path)
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BaseUrl({self})")
    }
}

/// Whether a host, as it stands in a URL, names this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether what follows the host is nothing or a port number.
fn has_good_port(authority: &Authority) -> bool {
    authority.as_str().len() == authority.host().len() || authority.port_u16().is_some()
}

/// `Authorization: Basic …` of a URL's user and password, which are percent-encoded there.
pub(crate) fn basic_authorization(userinfo: &str) -> Result<HeaderValue, BadBaseUrl> {
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let mut plain = percent_decode(user).ok_or(BadBaseUrl::Malformed)?;
    plain.push(b':');
    plain.extend(percent_decode(password).ok_or(BadBaseUrl::Malformed)?);
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(plain)))
        .map_err(|_| BadBaseUrl::Malformed)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Undoes `%41`; `None` for a `%` without two digits.
pub(crate) fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            plain.push(byte);
            continue;
        }
        let high = char::from(bytes.next()?).to_digit(16)?;
        let low = char::from(bytes.next()?).to_digit(16)?;
        plain.push(u8::try_from(high * 16 + low).ok()?);
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_joined_below_the_base() {
        let base = BaseUrl::parse("https://mirror.test:8443/go/").unwrap();
        let uri = base.join("/example.com/!a/@v/list").unwrap();
        assert_eq!(uri, "https://mirror.test:8443/go/example.com/!a/@v/list");
        assert_eq!(base.host(), "mirror.test:8443");
    }

    #[test]
    fn what_is_at_one_host_has_one_origin() {
        let origin = |text| BaseUrl::parse(text).unwrap().origin();
        let one = origin("https://mirror.test");
        for same in ["https://Mirror.test:443/a", "HTTPS://user:pw@mirror.test/b/"] {
            assert_eq!(origin(same), one);
        }
        for other in ["http://mirror.test", "https://mirror.test:8443", "https://b.mirror.test"] {
            assert_ne!(origin(other), one);
        }
        assert_eq!(one, "https://mirror.test:443");
    }

    #[test]
    fn credentials_become_a_header_and_are_never_printed() {
        let base = BaseUrl::parse("https://user:p%40ss@mirror.test").unwrap();
        assert_eq!(base.to_string(), "https://mirror.test");
        assert_eq!(format!("{base:?}"), "BaseUrl(https://mirror.test)");
        let want = format!("Basic {}", STANDARD.encode("user:p@ss"));
        assert_eq!(base.authorization().unwrap(), want.as_str());
    }

    #[test]
    fn credentials_over_plain_http_are_for_this_host_only() {
        let refused = BaseUrl::parse("http://user:pw@mirror.test");
        assert_eq!(refused.unwrap_err(), BadBaseUrl::PlainCredentials);
        assert!(BaseUrl::parse("http://user:pw@127.0.0.1:3000").is_ok());
        assert!(BaseUrl::parse("http://user:pw@[::1]:3000").is_ok());
    }

    #[test]
    fn what_is_no_base_url_is_refused() {
        let long = format!("https://mirror.test/{}", "a".repeat(MAX_BASE_URL_BYTES));
        let table = [
            ("mirror.test", BadBaseUrl::Scheme),
            ("ftp://mirror.test", BadBaseUrl::Scheme),
            ("https://", BadBaseUrl::Malformed),
            ("https:///x", BadBaseUrl::Malformed),
            ("https://mirror.test/a b", BadBaseUrl::Malformed),
            ("https://mirror.test:port/", BadBaseUrl::Malformed),
            ("https://mirror.test:99999/", BadBaseUrl::Malformed),
            ("https://mirror.test:", BadBaseUrl::Malformed),
            ("https://u:%zz@mirror.test/", BadBaseUrl::Malformed),
            ("https://mirror.test/?a=b", BadBaseUrl::Query),
            (&long, BadBaseUrl::TooLong),
        ];
        for (text, want) in table {
            assert_eq!(BaseUrl::parse(text).map(|_| ()), Err(want), "{text:.60}");
        }
    }
}
