//! Whom a request really comes from, when proxies stand in front.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::HeaderMap;

/// Headers by which a proxy speaks of the client before it.
const HEADERS: [&str; 3] = ["x-forwarded-for", "x-forwarded-proto", "forwarded"];

/// Hops of `X-Forwarded-For` that are looked at.
pub const HOPS_MAX: usize = 32;

/// Which peers are proxies of ours (`TrustedProxies`).
#[derive(Clone)]
pub struct TrustedProxies(Arc<dyn Fn(IpAddr) -> bool + Send + Sync>);

impl TrustedProxies {
    /// Trusts the addresses for which `is_ours` holds.
    pub fn new(is_ours: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(is_ours))
    }

    /// The client's address. What a peer that is not ours says of others is removed, so that no layer
    /// can believe it. Who comes by a unix socket (`None`) may open it, and counts as ours.
    pub(super) fn client(
        &self,
        peer: Option<SocketAddr>,
        headers: &mut HeaderMap,
    ) -> Option<SocketAddr> {
        if peer.is_some_and(|peer| !(self.0)(peer.ip())) {
            for name in HEADERS {
                headers.remove(name);
            }
            return peer;
        }
        // The last hop that is not ours: all before it may be forged. Where all are ours, the farthest:
        // whoever it is, the proxies in between are not.
        // Bytes, because a proxy adds the true address to whatever it was sent, text or not.
        let values = headers.get_all(HEADERS[0]).iter().map(http::HeaderValue::as_bytes);
        let hops: Vec<&[u8]> = values.flat_map(|value| value.split(|&byte| byte == b',')).collect();
        let named = hops.iter().rev().take(HOPS_MAX).map_while(|hop| address_of(hop));
        let mut client = None;
        for hop in named {
            client = Some(hop);
            if !(self.0)(hop) {
                break;
            }
        }
        client.map(|client| SocketAddr::new(client, 0)).or(peer)
    }
}

/// An address, to which some proxies add brackets or a port.
fn address_of(hop: &[u8]) -> Option<IpAddr> {
    let hop = std::str::from_utf8(hop).ok()?.trim();
    let with_port = || hop.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop);
    bare.parse().ok().or_else(with_port)
}

impl fmt::Debug for TrustedProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TrustedProxies")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, forwarded: impl AsRef<[u8]>) -> (String, bool) {
        let trusted = TrustedProxies::new(|address| address.to_string().starts_with("10."));
        let mut headers = HeaderMap::new();
        let forwarded = http::HeaderValue::from_bytes(forwarded.as_ref()).unwrap();
        headers.insert("x-forwarded-for", forwarded);
        headers.insert("x-forwarded-proto", "https".parse().unwrap());
        let client = trusted.client(Some(SocketAddr::new(peer.parse().unwrap(), 1)), &mut headers);
        (client.unwrap().ip().to_string(), headers.contains_key("x-forwarded-proto"))
    }

    #[test]
    fn a_forged_header_changes_nothing() {
        assert_eq!(client("192.0.2.1", "198.51.100.7"), ("192.0.2.1".to_owned(), false));
    }

    #[test]
    fn the_last_hop_that_is_not_ours_is_the_client() {
        let (address, believed) = client("10.0.0.1", "1.2.3.4, 198.51.100.7, 10.0.0.9");
        assert_eq!((address.as_str(), believed), ("198.51.100.7", true));
        assert_eq!(client("10.0.0.1", "2001:db8::1").0, "2001:db8::1");
    }

    #[test]
    fn where_every_hop_is_ours_the_farthest_is_the_client() {
        assert_eq!(client("10.0.0.1", "10.0.0.7, 10.0.0.9").0, "10.0.0.7");
        assert_eq!(client("10.0.0.1", "1.2.3.4, unknown, 10.0.0.7, 10.0.0.9").0, "10.0.0.7");
    }

    #[test]
    fn a_hop_may_have_a_port() {
        assert_eq!(client("10.0.0.1", "1.2.3.4, 198.51.100.7:4711").0, "198.51.100.7");
        assert_eq!(client("10.0.0.1", "[2001:db8::1]:4711").0, "2001:db8::1");
        assert_eq!(client("10.0.0.1", "[2001:db8::1]").0, "2001:db8::1");
    }

    #[test]
    fn what_is_no_text_hides_nobody_after_it() {
        assert_eq!(client("10.0.0.1", b"\xff, 198.51.100.7").0, "198.51.100.7");
        assert_eq!(client("10.0.0.1", b"1.2.3.4, \xff, 10.0.0.9").0, "10.0.0.9");
        assert_eq!(client("10.0.0.1", b"198.51.100.7, \xff").0, "10.0.0.1");
    }

    #[test]
    fn who_may_open_the_unix_socket_is_believed() {
        let trusted = TrustedProxies::new(|_| false);
        let mut headers = HeaderMap::new();
        assert_eq!(trusted.client(None, &mut headers), None);
        headers.insert("x-forwarded-for", "1.2.3.4, 198.51.100.7".parse().unwrap());
        let client = trusted.client(None, &mut headers).unwrap();
        assert_eq!(client.ip().to_string(), "198.51.100.7");
    }

    #[test]
    fn where_no_hop_can_be_read_the_proxy_is_the_client() {
        assert_eq!(client("10.0.0.1", "unknown").0, "10.0.0.1");
        assert_eq!(client("10.0.0.1", "1.2.3.4, unknown").0, "10.0.0.1");
    }
}
