//! Addresses to listen on.

use std::fmt;

use super::super::problem::quote;
use super::text::split_port;
use super::{Setting, Wrong};

/// A TCP address to listen on, as Go writes it: an empty host means all addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenAddress {
    /// An IP address without brackets, a host name, or empty.
    pub host: String,
    /// The port; 0 lets the system choose.
    pub port: u16,
}

impl ListenAddress {
    /// A port on all addresses.
    pub fn on_port(port: u16) -> Self {
        Self { host: String::new(), port }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Setting for ListenAddress {
    fn accepted() -> String {
        "is a port or an address and a port: 3000, :3000, 127.0.0.1:3000, [::1]:3000".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, Wrong> {
        if let Some(port) = parse_port(text) {
            return Ok(Self::on_port(port));
        }
        if text.starts_with("tcp://") {
            return Err(Wrong::form().hint(
                "Kubernetes sets such a variable for a Service of this name: \
                 set enableServiceLinks to false, or rename the Service",
            ));
        }
        let (host, port) = split_port(text).ok_or_else(Wrong::form)?;
        let port = port.and_then(parse_port).ok_or_else(Wrong::form)?;
        if host.contains(|c: char| c.is_whitespace() || c.is_control() || "/@?#[]".contains(c)) {
            return Err(Wrong::form());
        }
        Ok(Self { host: host.to_owned(), port })
    }

    fn show(&self) -> String {
        quote(&self.to_string())
    }
}

fn parse_port(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_go_writes_them() {
        for (text, want) in [
            ("3000", ":3000"),
            (":3000", ":3000"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("localhost:80", "localhost:80"),
            ("[::1]:3000", "[::1]:3000"),
        ] {
            let read = ListenAddress::from_text(text).map(|a| a.to_string());
            assert_eq!(read, Ok(want.to_owned()), "{text:?}");
        }
        for text in ["", ":", "host", ":70000", "::1:3000", "a b:1", ":http", "+80", "http://h:1"] {
            assert!(ListenAddress::from_text(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_variable_of_a_kubernetes_service_is_recognised() {
        let wrong = ListenAddress::from_text("tcp://10.0.0.1:80");
        assert!(wrong.is_err_and(|w| w.hint.is_some_and(|h| h.contains("enableServiceLinks"))));
    }
}
