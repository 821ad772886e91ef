//! Lists: plain texts, checksum databases, networks, endpoints, variables for the `go` command.

use std::fmt;
use std::net::IpAddr;
use std::ops::Deref;

use super::super::gotext::split_list;
use super::super::problem::quote;
use super::super::redact::{HIDDEN, names_a_secret, redact_text, redact_url};
use super::text::{UrlText, WebUrl};
use super::{Raw, Setting, Wrong, bracketed};

/// One element of a list.
pub(crate) trait Item: Clone + Sized {
    /// What the list accepts, as the end of a sentence.
    const ACCEPTED: &'static str;

    /// Reads one element; the error says what is wrong with it.
    fn parse(text: &str) -> Result<Self, String>;

    /// The element as TOML, redacted.
    fn show(&self) -> String;
}

impl<T: Item> Setting for Vec<T> {
    fn accepted() -> String {
        format!("is a list of {}", T::ACCEPTED)
    }

    fn from_text(text: &str) -> Result<Self, Wrong> {
        items(split_list(text))
    }

    fn from_toml(raw: &Raw) -> Result<Self, Wrong> {
        items(texts(raw)?)
    }

    fn show(&self) -> String {
        bracketed(self.iter().map(T::show))
    }

    fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    fn caution(text: &str) -> Option<String> {
        let blank = split_list(text).into_iter().find(|item| item.trim() != *item)?;
        Some(format!("{} keeps its blanks: write the list without any", quote(&redact_url(blank))))
    }
}

fn items<T: Item>(texts: Vec<&str>) -> Result<Vec<T>, Wrong> {
    let items: Result<Vec<T>, String> = texts.into_iter().map(T::parse).collect();
    items.map_err(|detail| Wrong { range: true, ..Wrong::form().because(detail) })
}

/// The strings of a TOML array of strings.
fn texts(raw: &Raw) -> Result<Vec<&str>, Wrong> {
    let Raw::List(items) = raw else {
        return Err(Wrong::type_of(raw));
    };
    items
        .iter()
        .map(|item| match item {
            Raw::Text(text) => Ok(text.as_str()),
            other => Err(Wrong::form().because(format!("the list holds {}", other.kind()))),
        })
        .collect()
}

impl Item for String {
    const ACCEPTED: &'static str = "texts";

    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }

    fn show(&self) -> String {
        quote(&redact_text(self))
    }
}

/// A checksum database that is served under `/sumdb/`: an https URL, http only on this machine.
#[derive(Clone, PartialEq, Eq)]
pub struct SumDb(String);

impl SumDb {
    /// The URL whole.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host, with the port if the URL has one: the database's name in `/sumdb/NAME/`.
    pub fn name(&self) -> &str {
        let after = self.0.split_once("://").map_or(self.0.as_str(), |(_, after)| after);
        let authority = &after[..after.find(['/', '?', '#']).unwrap_or(after.len())];
        authority.rsplit_once('@').map_or(authority, |(_, host)| host)
    }
}

impl fmt::Debug for SumDb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", redact_url(&self.0))
    }
}

impl Item for SumDb {
    const ACCEPTED: &'static str = "https URLs (http only for a loopback host)";

    fn parse(text: &str) -> Result<Self, String> {
        let shown = quote(&redact_url(text));
        match WebUrl::parse(text) {
            Some(url) if url.secure || url.is_loopback() => Ok(Self(text.to_owned())),
            Some(_) => Err(format!("{shown} must have the scheme https")),
            None => Err(format!("{shown} is not a URL")),
        }
    }

    fn show(&self) -> String {
        quote(&redact_url(&self.0))
    }
}

/// A network in CIDR notation; a bare address is a network of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpNet {
    address: IpAddr,
    prefix_bits: u8,
}

impl IpNet {
    /// Whether the address lies in the network. An IPv4 address written as IPv6 is IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let shift = 32 - u32::from(self.prefix_bits);
                let differing = u32::from(net) ^ u32::from(ip);
                differing.checked_shr(shift).unwrap_or(0) == 0
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let shift = 128 - u32::from(self.prefix_bits);
                let differing = u128::from(net) ^ u128::from(ip);
                differing.checked_shr(shift).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl fmt::Display for IpNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
}

impl Item for IpNet {
    const ACCEPTED: &'static str = "networks such as 10.0.0.0/8, fd00::/8, or addresses";

    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{} is not a network", quote(text));
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match prefix {
            Some(bits) if bits.bytes().all(|b| b.is_ascii_digit()) => {
                bits.parse().map_err(|_| wrong())?
            }
            Some(_) => return Err(wrong()),
            None => most,
        };
        if prefix_bits > most { Err(wrong()) } else { Ok(Self { address, prefix_bits }) }
    }

    fn show(&self) -> String {
        quote(&self.to_string())
    }
}

/// Endpoints in one text with commas between, which is how Athens's file writes etcd's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints(pub Vec<UrlText>);

impl Setting for Endpoints {
    const FROM_FILE: bool = true;

    fn accepted() -> String {
        "is a text of host:port or URLs with commas between".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let parts = split_list(text).into_iter().map(str::trim).filter(|part| !part.is_empty());
        Ok(Self(parts.map(UrlText::new).collect()))
    }

    fn show(&self) -> String {
        let shown: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        quote(&shown.join(","))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Variables for the `go` command, in order: `NAME=value`.
///
/// Values are shown only for Go's own settings and for proxies, and then without credentials.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct EnvVars(Vec<(String, String)>);

impl EnvVars {
    /// The value of the last entry with this name; the last one counts, as in a process.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl Deref for EnvVars {
    type Target = [(String, String)];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl fmt::Debug for EnvVars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.show())
    }
}

impl Setting for EnvVars {
    const FROM_FILE: bool = true;

    fn accepted() -> String {
        "is a list of NAME=value (in the environment: with ; between)".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, Wrong> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        pairs(text.split(';').map(str::trim))
    }

    fn from_toml(raw: &Raw) -> Result<Self, Wrong> {
        pairs(texts(raw)?.into_iter())
    }

    fn show(&self) -> String {
        bracketed(self.0.iter().map(|(name, value)| quote(&shown_pair(name, value))))
    }

    /// An entry that cannot be split cannot be told from a password either.
    fn show_text(_text: &str) -> String {
        HIDDEN.to_owned()
    }

    fn show_toml(_raw: &Raw) -> String {
        HIDDEN.to_owned()
    }
}

fn pairs<'a>(entries: impl Iterator<Item = &'a str>) -> Result<EnvVars, Wrong> {
    let mut pairs = Vec::new();
    for (index, entry) in entries.enumerate() {
        let number = index + 1;
        if entry.contains('\0') {
            return Err(Wrong::form().because(format!("entry {number} holds a NUL character")));
        }
        match entry.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                pairs.push((name.to_owned(), value.to_owned()));
            }
            _ if entry.is_empty() => {
                return Err(Wrong::form().because(format!("entry {number} is empty")));
            }
            _ => return Err(Wrong::form().because(format!("entry {number} is not NAME=value"))),
        }
    }
    Ok(EnvVars(pairs))
}

fn shown_pair(name: &str, value: &str) -> String {
    let upper = name.to_ascii_uppercase();
    let known = upper.starts_with("GO") || upper.starts_with("CGO_") || upper.ends_with("_PROXY");
    if known && !names_a_secret(name.strip_prefix("GO").unwrap_or(name)) {
        format!("{name}={}", redact_url(value))
    } else {
        format!("{name}={HIDDEN}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_databases_are_https_or_on_this_machine() {
        let read = |text: &str| SumDb::parse(text).map(|db| db.name().to_owned());
        assert_eq!(read("https://sum.golang.org"), Ok("sum.golang.org".to_owned()));
        assert_eq!(read("https://u:p@sums.corp:8443/x"), Ok("sums.corp:8443".to_owned()));
        assert_eq!(read("http://127.0.0.1:9/"), Ok("127.0.0.1:9".to_owned()));
        for wrong in ["http://sums.corp", " https://sums.corp", "sums.corp", ""] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn networks_contain_their_addresses_and_no_others() {
        for (net, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("0.0.0.0/0", "8.8.8.8", "::1"),
            ("192.168.1.128/25", "192.168.1.200", "192.168.1.1"),
            ("fd00::/8", "fd12::1", "fe80::1"),
            ("::1", "::1", "::2"),
            ("::/0", "fe80::1", "1.2.3.4"),
            ("10.0.0.0/8", "::ffff:10.0.0.1", "::ffff:11.0.0.1"),
        ] {
            let net = IpNet::parse(net).expect(net);
            assert!(net.contains(inside.parse().expect(inside)), "{net} holds {inside}");
            assert!(!net.contains(outside.parse().expect(outside)), "{net} lacks {outside}");
        }
        for wrong in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "a/8", "10.0.0.0/", "10.0.0.0/+8"] {
            assert!(IpNet::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn variables_for_go_are_split_on_semicolons_and_trimmed() {
        let vars = EnvVars::from_text("GOPROXY=direct; GODEBUG=a=1,b=2").expect("two entries");
        assert_eq!(vars.get("GODEBUG"), Some("a=1,b=2"));
        assert_eq!(vars.len(), 2);
        assert_eq!(EnvVars::from_text("A=1;A=2").expect("two").get("A"), Some("2"));
        for wrong in ["GOPROXY=direct;", "foo", "=x", ";"] {
            assert!(EnvVars::from_text(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn variables_for_go_are_shown_without_secrets() {
        let text = "GOPROXY=https://u:hunter2@h,direct;TOKEN=hunter2;X=hunter2;\
                    HTTPS_PROXY=http://p:hunter2@q";
        let vars = EnvVars::from_text(text).expect("entries");
        assert_eq!(
            vars.show(),
            r#"["GOPROXY=https://***@h,direct", "TOKEN=***", "X=***", "HTTPS_PROXY=http://***@q"]"#
        );
        assert!(!format!("{vars:?}").contains("hunter2"));
    }
}
